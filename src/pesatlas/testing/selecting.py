"""The select stage on synthetic frames: features, shards, clusters, candidates and picks."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pesatlas.config.select import Select
from pesatlas.select.select_frames import Disagreement, EncodedFrames, select_frames
from pesatlas.tables import TableWriter, read_entry, read_table, write_table
from pesatlas.tables.moments import Moments, ShardMoments

HASH = "a" * 64
Frames = tuple[list[dict[str, Any]], NDArray[np.float64], list[NDArray[np.float64]]]
"""Rows of snapshots, vectors of the structures, vectors of the atoms of each."""


def snapshot(identity: str, positions: Any, **changes: Any) -> dict[str, Any]:
    """Return one row of table ``snapshots``: argon atoms in a box of 10 Å."""
    structure, variant, condition, step = identity.split(":")
    positions = np.asarray(positions, dtype=float).reshape(-1, 3)
    row = {
        "snapshot_id": identity,
        "structure_id": structure,
        "variant": variant,
        "domain": "bulk",
        "condition": condition,
        "ensemble": "NpT",
        "temperature_K": 300.0,
        "pressure_GPa": 0.0,
        "step": int(step),
        "n_atoms": len(positions),
        "numbers": [18] * len(positions),
        "cell_A": (np.eye(3) * 10).ravel().tolist(),
        "positions_A": positions.ravel().tolist(),
        "time_fs": 0.0,
        "mlip_energy_eV": -1.0,
        "mlip_stress_eV_per_A3": [0.0] * 6,
        "mlip_max_force_eV_per_A": 0.0,
        "min_distance_A": 2.0,
        "potential": "none",
        "potential_hash": "none",
        "source": "test",
        "code_version": "test",
    }
    return row | changes


def write_features(
    folder: Path,
    ids: Sequence[str],
    structures: NDArray[np.float64],
    atoms: Sequence[NDArray[np.float64]],
    cuts: Sequence[int] = (),
    encoder_hash: str = HASH,
) -> tuple[list[Path], list[Path]]:
    """Write feature shards, cut before the rows ``cuts``, with their moments; return (features, moments)."""
    edges = [0, *cuts, len(ids)]
    tables, sums = [], []
    folder.mkdir(exist_ok=True, parents=True)
    for k, (a, b) in enumerate(pairwise(edges)):
        path = folder / f"{k:05d}.parquet"
        rows = [
            {
                "snapshot_id": ids[i],
                "n_atoms": len(atoms[i]),
                "structure_features": structures[i].astype(np.float16),
                "atom_features": atoms[i].astype(np.float16).ravel(),
            }
            for i in range(a, b)
        ]
        metadata = {"pesatlas.encoder": "test/1", "pesatlas.encoder_hash": encoder_hash}
        with TableWriter(path, "features", "test", metadata) as writer:
            writer.write(rows)
        shard = ShardMoments(
            "test/1", encoder_hash, Moments.empty(structures.shape[1]), Moments.empty(atoms[0].shape[1])
        )
        for i in range(a, b):
            s, x = structures[i].astype(np.float16), atoms[i].astype(np.float16)
            if np.isfinite(s).all() and np.isfinite(x).all():
                shard.structures.add(s[None])
                shard.atoms.add(x)
        shard.write(folder / f"{k:05d}.moments.npz")
        tables.append(path)
        sums.append(folder / f"{k:05d}.moments.npz")
    return tables, sums


def random_features(
    n: int = 200, d: int = 12, seed: int = 0, groups: int = 6
) -> tuple[list[str], NDArray[np.float64], list[NDArray[np.float64]]]:
    """Frames around a few centres: ids, structure vectors (n, d), atom vectors, a list of (n_i, d)."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(groups, d))
    group = rng.integers(groups, size=n)
    structures = centres[group] + 0.1 * rng.normal(size=(n, d))
    atoms = [
        centres[g] * rng.choice([0.5, 1.5], size=(rng.integers(1, 5), 1)) + 0.05 * rng.normal(size=(1, d))
        for g in group
    ]
    ids = [f"x-{g}:unit:300K:{i}" for i, g in enumerate(group)]
    return ids, structures, atoms


def frames_of_twelve_crystals() -> Frames:
    """300 frames of 12 crystals, five of them twice, six as given.

    Those of every third crystal are slabs.
    """
    ids, structures, atoms = random_features(300, groups=12)
    rng = np.random.default_rng(3)
    rows = [snapshot(name, rng.uniform(0, 10, size=(len(x), 3))) for name, x in zip(ids, atoms, strict=True)]
    for i in range(0, 300, 60):
        twin = next(j for j in range(i + 1, 300) if len(atoms[j]) == len(atoms[i]))
        rows[twin]["positions_A"], structures[twin], atoms[twin] = (
            rows[i]["positions_A"],
            structures[i],
            atoms[i],
        )
    for i in range(5, 300, 50):
        rows[i]["condition"] = "equilibrium"
    for row in rows:
        if int(row["structure_id"].removeprefix("x-")) % 3 == 0:
            row["domain"] = "surface"
    return rows, structures, atoms


def disagree(clusters: Path, candidates: Path, disagreement: Path, predicted: Any = None) -> None:
    """Write the table ``disagreement`` of candidates.

    By ``predicted``, or of every frame its own, whatever is evaluated beside it.
    """
    wanted = set(read_table(candidates, "candidates")["snapshot_id"].to_pylist())
    rows = []
    for row in read_table(clusters, "clusters").to_pylist():
        name, n = row["snapshot_id"], len(row["atom_clusters"])
        if name in wanted:
            std = (
                predicted(row) if predicted else np.random.default_rng(sum(name.encode())).uniform(0.1, 1, n)
            )
            rows.append(
                {
                    "snapshot_id": name,
                    "structure_id": name.split(":")[0],
                    "domain": "bulk",
                    "n_atoms": n,
                    "numbers": [18] * n,
                    "atom_clusters": row["atom_clusters"],
                    "force_std_eV_per_A": std,
                    "reason": None if std is not None else "unsupported_element",
                    "code_version": "test",
                }
            )
    write_table(disagreement, "disagreement", rows, "test")


def calibrated(path: Path, factor: float = 2.0) -> Path:
    """Write a table ``calibration``."""
    numbers = ("values", "std", "expected", "error", "error_low", "error_high")
    row: dict[str, Any] = dict.fromkeys(numbers, 1.0) | {
        "quantity": "forces",
        "bin": 0,
        "factor": factor,
        "values": 1,
    }
    write_table(path, "calibration", [row | {"held_out": True, "code_version": "test"}], "test")
    return path


def select(
    settings: Select,
    folder: Path,
    frames: Frames,
    order: Any = None,
    *,
    seed: int = 1,
    cuts: Sequence[int] = (),
    groups: list[list[int]] | None = None,
    reference: Frames | None = None,
    predicted: Any = None,
) -> tuple[list[dict[str, Any]], Mapping[str, int]]:
    """Run the whole stage on frames in ``order``, in shards cut before ``cuts``, in ``groups`` of shards.

    Return picks and counts.

    Parameters
    ----------
    reference : frames that are labelled already
    predicted : what a committee says of a frame, for policies that ask one; see ``disagree``
    """
    rows, structures, atoms = frames
    order = np.arange(len(rows)) if order is None else order
    ids = [rows[i]["snapshot_id"] for i in order]
    features, moments = write_features(folder / "f", ids, structures[order], [atoms[i] for i in order], cuts)
    shards, edges = [], [0, *cuts, len(order)]
    for k in range(len(features)):
        shards.append(folder / f"s{k}.parquet")
        write_table(shards[-1], "snapshots", [rows[i] for i in order[edges[k] : edges[k + 1]]], "test")
    pool = [
        EncodedFrames(*([paths[i] for i in part] for paths in (shards, features, moments)))
        for part in groups or [list(range(len(shards)))]
    ]
    known = None
    if reference:
        more, x, y = reference
        of_known = write_features(folder / "known", [row["snapshot_id"] for row in more], x, y)
        write_table(folder / "known.parquet", "snapshots", more, "test")
        known = EncodedFrames([folder / "known.parquet"], *of_known)
    select_frames(
        settings,
        seed,
        pool,
        folder,
        structures_per_job=3,
        reference=known,
        committee=Disagreement(
            lambda _, clusters, candidates, path: disagree(clusters, candidates, path, predicted),
            calibrated(folder / "calibration.parquet"),
        ),
    )
    counts = read_entry(folder / "selection.parquet").counts
    assert counts["pool"] == sum(n for name, n in counts.items() if name != "pool")
    return read_table(folder / "selection.parquet", "selection").to_pylist(), counts
