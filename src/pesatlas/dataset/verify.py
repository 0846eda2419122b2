"""Check a finished campaign from its files alone: schemas, checksums, sums, and the physics of every row."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pesatlas.dataset.conservation import sums
from pesatlas.dataset.paths import Results
from pesatlas.errors import UserError
from pesatlas.tables import SCHEMAS, check_entry, read_table
from pesatlas.tables.io import check_metadata

# Two functionals that give the same energies to this (eV/atom) are one functional under two names.
SAME_ENERGY = 1e-6


def verify(root: Path, progress: Callable[[str], None] = lambda _: None) -> list[str]:
    """Check the campaign below ``root`` (the folder ``results``).

    Parameters
    ----------
    root : Path
        Folder that holds ``manifest.json``.
    progress : callable
        Called with a line for each step.

    Returns
    -------
    list of str
        What is wrong, one sentence each; empty if all is well.

    Raises
    ------
    UserError
        If there is no finished campaign below ``root``.
    """
    path = root / "manifest.json"
    if not path.is_file():
        raise UserError(
            f"{path} does not exist: no finished campaign in {root}. Run it first, or name its results folder."
        )
    manifest = json.loads(path.read_text(encoding="utf-8"))
    layout = Results(root, manifest["label_batches"], tuple(manifest["levels"]))
    progress(f"checksums and schemas of {len(manifest['files'])} files")
    problems = [problem for entry in manifest["files"] for problem in _check_file(root, entry)]
    if problems:
        return problems
    progress("sums")
    problems += [f"a sum does not close: {each}" for each in sums(layout) if not each.closes]
    limit = manifest["configuration"]["dataset"]["max_net_force_eV_per_A"]
    columns = {}
    for level in layout.levels:
        progress(f"rows at level {level}")
        table = read_table(layout.dataset(level), "dataset")
        problems += _check_rows(table, level, limit)
        columns[level] = table.select(
            ["snapshot_id", "energy_eV", "n_atoms", "split", "cell_A", "positions_A"]
        )
    for first, second in zip(layout.levels, layout.levels[1:], strict=False):
        problems += _compare_levels(columns[first], columns[second], first, second)
    return problems


def _check_file(root: Path, entry: dict[str, Any]) -> list[str]:
    path = root / entry["file"]
    try:
        check_metadata(path, entry["table"])
        found = check_entry(path)
    except UserError as error:
        return [str(error)]
    if found.sha256 != entry["sha256"]:
        return [
            f"{path}: was written again after the campaign's manifest. Run the campaign again to bring them together."
        ]
    return _check_schema(path, entry["table"])


def _check_schema(path: Path, table: str) -> list[str]:
    found = pq.read_schema(path)
    if not found.remove_metadata().equals(SCHEMAS[table].remove_metadata()):
        return [f"{path}: its columns are not those of table '{table}'"]
    return []


def _check_rows(table: pa.Table, level: str, max_net_force: float) -> list[str]:
    problems = []
    identifiers = table["snapshot_id"].to_pylist()
    if len(set(identifiers)) != len(identifiers):
        problems.append(f"{level}: the same snapshot_id appears twice")
    if len(set(table["level_fingerprint"].to_pylist())) > 1:
        problems.append(f"{level}: rows of different level fingerprints in one dataset")
    for row in table.to_pylist():
        problems += [
            f"{level}: {row['snapshot_id']}: {problem}" for problem in _check_row(row, level, max_net_force)
        ]
    return problems


def _check_row(row: dict[str, Any], level: str, max_net_force: float) -> list[str]:
    """Return what cannot be true of a good label."""
    n = row["n_atoms"]
    forces = np.asarray(row["forces_eV_per_A"])
    lengths = {
        "numbers": n,
        "positions_A": 3 * n,
        "forces_eV_per_A": 3 * n,
        "cell_A": 9,
        "stress_eV_per_A3": 6,
    }
    wrong = [name for name, length in lengths.items() if len(row[name]) != length]
    if wrong:
        return [f"wrong number of values in {', '.join(wrong)}"]
    problems = []
    values = [
        row["energy_eV"],
        row["free_energy_eV"],
        *forces,
        *row["stress_eV_per_A3"],
        *row["cell_A"],
        *row["positions_A"],
    ]
    if not np.isfinite(values).all():
        problems.append("a number is not finite")
    net = np.linalg.norm(forces.reshape(n, 3).sum(axis=0))
    if net > max_net_force:
        problems.append(f"forces sum to {net:.3g} eV/Å, allowed {max_net_force}")
    if not row["converged"]:
        problems.append("not converged, yet in the dataset")
    if row["verdict"] != "accepted":
        problems.append(f"verdict {row['verdict']}, yet in the dataset")
    if row["level"] != level:
        problems.append(f"a row of level {row['level']}")
    return problems


def _compare_levels(first: pa.Table, second: pa.Table, a: str, b: str) -> list[str]:
    """Both levels describe the same snapshots where they overlap, and are not one functional under two names."""
    left = {row["snapshot_id"]: row for row in first.to_pylist()}
    right = {row["snapshot_id"]: row for row in second.to_pylist()}
    shared = sorted(left.keys() & right.keys())
    problems = [
        f"{name}: {key} differs between {a} and {b}"
        for name in shared
        for key in ("n_atoms", "split", "cell_A", "positions_A")
        if left[name][key] != right[name][key]
    ]
    same = [
        n
        for n in shared
        if abs(left[n]["energy_eV"] - right[n]["energy_eV"]) < SAME_ENERGY * left[n]["n_atoms"]
    ]
    if same:
        problems.append(
            f"{len(same)} of {len(shared)} energies are the same at {a} and {b} (e.g. {same[0]}): one functional under two names"
        )
    return problems
