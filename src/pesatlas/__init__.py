"""PES Atlas: campaigns that map the potential energy surface of materials."""

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pesatlas.dataset.atlas import Atlas

__version__ = version("pesatlas")


def open(results: str | Path = "results", *, so_far: bool = False) -> "Atlas":  # noqa: A001 - read as pesatlas.open
    """Open a finished campaign, a release or a folder of older tables.

    Nothing is read before it is asked for.

    Parameters
    ----------
    so_far : open a campaign that has not finished, too: the tables that are there; ``unfinished`` says which
        are not

    Raises
    ------
    pesatlas.errors.UserError
        If there is no finished campaign.
    """
    from pesatlas.dataset.atlas import Atlas  # noqa: PLC0415 - keeps `import pesatlas` light

    return Atlas(Path(results), so_far=so_far)
