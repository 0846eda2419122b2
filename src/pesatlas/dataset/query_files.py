"""Files of a query's rows: CSV, Parquet, XLSX, and extended XYZ of rows with a structure."""

import json
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from pesatlas.dataset.convert import to_ase
from pesatlas.errors import UserError
from pesatlas.frames.comment import as_value

GEOMETRY = ("numbers", "cell_A", "positions_A")
LABEL = ("energy_eV", "free_energy_eV", "forces_eV_per_A", "stress_eV_per_A3", "magmoms_muB")
XYZ = frozenset({".extxyz", ".xyz"})
_MOST_ROWS, _LONGEST = 1_048_576, 32_767
"""Rows of a sheet of Excel, and characters of a cell."""


def _copy(rows: pa.RecordBatchReader, path: Path, suffix: str) -> None:
    import duckdb  # noqa: PLC0415 - slow to import

    with duckdb.connect() as connection:
        connection.register("rows", rows)
        target = str(path).replace("'", "''")
        connection.execute(f"COPY (FROM rows) TO '{target}' (FORMAT {suffix[1:]}, USE_TMP_FILE false)")


def _xlsx(rows: pa.RecordBatchReader, path: Path, _: str) -> None:
    """Write a sheet of Excel, a row at a time.

    Raises
    ------
    UserError
        If there are more rows, or a longer value, than Excel takes.
    """
    from openpyxl import Workbook  # noqa: PLC0415 - an extra
    from openpyxl.cell import WriteOnlyCell  # noqa: PLC0415

    def cell(name: str, value: Any) -> WriteOnlyCell:
        text = value if isinstance(value, str | bool | int | float | None) else json.dumps(value, default=str)
        if isinstance(text, float) and not math.isfinite(text):
            text = str(text)
        if isinstance(text, str) and len(text) > _LONGEST:
            raise UserError(
                f"column {name} has a value of {len(text):,} characters, and a cell of Excel takes "
                f"{_LONGEST:,}. Leave the column out, or write a .parquet file."
            )
        made = WriteOnlyCell(sheet, value=text)
        if isinstance(text, str):
            made.data_type = "s"  # never a formula
        return made

    book = Workbook(write_only=True)
    sheet = book.create_sheet("rows")
    names = rows.schema.names
    sheet.append(names)
    for number, row in enumerate(_tuples(rows), start=2):
        if number > _MOST_ROWS:
            raise UserError(f"a sheet of Excel takes {_MOST_ROWS:,} rows. Write a .csv or .parquet file.")
        sheet.append([cell(name, value) for name, value in zip(names, row, strict=True)])
    book.save(path)


def _tuples(rows: pa.RecordBatchReader) -> Iterator[tuple[Any, ...]]:
    # by columns: two may have one name
    for batch in rows:
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _extxyz(rows: pa.RecordBatchReader, path: Path, _: str) -> None:
    """Write frames; a label is in the calculator (eV, eV/Å, eV/Å³ tension positive), the rest in ``info``.

    Raises
    ------
    UserError
        If the rows have no structure.
    """
    from ase.io.extxyz import write_extxyz  # noqa: PLC0415 - slow to import

    names = set(rows.schema.names)
    if missing := [name for name in GEOMETRY if name not in names]:
        raise UserError(
            f"these rows have no structure, which an extended XYZ file needs: {', '.join(missing)} missing. "
            'Ask for them, e.g. "FROM dataset WHERE ...", or write a .csv or .parquet file.'
        )
    labelled = names.issuperset(LABEL)
    with path.open("w", encoding="utf-8") as file:
        for row in _dictionaries(rows):
            whole = labelled and all(row[name] is not None for name in LABEL[:-1])
            atoms = to_ase(row, results=whole)
            known = {*GEOMETRY, *(LABEL if whole else ())}
            atoms.info = {
                name: as_value(value) if isinstance(value, str) else value
                for name, value in row.items()
                if name not in known and isinstance(value, str | bool | int | float)
            }
            write_extxyz(file, [atoms])


def _dictionaries(rows: pa.RecordBatchReader) -> Iterator[dict[str, Any]]:
    for batch in rows:
        yield from batch.to_pylist()


WRITERS: dict[str, Callable[[pa.RecordBatchReader, Path, str], None]] = {
    ".csv": _copy,
    ".parquet": _copy,
    ".xlsx": _xlsx,
    **dict.fromkeys(sorted(XYZ), _extxyz),
}
"""Writers of rows by the end of the file's name."""


def with_structure(sql: str, columns: Iterable[str], tables: Iterable[str]) -> str:
    """Return a query with the structure, and where there is one the label, of each row that names a frame.

    Unchanged if the rows have a structure, or no ``snapshot_id``.
    """
    there, known = set(columns), set(tables)
    if there.issuperset(GEOMETRY) or "snapshot_id" not in there:
        return sql
    labelled = "level" in there and "dataset" in known
    keys = "snapshot_id, level" if labelled else "snapshot_id"
    table = (
        "dataset" if labelled else next((each for each in ("snapshots", "selection") if each in known), "")
    )
    if not table:
        return sql
    added = [name for name in (*GEOMETRY, *(LABEL if labelled else ())) if name not in there]
    return (
        f"SELECT asked.* EXCLUDE (asked_row), {', '.join(f'found.{name}' for name in added)} "  # noqa: S608 - names of columns
        f"FROM (SELECT *, row_number() OVER () AS asked_row FROM ({sql})) AS asked "
        f"JOIN {table} AS found USING ({keys}) ORDER BY asked_row"
    )
