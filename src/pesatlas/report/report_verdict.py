"""Verdicts of the report: one sentence on a question, with a mark, its evidence and how that was got."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Mark = Literal["fine", "look", "not known"]
_WORST: tuple[Mark, ...] = ("look", "not known", "fine")


@dataclass(frozen=True)
class Verdict:
    """An answer to one question about a campaign.

    Attributes
    ----------
    mark : fine, look (something to act on), or not known (not measured, or too few data to tell)
    sentence : the answer, with its numbers
    how : how the numbers were got, and where the limits come from
    heads, rows : table of the evidence
    picture : address of a picture with the evidence, in the page itself
    """

    question: str
    mark: Mark
    sentence: str
    how: str = ""
    heads: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    picture: str = ""


def worst(verdicts: Sequence[Verdict]) -> Mark | None:
    """Return the mark of a section: look before not known before fine; None without a verdict."""
    marks = {each.mark for each in verdicts}
    return next((mark for mark in _WORST if mark in marks), None)


def within(value: float, error: float | None, limit: float) -> Mark:
    """Return whether a value is within a limit of zero, as surely as its error tells.

    Parameters
    ----------
    error : half width of its 95 % interval; None where it cannot be estimated
    """
    if error is None:
        return "not known"
    if abs(value) + error <= limit:
        return "fine"
    return "look" if abs(value) - error > limit else "not known"
