"""The figures of the report. Each draws on the axes it is given and returns its caption: what, how many, from where."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes

from pesatlas.config.select import groups
from pesatlas.tables import read_entry, read_table

# Okabe and Ito's colours, told apart by people who do not see red and green alike.
GREY, COLOURS = "#999999", ("#0072B2", "#D55E00", "#009E73")
# More points than this are drawn as a sample: the picture stays readable and the file small.
SAMPLE = 5000


def _sample(n: int) -> np.ndarray:
    """Return at most SAMPLE of n indices, the same ones every time."""
    return np.sort(np.random.default_rng(0).choice(n, SAMPLE, replace=False)) if n > SAMPLE else np.arange(n)


def _dataset(results: Path, level: str, columns: list[str]) -> pa.Table:
    return read_table(results / "dataset" / level / "part-00000.parquet", "dataset", columns)


def pc_map(axes: Axes, results: Path) -> str:
    """Pool and picks in the first two weighted principal components of the structures."""
    batches = read_entry(results / "structures.parquet").counts["batches"]
    clusters = pa.concat_tables(
        read_table(
            results / "select" / "clusters" / f"{group}.parquet", "clusters", ["snapshot_id", "structure_pcs"]
        ).replace_schema_metadata(None)
        for group in groups(batches)
    )
    picks = set(
        read_table(results / "selection.parquet", "selection", ["snapshot_id"])["snapshot_id"].to_pylist()
    )
    pcs = clusters["structure_pcs"].to_pylist()
    points = np.array([(*pc[:2], 0.0)[:2] for pc in pcs if pc], dtype=float).reshape(-1, 2)
    picked = np.array(
        [name in picks for name, pc in zip(clusters["snapshot_id"].to_pylist(), pcs, strict=True) if pc],
        dtype=bool,
    )
    shown = _sample(len(points))
    axes.scatter(
        points[shown, 0],
        points[shown, 1],
        s=6,
        color=GREY,
        alpha=0.5,
        linewidths=0,
        label=f"pool ({len(points)})",
    )
    axes.scatter(
        points[picked, 0],
        points[picked, 1],
        s=16,
        color=COLOURS[1],
        linewidths=0,
        label=f"picked ({picked.sum()})",
    )
    axes.set(xlabel="weighted PC 1", ylabel="weighted PC 2")
    axes.legend()
    drawn = "" if len(shown) == len(points) else f" {len(shown)} of the pool are drawn."
    return f"{picked.sum()} picks among {len(points)} snapshots.{drawn} From select/clusters/ and selection.parquet."


def force_histogram(axes: Axes, results: Path, levels: list[str]) -> str:
    """Distribution of atomic forces at each level."""
    count = 0
    for level, colour in zip(levels, COLOURS, strict=False):
        forces = _dataset(results, level, ["forces_eV_per_A"])["forces_eV_per_A"].to_pylist()
        sizes = np.concatenate(
            [np.linalg.norm(np.reshape(f, (-1, 3)), axis=1) for f in forces] or [np.zeros(0)]
        )
        count = len(sizes)
        axes.hist(sizes, bins=40, histtype="step", color=colour, label=level)
    axes.set(xlabel="|force| (eV/Å)", ylabel="atoms", yscale="log")
    axes.legend()
    return f"Forces on {count} atoms. From dataset/{{{','.join(levels)}}}, column forces_eV_per_A."


def cohesive_histogram(axes: Axes, results: Path, levels: list[str]) -> str:
    """Distribution of cohesive energies at each level."""
    count = 0
    for level, colour in zip(levels, COLOURS, strict=False):
        values = (
            _dataset(results, level, ["cohesive_energy_eV_per_atom"])["cohesive_energy_eV_per_atom"]
            .drop_null()
            .to_numpy()
        )
        count = len(values)
        axes.hist(values, bins=30, histtype="step", color=colour, label=level)
    axes.set(xlabel="cohesive energy (eV/atom)", ylabel="snapshots")
    axes.legend()
    return f"{count} snapshots whose isolated atoms are all known. Negative is bound. Column cohesive_energy_eV_per_atom."


def energy_parity(axes: Axes, results: Path, levels: list[str]) -> str:
    """Energies of the exploring potential against the first level, relative to each structure's mean."""
    level = levels[0]
    table = read_table(
        results / "dataset" / level / "part-00000.parquet",
        "dataset",
        ["snapshot_id", "structure_id", "n_atoms", "energy_eV"],
    )
    energies = read_table(results / "selection.parquet", "selection", ["snapshot_id", "mlip_energy_eV"])
    potential = dict(
        zip(*(energies[name].to_pylist() for name in ("snapshot_id", "mlip_energy_eV")), strict=True)
    )
    groups: dict[str, list[tuple[float, float]]] = {}
    for row in table.to_pylist():
        pair = (row["energy_eV"] / row["n_atoms"], potential[row["snapshot_id"]] / row["n_atoms"])
        groups.setdefault(row["structure_id"], []).append(pair)
    relative = [np.array(pairs) - np.mean(pairs, axis=0) for pairs in groups.values() if len(pairs) > 1]
    points = 1000 * np.concatenate(relative) if relative else np.zeros((0, 2))
    _parity(axes, points, f"{level} (meV/atom)", "potential (meV/atom)")
    return (
        f"{len(points)} snapshots of {len(relative)} crystals, energies relative to each crystal's mean, because the two have "
        "different zeros. Below the line at high energy: a soft potential."
    )


def level_parity(axes: Axes, results: Path, levels: list[str]) -> str:
    """Force components of the second level against the first."""
    first, second = levels[:2]
    columns = ["snapshot_id", "forces_eV_per_A"]
    left, right = (
        {row["snapshot_id"]: row["forces_eV_per_A"] for row in _dataset(results, level, columns).to_pylist()}
        for level in (first, second)
    )
    shared = sorted(left.keys() & right.keys())
    points = np.array(
        [pair for name in shared for pair in zip(left[name], right[name], strict=True)]
    ).reshape(-1, 2)
    points = points[_sample(len(points))]
    _parity(axes, points, f"{first} force (eV/Å)", f"{second} force (eV/Å)")
    return f"{len(points)} force components of {len(shared)} snapshots that have both levels."


def _parity(axes: Axes, points: np.ndarray, x: str, y: str) -> None:
    axes.scatter(points[:, 0], points[:, 1], s=8, color=COLOURS[0], alpha=0.6, linewidths=0)
    if len(points):
        low, high = points.min(), points.max()
        axes.plot([low, high], [low, high], color=GREY, linewidth=1)
    axes.set(xlabel=x, ylabel=y)
