"""Readers of crystals, one function per format; unreadable entries become ``Rejected``, never exceptions."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pesatlas.frames import ase_rows, documents, xyz
from pesatlas.frames.comment import floats_of
from pesatlas.frames.frame import UnusableFrame, own_id, text_id
from pesatlas.frames.items import Item, numbered
from pesatlas.frames.labels import is_label
from pesatlas.structures.cif import read_cif
from pesatlas.structures.crystal import Read, from_frame, make_crystal
from pesatlas.structures.poscar import read_poscar
from pesatlas.structures.text_file import heard, rejected, unreadable, with_warnings
from pesatlas.tables.manifest import sha256_of
from pesatlas.tables.schemas import FailureReason

T = TypeVar("T")

Entries = Iterator[tuple[str | None, Any]]
"""Entries of a file, one by one: the id that an entry carries, if any, and its content."""

Build = Callable[[str, Any, str], Read]
"""Makes a crystal of (id, content, source)."""

_SUFFIXES = {
    ".cif": "cif",
    ".mcif": "cif",
    ".vasp": "poscar",
    ".poscar": "poscar",
    ".contcar": "poscar",
    ".xyz": "xyz",
    ".extxyz": "xyz",
    ".json": "json",
    ".db": "ase_database",
    ".parquet": "parquet",
}

FORMATS = (
    "CIF (.cif), POSCAR (POSCAR*, CONTCAR*, .vasp), extended XYZ (.xyz, .extxyz), pymatgen JSON (.json), "
    "each also as .gz; ASE database (.db); Parquet (.parquet)"
)


def format_of(path: Path) -> str | None:
    """Return the format that the name of a file promises, or None."""
    name = path.name.removesuffix(".gz")
    if name.upper().startswith(("POSCAR", "CONTCAR")) and Path(name).suffix.lower() not in _SUFFIXES:
        return "poscar"
    kind = _SUFFIXES.get(Path(name).suffix.lower())
    return None if kind in {"ase_database", "parquet"} and path.suffix == ".gz" else kind


def stem_of(path: Path) -> str:
    """Return the name a file gives to its crystal; a plain POSCAR or CONTCAR has that of its folder."""
    name = path.name.removesuffix(".gz")
    if name.upper() in {"POSCAR", "CONTCAR"}:
        return path.parent.name or name
    return name[: -len(Path(name).suffix)] if Path(name).suffix.lower() in _SUFFIXES else name


def read_file(path: Path) -> Iterator[Read]:
    """Yield what is in one file, in its order.

    What a library warns of while it reads an entry is a warning of that entry.
    """
    stem = stem_of(path)
    kind = format_of(path)
    if kind is None:
        raise ValueError(f"{path}: unknown format")
    try:
        source = f"files {path} sha256:{sha256_of(path)[:12]}"
        for found, warned in _listened(_READERS[kind](path, stem, source)):
            yield with_warnings(found, warned, path.name)
    except Exception as error:  # noqa: BLE001 - parsers of foreign formats raise anything; whatever it is becomes a row
        yield unreadable(stem, f"files {path}", error)


def _listened(entries: Iterator[T]) -> Iterator[tuple[T, list[str]]]:
    """Yield entries with what was warned of while each was made."""
    while True:
        with heard() as warned:
            entry = next(entries, _END)
        if entry is _END:
            return
        yield entry, warned


_END: Any = object()


def _named(
    entries: Entries, build: Build, stem: str, source: str, file: str, notes: Sequence[str] = ()
) -> Iterator[Read]:
    """Give every entry its own id, or the file's name (numbered if there are many).

    An entry that fails fails alone.

    ``notes`` are warnings of every entry, and ``file`` is named in all of them.
    """
    listened = _listened(_until_broken(entries))
    head = list(islice(listened, 2))
    if not head:
        yield unreadable(stem, source, "it holds no structure")
    for i, ((own, content), warned) in enumerate(chain(head, listened)):
        name = own or (f"{stem}-{i:05d}" if len(head) > 1 else stem)
        with heard() as more:
            try:
                if isinstance(content, _Broken):
                    found: Read = unreadable(name, source, content.why)
                else:
                    found = build(name, content, source)
            except Exception as error:  # noqa: BLE001 - as in read_file
                found = unreadable(name, source, error)
        yield with_warnings(found, [*notes, *warned, *more], file)


@dataclass(frozen=True)
class _Broken:
    """Stands for the entry at which a parser gave up."""

    why: str


def _until_broken(entries: Entries) -> Entries:
    """Yield entries; if the parser fails, a broken entry comes last."""
    done = 0
    try:
        for entry in entries:
            yield entry
            done += 1
    except Exception as error:  # noqa: BLE001 - as in read_file
        yield None, _Broken(f"entry {done + 1} and what follows it: {type(error).__name__}: {error}")


def _read_xyz(path: Path, stem: str, source: str) -> Iterator[Read]:
    yield from _from_items(xyz.items(path), stem, source, path.name)


def _read_json(path: Path, stem: str, source: str) -> Iterator[Read]:
    yield from _from_items(documents.items(path), stem, source, path.name)


def _read_ase_database(path: Path, stem: str, source: str) -> Iterator[Read]:
    yield from _from_items(ase_rows.items(path), stem, source, path.name)


def _from_items(items: Iterator[Item], stem: str, source: str, file: str) -> Iterator[Read]:
    """Yield a crystal, or why there is none, for each entry of a file that ``pesatlas import`` reads, too."""
    name = None
    for number, item in numbered(items, stem):
        name = own_id(item.about) or number
        try:
            yield from_frame(name, item.frame(), source, file)
        except UnusableFrame as why:
            yield rejected(name, why.reason, f"{source}: {why.detail}")
    if name is None:
        yield unreadable(stem, source, "it holds no structure")


def _read_parquet(path: Path, stem: str, source: str) -> Iterator[Read]:
    yield from _named(parquet_rows(path), from_parquet_row, stem, source, path.name)


def parquet_rows(path: Path) -> Entries:
    """Yield (id, row) of every row of a Parquet with the geometry columns of our tables.

    Rows of unit cells as given have the id of their structure; others have the variant, condition and step
    appended.
    """
    import pyarrow.parquet as pq  # noqa: PLC0415 - reading a configuration imports this module, not pyarrow

    needed = ["structure_id", "numbers", "cell_A", "positions_A"]
    with pq.ParquetFile(path) as file:
        known = file.schema_arrow.names
        missing = [name for name in needed if name not in known]
        if missing:
            raise ValueError(f"columns {', '.join(missing)} are missing; needed: {', '.join(needed)}")
        names = [*needed, *(name for name in ("snapshot_id", "variant", "condition") if name in known)]
        names += [name for name in known if is_label(name)]
        for batch in file.iter_batches(batch_size=1024, columns=names):
            for row in batch.to_pylist():
                yield _row_id(row), row


def from_parquet_row(name: str, row: dict[str, Any], source: str) -> Read:
    """Return the crystal of one row of ``parquet_rows``.

    A label that is not finite refuses it, as in other files.
    """
    for label, value in row.items():
        if is_label(label) and value is not None and not _is_finite(value):
            return rejected(name, FailureReason.NOT_FINITE, f"{source}: {label} is not finite")
    return make_crystal(name, row["numbers"], row["cell_A"], row["positions_A"], source)


def _is_finite(value: Any) -> bool:
    try:
        return bool(np.isfinite(floats_of(value)).all())
    except (TypeError, ValueError):
        return True  # no numbers: for who reads them


def _row_id(row: dict[str, Any]) -> str | None:
    """Return the id of a table row.

    ``mp-149``, ``mp-149-supercell-2x2x2``, ``mp-149-unit-300K-0.0001GPa-500``.
    """
    own = text_id(row["structure_id"])
    if own is None:
        return None
    if row.get("snapshot_id") and row.get("condition") != "equilibrium":
        return str(row["snapshot_id"]).replace(":", "-")
    variant = row.get("variant") or "unit"
    return own if variant == "unit" else f"{own}-{variant}"


_READERS: dict[str, Callable[[Path, str, str], Iterator[Read]]] = {
    "cif": read_cif,
    "poscar": read_poscar,
    "xyz": _read_xyz,
    "json": _read_json,
    "ase_database": _read_ase_database,
    "parquet": _read_parquet,
}
