"""Result of one check: state, finding, remedy."""

from typing import NamedTuple


class Check(NamedTuple):
    """One line of `pesatlas doctor`: ok, WRONG, or, where ``doubtful``, a note."""

    ok: bool
    text: str
    remedy: str = ""
    doubtful: bool = False
    """Nothing is wrong, and yet it may not be meant."""
