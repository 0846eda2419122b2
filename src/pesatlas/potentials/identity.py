"""Identity of a potential, without loading it."""

from dataclasses import dataclass
from importlib.metadata import version


@dataclass(frozen=True)
class Identity:
    """What decides the labels of a potential, besides its options.

    Attributes
    ----------
    name : kind and name, as written into every row, e.g. ``chgnet/0.3.0``
    weights_hash : sha256 over the weights
    versions : of the libraries that evaluate it, by name
    """

    name: str
    weights_hash: str
    versions: dict[str, str]


@dataclass(frozen=True)
class TrainedOn:
    """What a potential was trained on.

    Attributes
    ----------
    level : reference level of the labels, in words; of a campaign's own potential the campaign's name of it
    corrected : whether their energies have the corrections of the Materials Project, so that formation
        energies have them too
    own : whether a campaign trained it and its card says so
    fingerprints : of the level's definition, if the card has them
    """

    level: str
    corrected: bool
    own: bool = False
    fingerprints: tuple[str, ...] = ()


def versions(*libraries: str) -> dict[str, str]:
    """Return the versions of installed libraries; how torch was built (``+cpu``) is no part of it."""
    return {library: version(library).split("+")[0] for library in libraries}
