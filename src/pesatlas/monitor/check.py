"""What a check says: whether all is well, what was found, how to mend it."""

from typing import NamedTuple


class Check(NamedTuple):
    """One line of `pesatlas doctor`."""

    ok: bool
    text: str
    remedy: str = ""
