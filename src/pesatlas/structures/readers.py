"""Reading crystals from files, one function for each format. What cannot be read becomes ``Rejected``, never an exception."""

import gzip
import io
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from pesatlas.frames import ase_rows, xyz
from pesatlas.frames.frame import UnusableFrame, own_id
from pesatlas.frames.items import Item, named
from pesatlas.structures.crystal import Read, Rejected, from_frame, from_pymatgen, make_crystal
from pesatlas.structures.names import sanitised
from pesatlas.tables.manifest import sha256_of
from pesatlas.tables.schemas import FailureReason

Entries = Iterator[tuple[str | None, Any]]
"""What a file holds, one by one: the id an entry carries, if any, and its content."""

Build = Callable[[str, Any, str], Read]
"""Makes a crystal of (id, content, source)."""

_SUFFIXES = {
    ".cif": "cif",
    ".vasp": "poscar",
    ".poscar": "poscar",
    ".contcar": "poscar",
    ".xyz": "xyz",
    ".extxyz": "xyz",
    ".json": "json",
    ".db": "ase_database",
    ".parquet": "parquet",
}
_LONGEST_DETAIL = 300

FORMATS = "CIF (.cif), POSCAR (POSCAR*, CONTCAR*, .vasp), extended XYZ (.xyz, .extxyz), pymatgen JSON (.json), each also as .gz; ASE database (.db); Parquet (.parquet)"


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
    """Yield what is in one file, in its order."""
    stem = stem_of(path)
    kind = format_of(path)
    if kind is None:
        raise ValueError(f"{path}: unknown format")
    try:
        source = f"files {path} sha256:{sha256_of(path)[:12]}"
        yield from _READERS[kind](path, stem, source)
    except Exception as error:  # noqa: BLE001 - parsers of foreign formats raise anything; whatever it is becomes a row
        yield unreadable(stem, f"files {path}", error)


def unreadable(name: str, where: str, error: Exception | str) -> Rejected:
    """Return the failure row of an entry that could not be read."""
    what = f"{type(error).__name__}: {error}" if isinstance(error, Exception) else error
    return Rejected(
        sanitised(name) or "unnamed",
        FailureReason.UNREADABLE,
        f"{where}: {' '.join(what.split())}"[:_LONGEST_DETAIL],
    )


def _bytes(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


def _text(path: Path) -> str:
    return _bytes(path).decode("utf-8")


def _named(entries: Entries, build: Build, stem: str, source: str) -> Iterator[Read]:
    """Give every entry its own id, or the file's name (numbered if there are many); an entry that fails fails alone."""
    entries = _until_broken(entries)
    head = list(islice(entries, 2))
    if not head:
        yield unreadable(stem, source, "it holds no structure")
    for i, (own, content) in enumerate(chain(head, entries)):
        name = own or (f"{stem}-{i:05d}" if len(head) > 1 else stem)
        try:
            if isinstance(content, _Broken):
                yield unreadable(name, source, content.why)
            else:
                yield build(name, content, source)
        except Exception as error:  # noqa: BLE001 - as in read_file
            yield unreadable(name, source, error)


@dataclass(frozen=True)
class _Broken:
    """Stands for the entry at which a parser gave up."""

    why: str


def _until_broken(entries: Entries) -> Entries:
    """Pass entries on; when the parser itself fails, what came before is kept and a broken entry comes last."""
    done = 0
    try:
        for entry in entries:
            yield entry
            done += 1
    except Exception as error:  # noqa: BLE001 - as in read_file
        yield None, _Broken(f"entry {done + 1} and what follows it: {type(error).__name__}: {error}")


def _read_cif(path: Path, stem: str, source: str) -> Iterator[Read]:
    from pymatgen.io.cif import CifParser  # noqa: PLC0415 - reading a configuration imports this module, not pymatgen

    # the cell of the file, not its primitive cell: unit cells are what the source gives
    structures = CifParser(io.StringIO(_text(path))).parse_structures(primitive=False, on_error="raise")
    yield from _named(((None, structure) for structure in structures), from_pymatgen, stem, source)


def _read_poscar(path: Path, stem: str, source: str) -> Iterator[Read]:
    from pymatgen.io.vasp import Poscar  # noqa: PLC0415 - reading a configuration imports this module, not pymatgen

    with warnings.catch_warnings():
        # a POSCAR without element names would become hydrogen, helium, ...
        warnings.filterwarnings("error", message="Elements in POSCAR cannot be determined")
        structure = Poscar.from_str(_text(path), read_velocities=False).structure
    yield from_pymatgen(stem, structure, source)


def _read_xyz(path: Path, stem: str, source: str) -> Iterator[Read]:
    yield from _from_items(xyz.items(path), stem, source)


def _from_items(items: Iterator[Item], stem: str, source: str) -> Iterator[Read]:
    """Yield a crystal, or why there is none, for each entry."""
    i = -1
    for i, (name, item) in enumerate(named(items, stem)):
        try:
            yield from_frame(name, item.frame(), source)
        except UnusableFrame as why:
            detail = f"{source}: {' '.join(why.detail.split())}"[:_LONGEST_DETAIL]
            yield Rejected(sanitised(name) or f"{stem}-{i:05d}", why.reason, detail)
    if i < 0:
        yield unreadable(stem, source, "it holds no structure")


def _read_json(path: Path, stem: str, source: str) -> Iterator[Read]:
    data = json.loads(_text(path))
    records = data if isinstance(data, list) else [data]
    yield from _named(((own_id(record), record) for record in records), _from_record, stem, source)


def _from_record(name: str, record: Any, source: str) -> Read:
    """Return the pymatgen structure in ``record``: the record itself, or under the key ``structure``."""
    from pymatgen.core import Structure  # noqa: PLC0415 - reading a configuration imports this module, not pymatgen

    content = record.get("structure", record) if isinstance(record, dict) else record
    if not isinstance(content, dict) or "sites" not in content:
        return unreadable(
            name, source, "no pymatgen structure in it, neither itself nor under the key 'structure'"
        )
    if "lattice" not in content:
        return Rejected(name, FailureReason.NOT_PERIODIC, f"{source}: a molecule, it has no lattice")
    return from_pymatgen(name, Structure.from_dict(content), source)


def _read_ase_database(path: Path, stem: str, source: str) -> Iterator[Read]:
    yield from _from_items(ase_rows.items(path), stem, source)


def _read_parquet(path: Path, stem: str, source: str) -> Iterator[Read]:
    yield from _named(parquet_rows(path), from_parquet_row, stem, source)


def parquet_rows(path: Path) -> Entries:
    """Yield (id, row) of every row of a Parquet with the geometry columns of our tables.

    Rows of unit cells as given have the id of their structure; others have the variant, condition and step appended.
    """
    import pyarrow.parquet as pq  # noqa: PLC0415 - reading a configuration imports this module, not pyarrow

    needed = ["structure_id", "numbers", "cell_A", "positions_A"]
    with pq.ParquetFile(path) as file:
        known = file.schema_arrow.names
        missing = [name for name in needed if name not in known]
        if missing:
            raise ValueError(f"columns {', '.join(missing)} are missing; needed: {', '.join(needed)}")
        names = [*needed, *(name for name in ("snapshot_id", "variant", "condition") if name in known)]
        for batch in file.iter_batches(batch_size=1024, columns=names):
            for row in batch.to_pylist():
                yield _row_id(row), row


def from_parquet_row(name: str, row: dict[str, Any], source: str) -> Read:
    """Return the crystal of one row of ``parquet_rows``."""
    return make_crystal(name, row["numbers"], row["cell_A"], row["positions_A"], source)


def _row_id(row: dict[str, Any]) -> str | None:
    """Return the id of a table row: ``mp-149``, ``mp-149-supercell-2x2x2``, ``mp-149-unit-300K-0.0001GPa-500``."""
    if row["structure_id"] is None:
        return None
    if row.get("snapshot_id") and row.get("condition") != "equilibrium":
        return str(row["snapshot_id"]).replace(":", "-")
    variant = row.get("variant") or "unit"
    return str(row["structure_id"]) if variant == "unit" else f"{row['structure_id']}-{variant}"


_READERS: dict[str, Callable[[Path, str, str], Iterator[Read]]] = {
    "cif": _read_cif,
    "poscar": _read_poscar,
    "xyz": _read_xyz,
    "json": _read_json,
    "ase_database": _read_ase_database,
    "parquet": _read_parquet,
}
