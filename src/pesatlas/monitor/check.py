"""Result of one check: state, finding, remedy."""

from typing import NamedTuple


class Check(NamedTuple):
    """One line of `pesatlas doctor`."""

    ok: bool
    text: str
    remedy: str = ""
