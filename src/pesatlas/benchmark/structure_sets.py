"""Sources of benchmark structures: local files in matcalc's formats, and tables of a campaign."""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from pesatlas.atoms.elements import atomic_number, reduced_formula
from pesatlas.benchmark.item import BenchmarkItem
from pesatlas.dynamics.relax import Start
from pesatlas.errors import UserError
from pesatlas.tables import FailureReason
from pesatlas.tables.failures import Failure

_IDS = ("structure_id", "mp_id", "material_id", "wbm_id", "id")
_HUB = "materialyze/matcalc-bench on huggingface.co, or a part of it"


@dataclass(frozen=True)
class Sources:
    """Sources of benchmark items.

    Attributes
    ----------
    data : folder of files in matcalc's formats
    dataset : table ``dataset`` of a campaign, if there is one
    level : reference level of that table
    corrected : whether the potential was trained on energies with the corrections of the Materials Project
    seed : decides which rows of a table are sampled
    """

    data: Path
    dataset: Path | None = None
    level: str | None = None
    corrected: bool = False
    seed: int = 0


def find_file(folder: Path, names: tuple[str, ...], file: str | None, what: str) -> Path:
    """Return the file of ``folder`` that ``file`` names, or the first of ``names`` that is there.

    Raises
    ------
    UserError
        If there is none; the message says what would do.
    """
    for name in (file,) if file else names:
        if (folder / name).is_file():
            return folder / name
    there = ", ".join(sorted(path.name for path in folder.glob("*.json*"))) if folder.is_dir() else ""
    raise UserError(
        f"{folder}: no {' or '.join((file,) if file else names)}, which {what} needs. "
        f"{f'There is {there}' if there else 'There are no .json or .json.gz files there'}. Put the file "
        f"there ({_HUB}), name another with the option `file` of that property, or leave the property out."
    )


def read_entries(path: Path, needed: tuple[str, ...]) -> list[dict[str, Any]]:
    """Read entries with ``structure`` (pymatgen), an id and the keys ``needed`` from a JSON list.

    Raises
    ------
    UserError
        If it cannot be read, or is something else.
    """
    try:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8") as handle:
            entries = json.load(handle)
    except (OSError, EOFError, UnicodeDecodeError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON ({error}). Fetch it again.") from None
    if not isinstance(entries, list) or not entries or not isinstance(entries[0], dict):
        raise UserError(
            f"{path} is not a list of entries but {type(entries).__name__}. Files of matcalc's benchmarks "
            "are lists with one entry for each structure."
        )
    for i, entry in enumerate(entries):
        missing = [key for key in ("structure", *needed) if key not in entry]
        if missing or identifier(entry) is None:
            what = ", ".join(missing) or f"id (one of {', '.join(_IDS)})"
            raise UserError(
                f"{path}: entry {i} has no {what}; it has {', '.join(sorted(entry))}. Is it the file of "
                "another property?"
            )
    return entries


def identifier(entry: dict[str, Any]) -> str | None:
    """Return the id of an entry, under whichever key it has it."""
    return next((str(entry[key]) for key in _IDS if key in entry), None)


def choose(
    entries: list[dict[str, Any]], structures: int | None, max_atoms: int | None
) -> list[dict[str, Any]]:
    """Take at most so many entries of at most so many atoms.

    In the order of a hash of their ids, the same everywhere and biased by nothing.
    """
    fitting = [e for e in entries if max_atoms is None or len(e["structure"].get("sites", ())) <= max_atoms]
    fitting.sort(key=lambda e: sha256(str(identifier(e)).encode()).digest())
    return fitting[:structures]


def cases_of_file(
    options: Any,
    sources: Sources,
    names: tuple[str, ...],
    references: dict[str, str],
    conditions: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    needed: tuple[str, ...] = (),
) -> list[BenchmarkItem]:
    """Return the cases of a property that is measured on a file.

    Parameters
    ----------
    options : of the property, a ``FromFile``
    names : that the file usually has
    references : keys of its entries by quantity
    conditions : returns those of an entry; a ValueError or TypeError says what is wrong with it
    needed : further keys of its entries

    Raises
    ------
    UserError
        If the file is not there, or of another form.
    """
    path = find_file(sources.data, names, options.file, options.kind)
    entries = choose(
        read_entries(path, (*needed, *references.values())), options.structures, options.max_atoms
    )
    found = []
    for entry in entries:
        name = identifier(entry) or ""
        start, failure = read_structure(entry["structure"])
        values = {quantity: entry[key] for quantity, key in references.items() if entry[key] is not None}
        try:
            at = conditions(entry) if conditions else {}
        except (TypeError, ValueError) as error:
            raise UserError(f"{path}: entry {name}: {error}. Correct it.") from None
        called = str(entry.get("formula", reduced_formula(start.numbers.tolist())))
        found.append(BenchmarkItem(name, called, start, values, at, failure=failure))
    return found


def read_structure(described: dict[str, Any]) -> tuple[Start, Failure | None]:
    """Return a structure of pymatgen's form, or one without atoms and the reason."""
    try:
        cell = np.array(described["lattice"]["matrix"], dtype=float).reshape(3, 3)
        sites = described["sites"]
        kinds = [site["species"] for site in sites]
        if any(len(kind) != 1 or abs(kind[0].get("occu", 1) - 1) > 1e-6 for kind in kinds):
            return _nothing(), Failure(FailureReason.DISORDERED, "sites are shared by several elements")
        numbers = np.array(
            [atomic_number(kind[0]["element"].rstrip("0123456789+-")) for kind in kinds], dtype=np.uint8
        )
        positions = np.array([site["abc"] for site in sites], dtype=float).reshape(-1, 3) @ cell
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return _nothing(), Failure(
            FailureReason.UNREADABLE, f"not a structure of pymatgen's form ({type(error).__name__}: {error})"
        )
    if not len(numbers) or not (np.isfinite(cell).all() and abs(np.linalg.det(cell)) > 1e-3):
        return _nothing(), Failure(FailureReason.UNREADABLE, "a structure without atoms or without volume")
    if np.linalg.det(cell) < 0:
        # left-handed vectors describe the same crystal in another order
        cell = cell[[1, 0, 2]]
    return Start(numbers, cell, positions), None


def _nothing() -> Start:
    return Start(np.zeros(0, np.uint8), np.eye(3), np.zeros((0, 3)))
