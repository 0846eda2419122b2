"""External datasets as a table: to compare with, inspect, explore or select from."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from pesatlas import __version__
from pesatlas.atoms.elements import reduced_formula
from pesatlas.campaign.splits import chemical_system
from pesatlas.config import plugins
from pesatlas.dataset.chemistry import material_group
from pesatlas.errors import UserError
from pesatlas.frames.frame import Refusal
from pesatlas.runtime.progress import Progress
from pesatlas.tables import TableWriter, write_table
from pesatlas.tables.failures import failure_row, failures_beside
from pesatlas.tables.manifest import entry_path, sha256_of
from pesatlas.tables.schemas import FailureReason

log = logging.getLogger(__name__)

IMPORTERS = "pesatlas.dataset.importers"
_AT_ONCE = 1000
_LONGEST_DETAIL = 300


class Counts(NamedTuple):
    """Result of reading entries: rows, rejections by reason, and notes by sentence."""

    rows: int
    refused: Counter[str]
    notes: Counter[str]


def import_dataset(path: Path, level: str, table: Path, kind: str | None = None) -> int:
    """Read a dataset and write it as the table ``imported``; return the number of rows.

    An entry that is no row becomes one of a table of failures beside it, ``failures_beside(table)``; the
    others are kept. Rows have a level fingerprint of their own, from the bytes of the file, so that nothing
    takes them for this campaign's level.

    Parameters
    ----------
    level : what its level is called, e.g. ``pbe``
    kind : its format; by the ending of its name if it is not given

    Raises
    ------
    UserError
        If it is missing, of an unknown format, or has no row at all; the message names the first reasons.
    """
    if path.is_dir():
        raise UserError(
            f"{path} is a folder. Name a file in it: MatPES JSON, extended XYZ or an ASE database."
        )
    if not path.is_file():
        raise UserError(f"{path}: no such file. Name one of MatPES JSON, extended XYZ or an ASE database.")
    if kind is not None and kind not in plugins.known(IMPORTERS):
        raise UserError(
            f"--format {kind}: there is no such format. Choose one of {', '.join(plugins.known(IMPORTERS))}."
        )
    module = plugins.find(IMPORTERS, kind or _kind_of(path))
    sha = sha256_of(path)
    same = {
        "level": level,
        "level_fingerprint": f"imported-{sha[:16]}",
        "source": f"{path.name} sha256:{sha[:16]}",
        "code_version": __version__,
    }
    counts = write_imported(module.read(path), table, same, sha[:16], str(path))
    return counts.rows


def write_imported(
    entries: Iterable[dict[str, Any] | Refusal],
    table: Path,
    same: Mapping[str, Any],
    fingerprint: str,
    what: str,
) -> Counts:
    """Write rows as the table ``imported``, and entries that are no rows as a table of failures beside it.

    Log what came of them.

    A row may have a list ``notes`` of sentences, which are counted and logged.

    Parameters
    ----------
    same : columns that are the same in all rows: level, level_fingerprint, source, code_version
    fingerprint : of what was read
    what : name of what was read, for messages

    Raises
    ------
    UserError
        If there is no row; the message has the first reasons.
    """
    rows = 0
    notes: Counter[str] = Counter()
    refused: list[Refusal] = []
    progress = Progress("entries read")
    with ExitStack() as stack:
        writer: TableWriter | None = None
        checked = _checked(iter(entries))
        while piece := list(islice(checked, _AT_ONCE)):
            refused += [entry for entry in piece if isinstance(entry, Refusal)]
            good = [entry for entry in piece if not isinstance(entry, Refusal)]
            progress.step(len(piece))
            for row in good:
                notes.update(dict.fromkeys(row.pop("notes", ()), 1))
            if not good:
                continue
            # a table is begun with its first row: nothing is left of what has none
            if writer is None:
                writer = stack.enter_context(TableWriter(table, "imported", fingerprint))
            writer.write([{**row, **same, **_derived(row)} for row in good])
            rows += len(good)
        if writer is None:
            raise UserError(_no_rows(what, refused))
    _write_failures(failures_beside(table), refused, str(same.get("level")), fingerprint)
    counts = Counts(rows, Counter(entry.reason.value for entry in refused), notes)
    log.info("%s: %d rows of %s", table, counts.rows, what)
    for note, times in notes.items():
        log.warning("%s: %s (%d rows)", what, note, times)
    if refused:
        log.warning(
            "%d of %d entries of %s are not usable (%s); see %s",
            len(refused),
            len(refused) + counts.rows,
            what,
            _reasons(refused),
            failures_beside(table),
        )
    return counts


def _write_failures(path: Path, refused: list[Refusal], level: str, fingerprint: str) -> None:
    """Write the table of failures; without any there is none, and one of an earlier import goes."""
    if not refused:
        path.unlink(missing_ok=True)
        entry_path(path).unlink(missing_ok=True)
        return
    keys: Counter[str] = Counter()
    rows = []
    for entry in refused:
        keys[entry.key] += 1
        key = entry.key if keys[entry.key] == 1 else f"{entry.key}#{keys[entry.key]}"
        detail = " ".join(entry.detail.split())[:_LONGEST_DETAIL]
        rows.append(failure_row("import", key, entry.structure_id, entry.reason, detail, level=level))
    write_table(path, "failures", rows, fingerprint)


def _reasons(refused: list[Refusal]) -> str:
    counts = Counter(entry.reason.value for entry in refused)
    return ", ".join(f"{n} {reason}" for reason, n in sorted(counts.items()))


def _no_rows(what: str, refused: list[Refusal]) -> str:
    if not refused:
        return f"{what} contains no rows: it is empty. Name another file."
    examples = "\n".join(f"  - {entry.key}: {entry.reason.value}: {entry.detail}" for entry in refused[:5])
    return (
        f"{what} contains no usable rows ({_reasons(refused)}). A row needs a periodic structure, an energy "
        f"and forces; correct the file, or name another one. The first:\n{examples}"
    )


def _kind_of(path: Path) -> str:
    for name in plugins.available(IMPORTERS):
        if path.name.lower().endswith(plugins.find(IMPORTERS, name).ENDINGS):
            return name
    raise UserError(
        f"{path}: unknown format. Known: {', '.join(plugins.known(IMPORTERS))}; name one with --format."
    )


def _checked(entries: Iterator[dict[str, Any] | Refusal]) -> Iterator[dict[str, Any] | Refusal]:
    """Yield entries; a failed read or a contradictory row is a refusal."""
    done = 0
    while True:
        try:
            entry = next(entries)
        except StopIteration:
            return
        except UserError:
            raise
        except Exception as error:  # noqa: BLE001 - formats of anybody; what came before is kept
            detail = f"entry {done + 1} and what follows it: {type(error).__name__}: {error}"
            yield Refusal(f"entry-{done}", f"entry-{done}", FailureReason.UNREADABLE, detail)
            return
        done += 1
        if isinstance(entry, Refusal):
            yield entry
            continue
        n = len(entry["numbers"])
        lengths = [len(entry[name]) for name in ("positions_A", "forces_eV_per_A", "cell_A")]
        if lengths != [3 * n, 3 * n, 9]:
            detail = (
                f"{n} atoms, and {lengths[0]}, {lengths[1]} and {lengths[2]} numbers of positions, forces "
                "and cell"
            )
            yield Refusal(entry["snapshot_id"], entry["structure_id"], FailureReason.INCOMPLETE, detail)
        else:
            yield entry


def _derived(row: dict[str, Any]) -> dict[str, Any]:
    numbers = row["numbers"]
    return {
        "n_atoms": len(numbers),
        "formula": reduced_formula(numbers),
        "chemical_system": chemical_system(numbers),
        "material_group": material_group(numbers),
    }
