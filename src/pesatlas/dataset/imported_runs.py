"""Labels of existing runs as rows of the table ``imported``; runs without a label as failures beside it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from pesatlas import __version__
from pesatlas.atoms.elements import reduced_formula
from pesatlas.campaign.splits import chemical_system
from pesatlas.dataset.chemistry import material_group
from pesatlas.runtime.progress import Progress
from pesatlas.tables import TableWriter
from pesatlas.tables.failures import Failure, failure_row, failures_beside

_AT_ONCE = 200
_STAGE = "import"


@dataclass
class Counts:
    """Result of importing runs.

    Attributes
    ----------
    runs : all that were found
    rows : those that became rows
    failures : the others, by reason
    """

    runs: int = 0
    rows: int = 0
    failures: Counter[str] = field(default_factory=Counter)


def write_runs(
    runs: Iterable[tuple[str, Mapping[str, Any] | Failure]],
    table: Path,
    *,
    level: str,
    source: str,
    fingerprint: str,
) -> Counts:
    """Write both tables and return the counts; no table of rows if there is none, and nothing without runs.

    Parameters
    ----------
    runs : name of each run, and its columns or why it has none
    level : what the level of all of them is called
    source : where they came from, in words
    fingerprint : hash of what was asked for
    """
    counts, rows, failures = Counts(), _Pieces(table, "imported", fingerprint), []
    progress = Progress("runs read")
    with rows:
        for name, outcome in runs:
            counts.runs += 1
            progress.step()
            if isinstance(outcome, Failure):
                counts.failures[outcome.reason.value] += 1
                failures.append(failure_row(_STAGE, name, name, outcome.reason, outcome.detail, level=level))
                continue
            counts.rows += 1
            numbers = outcome["numbers"]
            rows.add(
                {
                    **outcome,
                    "level": level,
                    "source": source,
                    "code_version": __version__,
                    "n_atoms": len(numbers),
                    "formula": reduced_formula(numbers),
                    "chemical_system": chemical_system(numbers),
                    "material_group": material_group(numbers),
                }
            )
    if not counts.runs:
        return counts
    with TableWriter(failures_beside(table), "failures", fingerprint) as writer:
        for start in range(0, len(failures), _AT_ONCE):
            writer.write(failures[start : start + _AT_ONCE])
    return counts


class _Pieces:
    """Write rows in pieces; no file without a row."""

    def __init__(self, path: Path, table: str, fingerprint: str) -> None:
        self._to = (path, table, fingerprint)
        self._writer: TableWriter | None = None
        self._stack = ExitStack()
        self._rows: list[Mapping[str, Any]] = []

    def __enter__(self) -> None:
        self._stack.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._stack.__exit__(kind, error, trace)

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row."""
        self._rows.append(row)
        if len(self._rows) >= _AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        if self._writer is None:
            self._writer = self._stack.enter_context(TableWriter(*self._to))
        self._writer.write(self._rows)
        self._rows = []
