"""Published ranges of other datasets, for comparison; only numbers from their own files or texts.

No range of OMat24 is here: its filters are told of another set (sAlex), and its distributions are pictures
without numbers. Nor is one of volumes: nobody states it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """A published range of one quantity in one dataset, in the unit of the figure, with its source."""

    figure: str
    dataset: str
    low: float
    high: float
    about: str
    source: str


_MATPES = "arXiv 2503.04070; pbe_stats.json of the matpes package"
_MPTRJ = "arXiv 2302.14231; histograms of Matbench Discovery, arXiv 2308.14920"

SPANS = (
    Span(
        "cohesive_energy",
        "MatPES-PBE",
        -7.95,
        0.01,
        "99.9 % of 434,712 structures; all: -9.44 to 3.00",
        _MATPES,
    ),
    Span("forces", "MatPES-PBE", 0.0, 15.8, "99.8 % of atoms; largest 789", _MATPES),
    Span("pressure", "MPtrj", -52.0, 49.0, "99.8 % of mean stresses, with the sign of a pressure", _MPTRJ),
)


def spans(figure: str) -> list[Span]:
    """Return the ranges that belong into a figure."""
    return [span for span in SPANS if span.figure == figure]


_CHGNET = "test set of MPtrj, as the package names its weights"
ERRORS: dict[str, tuple[str, dict[str, str]]] = {
    "chgnet/0.3.0": (_CHGNET, {"energy": "29 meV/atom", "forces": "0.068 eV/Å", "stress": "0.314 GPa"}),
    "chgnet/0.2.0": (_CHGNET, {"energy": "30 meV/atom", "forces": "0.077 eV/Å", "stress": "0.348 GPa"}),
    "chgnet/r2scan": (
        "test set of MP-r2SCAN, as the package names its weights",
        {"energy": "15 meV/atom", "forces": "0.036 eV/Å", "stress": "0.161 GPa"},
    ),
}
"""Published mean absolute errors of potentials: on what, and of which quantity."""


def published_error(potential: str, what: str) -> tuple[str, str]:
    """Return the published error of a potential and a sentence on it; empty where none is known."""
    if potential not in ERRORS:
        return "", ""
    on, errors = ERRORS[potential]
    shifted = ", of energies that are not relative to their crystal" if what == "energy" else ""
    return errors[what], f" Published MAE of {potential}: {errors[what]} ({on}{shifted})."
