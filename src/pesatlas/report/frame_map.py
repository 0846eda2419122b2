"""Map of frames: the pool, the picks with their structures, and their dynamics."""

from typing import Any

import numpy as np
import pyarrow as pa
from pymatgen.core import Element

from pesatlas.atoms.elements import SYMBOLS, symbol_of
from pesatlas.report.figure import Data, columns_of
from pesatlas.report.figure_rows import PICKS_SHOWN, Reader, count_elements, elements_of, volume_A3
from pesatlas.report.frames_before import BEFORE, frames_before
from pesatlas.report.sample import read_rows, sample_ids
from pesatlas.tables import iter_table, read_table

_PICK = [
    "snapshot_id",
    "structure_id",
    "domain",
    "temperature_K",
    "mlip_energy_eV",
    "n_atoms",
    "numbers",
    "cell_A",
    "positions_A",
    "reason",
    "novelty",
]


def map_frames(reader: Reader, pool: pa.Table, total: int) -> tuple[Data, list[dict[str, Any]]]:
    """Return the points of the map, and the structure of each as chemiscope takes it."""
    path = reader.path("selection")
    ids, _ = sample_ids(path, "selection", reader.seed, PICKS_SHOWN)
    picks = {row["snapshot_id"]: row for row in read_rows(path, "selection", ids, _PICK).to_pylist()}
    rows = {row["snapshot_id"]: row for row in pool.to_pylist()}
    rows |= {name: rows.get(name, {}) | row for name, row in picks.items()}
    forces = _forces(reader, [name for name, row in rows.items() if "mlip_max_force_eV_per_A" not in row])
    picked = picks.keys() | _selected(reader, rows.keys() - picks.keys())
    places = reader.components(rows)
    names = (
        *("snapshot_id", "structure_id", "domain", "elements", "formula", "n_atoms"),
        *("pc1", "pc2", "picked", "kind", "reason", "novelty"),
        *("energy", "force", "error", "temperature", "heaviest", "round"),
    )
    points = [
        row
        | _described(row)
        | {
            "snapshot_id": name,
            "structure_pcs": place,
            "picked": name in picked,
            "kind": "picked" if name in picked else "pool",
            "reason": row.get("reason", ""),
            "energy": row["mlip_energy_eV"] and row["mlip_energy_eV"] / row["n_atoms"],
            "force": row.get("mlip_max_force_eV_per_A", forces.get(name)),
            "error": reader.force_errors.get(name),
            "temperature": row["temperature_K"],
            "round": reader.round,
        }
        for name, row in rows.items()
        # others are not encoded, or have features that are not finite
        if (place := places.get(name))
    ]
    before = frames_before(reader)
    points += [
        row
        | _described(row)
        | {
            "domain": BEFORE,
            "picked": True,
            "kind": BEFORE,
            "reason": f"in round {row['round']}" if row["round"] else "in an earlier dataset",
        }
        for row in before.shown
    ]
    for point in points:
        point["pc1"], point["pc2"] = (*point["structure_pcs"], 0.0)[:2]
    return Data(columns_of(names, points), total + before.total, "snapshots"), list(map(_structure, points))


def _described(row: dict[str, Any]) -> dict[str, str]:
    """Return what a point of the map says of the composition of its frame."""
    return {
        "elements": elements_of(row["numbers"]),
        "formula": _formula(row["numbers"]),
        "heaviest": symbol_of(max(row["numbers"])),
    }


def _forces(reader: Reader, names: list[str]) -> dict[str, float]:
    """Return the largest force by the potential in picks that are not in the sample of the pool."""
    if not names:
        return {}
    wanted = ", ".join("'" + name.replace("'", "''") + "'" for name in names)
    return reader.tables.counts(
        f"SELECT snapshot_id, mlip_max_force_eV_per_A FROM it WHERE snapshot_id IN ({wanted})",  # noqa: S608 - our own tables, quoted
        "snapshots",
    )


def _selected(reader: Reader, names: Any) -> set[str]:
    found: set[str] = set()
    for piece in iter_table(reader.path("selection"), ["snapshot_id"]):
        found.update(names & set(piece.column(0).to_pylist()))
    return found


def _formula(numbers: list[int]) -> str:
    kinds, counts = np.unique(numbers, return_counts=True)
    parts = sorted((symbol_of(int(z)), int(n)) for z, n in zip(kinds, counts, strict=True))
    return "".join(f"{symbol}{n if n > 1 else ''}" for symbol, n in parts)


def _structure(row: dict[str, Any]) -> dict[str, Any]:
    """Return a structure as chemiscope has it; a thousandth of an Å is enough to look at."""
    x, y, z = (np.round(np.reshape(row["positions_A"], (-1, 3)).T, 3)).tolist()
    return {
        "size": row["n_atoms"],
        "names": [symbol_of(number) for number in row["numbers"]],
        "x": x,
        "y": y,
        "z": z,
        "cell": np.round(row["cell_A"], 3).tolist(),
    }


def dynamics(reader: Reader, pool: pa.Table, total: int) -> Data:
    """Return how frames of dynamics compare with their targets.

    Temperature, and volume of the cell they started from.
    """
    names = ["structure_id", "variant", "domain", "numbers", "cell_A", "n_atoms"]
    starts = {
        (row["structure_id"], row["variant"]): volume_A3(row)
        for row in read_table(reader.path("structures"), "structures", names).to_pylist()
    }
    frames = [
        {
            "domain": row["domain"],
            "elements": elements_of(row["numbers"]),
            "n_atoms": row["n_atoms"],
            "time_ps": row["time_fs"] / 1000,
            "temperature_ratio": kinetic / row["temperature_K"]
            if (kinetic := row["instant_temperature_K"]) is not None and row["temperature_K"]
            else None,
            "volume_ratio": volume_A3(row) / starts[row["structure_id"], row["variant"]],
        }
        for row in pool.to_pylist()
        if row["ensemble"] != "none"
    ]
    columns = columns_of(
        ("domain", "elements", "n_atoms", "time_ps", "temperature_ratio", "volume_ratio"), frames
    )
    return Data(columns, max(total, len(frames)), "frames")


def elements(reader: Reader, pool: pa.Table, total: int) -> Data:
    """Return row counts of every element in pool, selection and datasets, with its table position."""
    selection = (piece["numbers"] for piece in iter_table(reader.path("selection"), ["numbers"]))
    counts = {
        "pool": count_elements([pool["numbers"]]),
        "selection": count_elements(selection),
        **{
            level: count_elements(piece["numbers"] for piece in iter_table(path, ["numbers"]))
            for level, path in reader.of_levels("dataset").items()
        },
    }
    cells = [
        {
            "of": of,
            "symbol": symbol,
            **_place(z),
            "rows": found[z],
            "share": 100 * found[z] / max(rows, 1),
            "bright": found[z] / max(found.values(), default=1),
        }
        for of, (found, rows) in counts.items()
        for z, symbol in enumerate(SYMBOLS[:103], start=1)
    ]
    columns = columns_of(("of", "symbol", "row", "column", "rows", "share", "bright"), cells)
    sampled = (
        f"The pool is a sample: {len(pool):,} of {total:,} snapshots"
        if len(pool) < total
        else "All rows are counted"
    )
    return Data(columns, len(columns["of"]), sampled)


def _place(z: int) -> dict[str, int]:
    """Return row and column in the periodic table; lanthanides and actinides stand below it."""
    for first, last, row in ((57, 71, 8), (89, 103, 9)):
        if first <= z <= last:
            return {"row": row, "column": z - first + 3}
    element = Element.from_Z(z)
    return {"row": element.row, "column": element.group}
