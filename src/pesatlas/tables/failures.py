"""Failure reasons, and rows of table ``failures``: one vocabulary for all stages."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pesatlas import __version__
from pesatlas.tables.schemas import FailureReason

BESIDE = ".failures.parquet"
"""Ends the name of a table of failures that lies beside the table it belongs to, in the same folder."""


LOST = f"reason <> '{FailureReason.MISSING_REFERENCE_ATOM}'"
"""Condition in SQL of rows that are a loss.

An isolated atom that its level never has is on file, but is none: its backend says so of every element.
"""


@dataclass(frozen=True)
class Failure:
    """Reason of a failure: a word, and a sentence."""

    reason: FailureReason
    detail: str

    def as_json(self) -> list[str]:
        """Return it as JSON has it."""
        return [self.reason.value, self.detail]

    @classmethod
    def from_json(cls, stored: Sequence[str]) -> Self:
        """Read what ``as_json`` returned."""
        reason, detail = stored
        return cls(FailureReason(reason), detail)


def failure_row(
    stage: str,
    key: str,
    structure_id: str,
    reason: FailureReason,
    detail: str,
    *,
    level: str | None = None,
    attempts: int = 1,
) -> dict[str, Any]:
    """Return a row for what did not become one; the columns are those of ``SCHEMAS["failures"]``."""
    return {
        "stage": stage,
        "key": key,
        "structure_id": structure_id,
        "level": level,
        "reason": reason.value,
        "detail": detail,
        "attempts": attempts,
        "code_version": __version__,
    }


def failures_beside(table: Path) -> Path:
    """Return the path of the failures beside a table that a command wrote.

    ``ours.parquet`` -> ``ours.failures.parquet``.
    """
    return table.with_name(f"{table.stem}{BESIDE}")
