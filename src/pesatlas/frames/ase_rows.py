"""Rows of ASE databases as frames; a broken row is skipped alone."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pesatlas.frames.frame import Frame, UnusableFrame, check_usable, isotopes
from pesatlas.frames.items import Item, broken
from pesatlas.tables.schemas import FailureReason

_RESULTS = ("energy", "free_energy", "stress")
_OF_ATOMS = ("forces", "magmoms", "initial_charges")


def database_rows(path: Path) -> Iterator[Any]:
    """Yield the rows of an ASE database (``.db``, ``.aselmdb``).

    In the place of one that cannot be read, its ``UnusableFrame``.

    Raises
    ------
    Exception
        Whatever ASE raises for a file that is no database.
    """
    from ase.db import connect  # noqa: PLC0415 - slow to import

    kind = "aselmdb" if path.suffix == ".aselmdb" else "db"
    more = {"readonly": True, "use_lock_file": False} if kind == "aselmdb" else {}
    database = connect(path, type=kind, **more)
    done = 0
    rows = database.select(sort="id") if kind == "db" else database.select()
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except Exception as error:
            if kind != "db":
                raise
            yield from _one_by_one(database, path, done, error)
            return
        done = row.id
        yield row


def _one_by_one(database: Any, path: Path, done: int, error: Exception) -> Iterator[Any]:
    """Go on after a row that stopped the query."""
    import sqlite3  # noqa: PLC0415 - for damaged databases alone

    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        ids = [i for (i,) in connection.execute("SELECT id FROM systems WHERE id > ? ORDER BY id", [done])]
    if not ids:
        raise error
    for i in ids:
        try:
            yield database.get(id=i)
        except Exception as reason:  # noqa: BLE001 - whatever a row raises, it is that row's failure
            yield UnusableFrame(FailureReason.UNREADABLE, f"{type(reason).__name__}: {reason}")


def items(path: Path) -> Iterator[Item]:
    """Yield the rows of a database with their frames."""
    for i, row in enumerate(database_rows(path), start=1):
        if isinstance(row, UnusableFrame):
            yield broken(f"row {i}", row)
            continue
        where = f"row {row.id}"
        try:
            about = about_of(row)
        except Exception as error:  # noqa: BLE001 - data of any program; it is that row's failure
            why = UnusableFrame(FailureReason.UNREADABLE, f"{type(error).__name__}: {error}")
            yield broken(where, why)
        else:
            yield Item(about, where, partial(usable_frame, row, about))


def about_of(row: Any) -> dict[str, Any]:
    """Return what a row has beside its geometry.

    Its data, its key-value pairs, and results of one number or tensor.
    """
    about = dict(row.data or {})
    about.update(row.key_value_pairs)
    about.update({name: row.get(name) for name in _RESULTS if row.get(name) is not None})
    return about


def usable_frame(row: Any, about: dict[str, Any]) -> Frame:
    """Return the frame of a row, given its ``about_of``.

    Raises
    ------
    UnusableFrame
        If it cannot be used.
    """
    numbers = np.asarray(row.numbers)
    columns = {name: np.asarray(row.get(name)) for name in _OF_ATOMS if row.get(name) is not None}
    for key in [key for key, value in about.items() if np.ndim(value) > 0 and len(value) == len(numbers)]:
        if key not in _RESULTS and not isinstance(about[key], dict):
            columns[key] = np.asarray(about[key])
    frame = Frame(
        numbers,
        np.asarray(row.cell, dtype=float).reshape(3, 3),
        np.asarray(row.positions, dtype=float).reshape(-1, 3),
        (bool(row.pbc[0]), bool(row.pbc[1]), bool(row.pbc[2])),
        {key: value for key, value in about.items() if key not in columns},
        columns,
        isotopes(numbers, row.get("masses")),
    )
    check_usable(frame)
    return frame
