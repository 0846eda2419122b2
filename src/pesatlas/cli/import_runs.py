"""`pesatlas import` of finished VASP calculations: each run becomes a row, or a row of failures."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pesatlas.config.section import digest
from pesatlas.dataset.imported_runs import Counts, write_runs
from pesatlas.errors import UserError
from pesatlas.label.backend import Failed
from pesatlas.label.vasp.existing.existing_run import ExistingLabel, labels_in
from pesatlas.label.vasp.existing.find import Search
from pesatlas.label.vasp.existing.settings_comparison import LevelSettings, explain
from pesatlas.levels.vasp import FUNCTIONALS
from pesatlas.tables import FailureReason
from pesatlas.tables.failures import Failure, failures_beside


@dataclass
class _Remarks:
    """Remarks on an import besides its counts."""

    keys: Counter[tuple[str, str]] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    first: str = ""


def import_runs(
    places: Sequence[str], level: str, table: Path | None, version: str | None, console: Console
) -> None:
    """Import the runs in folders, globs and archives as labels of a level, and report each.

    Raises
    ------
    UserError
        If there is no run, or none of the level.
    """
    search = Search(places)
    name = Path(places[0]).name.split(".")[0] if not set(places[0]) & set("*?[") else ""
    where = table or Path("results") / "imported" / f"{name or 'runs'}.parquet"
    remarks = _Remarks()
    runs = _of_level(search, level, version, remarks)
    source = f"VASP runs in {', '.join(Path(place).name or place for place in places)}"
    counts = write_runs(
        runs, where, level=level, source=source, fingerprint=digest(level, version, list(places))
    )
    if not counts.runs:
        aside = f", but {search.put_aside} that were set aside (OUTCAR.orig, error.1.tar.gz)"
        raise UserError(
            f"no run of VASP in {', '.join(places)}: there is no vasprun.xml and no OUTCAR, compressed or "
            f"not{aside if search.put_aside else ''}."
        )
    _show(counts, remarks, search, where, level, console)
    if not counts.rows:
        raise UserError(
            f"none of {counts.runs} runs is a label of level {level}; {failures_beside(where)} has the "
            "reason of each."
        )


def _of_level(
    search: Search, level: str, version: str | None, remarks: _Remarks
) -> Iterator[tuple[str, Mapping[str, Any] | Failure]]:
    """Yield the row of every run of the level, and why each other one is none."""
    wanted = LevelSettings.matpes(level, version) if level in FUNCTIONALS else None
    for name, found in labels_in(search):
        if isinstance(found, Failed):
            yield name, Failure(found.reason, found.detail)
            continue
        if wanted is not None:
            yield name, _row(found, wanted, remarks)
            continue
        # a level of the user's own: the settings of the first run that is a ground state
        first = LevelSettings.of_run(level, found.settings, found.cell)
        first.version = version or first.version
        row = _row(found, first, remarks)
        if not isinstance(row, Failure):
            wanted, remarks.first = first, name
        yield name, row


def _row(found: ExistingLabel, wanted: LevelSettings, remarks: _Remarks) -> Mapping[str, Any] | Failure:
    differences = wanted.differences(found.settings, found.cell)
    if differences:
        remarks.keys.update({(each.kind, each.key) for each in differences})
        return Failure(FailureReason.WRONG_LEVEL, explain(differences))
    remarks.versions[found.settings.version] += 1
    remarks.notes.update(found.notes)
    fingerprint = digest(wanted.identity(), found.settings.version)
    return {**found.row, "level_fingerprint": f"runs-{fingerprint}"}


def _show(
    counts: Counts, remarks: _Remarks, search: Search, where: Path, level: str, console: Console
) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    table.add_row(str(counts.runs), "runs found")
    table.add_row(str(counts.rows), f"rows of level {level} in {where}")
    missing = sum(counts.failures.values())
    table.add_row(str(missing), f"failures in {failures_beside(where)}")
    for reason, count in counts.failures.most_common():
        table.add_row(str(count), f"  {reason}")
    console.print(table)
    if counts.runs != counts.rows + missing:
        raise RuntimeError(f"{counts.runs} runs, {counts.rows} rows and {missing} failures")
    if remarks.first:
        console.print(f"level {level} has the settings of {remarks.first}, key by key")
    if remarks.keys:
        console.print("\nwrong_level: runs in which a key differs")
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(justify="right")
        for (kind, key), count in sorted(remarks.keys.items(), key=lambda each: (-each[1], each[0])):
            table.add_row(str(count), key, f"[dim]{kind}[/dim]")
        console.print(table)
    for note, count in remarks.notes.items():
        console.print(f"{count} rows: {note}")
    if search.put_aside:
        console.print(
            f"{search.put_aside} files that were set aside are not runs (OUTCAR.orig, error.1.tar.gz, ...)"
        )
    if len(remarks.versions) > 1:
        versions = ", ".join(f"{version} ({count} rows)" for version, count in remarks.versions.most_common())
        console.print(
            f"[yellow]Warning: several versions of VASP: {versions}. Each has a level_fingerprint of its "
            "own; select one with --vasp-version.[/yellow]"
        )
