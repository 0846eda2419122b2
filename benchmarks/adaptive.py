"""Trajectories that end when they show nothing new against full ones, and against fixed lengths.

    python benchmarks/adaptive_recording.py FOLDER
    python benchmarks/adaptive.py FOLDER [--figure docs/images/saturation.svg]
    python benchmarks/adaptive.py FOLDER --each

A trajectory that ends early is the beginning of a full one, so that every rule can be tried on one recording.
Of each pool (full, saturated, and fixed lengths of as many steps·atoms) as many frames are selected as the
project does; fill distances are from every frame, and every atom, of the *full* trajectories to the nearest
that was picked, in weighted principal components of the full pool. ``pool`` in place of a number of picks is
the distance to the nearest frame of the pool: what no selection from it could cover. With ``--each``, when
each trajectory would have ended, and what came after.
"""

import argparse
import logging
import os
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from adaptive_recording import ROOT, encode_section, explore_section
from numpy.typing import NDArray
from scipy.spatial import KDTree

from pesatlas.campaign.layout import below
from pesatlas.config.explore import Explore
from pesatlas.config.plugins import find
from pesatlas.config.select import Select
from pesatlas.explore.feature_metric import Metric, metric_of
from pesatlas.explore.saturation import Saturation
from pesatlas.select.pca import Pca
from pesatlas.select.select_frames import EncodedFrames, select_frames
from pesatlas.tables import read_table, write_table
from pesatlas.tables.moments import Moments, ShardMoments


@dataclass(frozen=True, eq=False)
class Recorded:
    """One full trajectory.

    Attributes
    ----------
    name, kind, formula : of the crystal
    n_atoms, steps, fs : of the trajectory
    frames : names of its frames, in their order
    structures, atoms : features of the frames, (F, D) and (F, n, d)
    """

    name: str
    kind: str
    formula: str
    n_atoms: int
    steps: int
    fs: float
    frames: list[str]
    structures: NDArray[np.float16]
    atoms: NDArray[np.float16]


@dataclass(frozen=True, eq=False)
class Recording:
    """Snapshots and features of full trajectories, and what is still of their crystals."""

    snapshots: pa.Table
    features: pa.Table
    about: dict[str, str]
    trajectories: list[Recorded]


def read_recording(folder: Path) -> Recording:
    """Read the batches that are done."""
    done = sorted((folder / "features").glob("*.parquet"))
    snapshots = pa.concat_tables(read_table(folder / "snapshots" / path.name, "snapshots") for path in done)
    features = pa.concat_tables(read_table(path, "features") for path in done)
    first = ShardMoments.read(done[0].with_suffix(".npz"))
    formulas = {
        row["structure_id"]: row["formula"]
        for row in read_table(folder / "structures.parquet", "structures").to_pylist()
    }
    trajectories = []
    owners = pc.utf8_slice_codeunits(snapshots["snapshot_id"], 0, -8)
    for owner in dict.fromkeys(owners.to_pylist()):
        if ":equilibrium" in owner:
            continue
        mine = pc.equal(owners, owner)
        rows, described = snapshots.filter(mine), features.filter(mine)
        n, steps = rows["n_atoms"][0].as_py(), rows["step"].to_numpy()
        of_frames, of_atoms = (
            described[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            for name in ("structure_features", "atom_features")
        )
        name = rows["structure_id"][0].as_py()
        trajectories.append(
            Recorded(
                name,
                rows["domain"][0].as_py(),
                formulas[name],
                n,
                int(steps[-1]),
                rows["time_fs"][0].as_py() / steps[0],
                rows["snapshot_id"].to_pylist(),
                of_frames.reshape(len(rows), -1),
                of_atoms.reshape(len(rows), n, -1),
            )
        )
    about = {"encoder": first.encoder, "weights_hash": first.weights_hash}
    return Recording(snapshots, features, about, trajectories)


def saturated_lengths(recording: Recording, by: Saturation) -> dict[str, int]:
    """Return how many frames each trajectory has with a rule."""
    lengths = {}
    for each in recording.trajectories:
        new = by.new_frames([*each.structures], [*each.atoms])
        ends = (n for n in range(1, len(new) + 1) if by.is_saturated(new[:n]))
        lengths[each.name] = next(ends, len(new))
    return lengths


def work_of(recording: Recording, lengths: Mapping[str, int]) -> float:
    """Steps·atoms of trajectories with so many frames."""
    return sum(
        each.n_atoms * each.steps * lengths[each.name] / len(each.frames) for each in recording.trajectories
    )


def fixed_lengths(recording: Recording, work: float) -> dict[str, int]:
    """Return the same number of frames for all, with about (and no less than) so many steps·atoms."""
    longest = max(len(each.frames) for each in recording.trajectories)
    for count in range(1, longest + 1):
        lengths = {each.name: min(count, len(each.frames)) for each in recording.trajectories}
        if work_of(recording, lengths) >= work:
            return lengths
    return lengths


class Pool:
    """Frames of trajectories of certain lengths, as a shard of a campaign; crystals as given are in it."""

    def __init__(self, recording: Recording, lengths: Mapping[str, int], folder: Path) -> None:
        ids = recording.snapshots["snapshot_id"]
        kept = {name for each in recording.trajectories for name in each.frames[: lengths[each.name]]}
        kept |= {name for name in ids.to_pylist() if ":equilibrium:" in name}
        mask = pa.array([name in kept for name in ids.to_pylist()])
        self.features = recording.features.filter(mask)
        self.shard = EncodedFrames(
            [folder / "snapshots.parquet"], [folder / "features.parquet"], [folder / "moments.npz"]
        )
        write_table(self.shard.snapshots[0], "snapshots", recording.snapshots.filter(mask), "benchmark")
        encoder = {
            "pesatlas.encoder": recording.about["encoder"],
            "pesatlas.encoder_hash": recording.about["weights_hash"],
        }
        write_table(self.shard.features[0], "features", self.features, "benchmark", metadata=encoder)
        vectors = [
            _matrix(self.features, name, recording) for name in ("structure_features", "atom_features")
        ]
        moments = [Moments.empty(each.shape[1]) for each in vectors]
        for each, values in zip(moments, vectors, strict=True):
            each.add(values)
        ShardMoments(**recording.about, structures=moments[0], atoms=moments[1]).write(self.shard.moments[0])


def _matrix(features: pa.Table, name: str, recording: Recording) -> NDArray[np.float16]:
    first = recording.trajectories[0]
    width = first.structures.shape[1] if name == "structure_features" else first.atoms.shape[2]
    values = features[name].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    return values[np.isfinite(values).all(1)]


def distances(
    probe: list[NDArray], found: pa.Table, recording: Recording, pca: Pca
) -> dict[str, dict[str, float]]:
    """Mean, 99th percentile and largest distance from the probe to the nearest of some frames."""
    result = {}
    for what, name, points in zip(
        ("structures", "atoms"), ("structure_features", "atom_features"), probe, strict=True
    ):
        tree = KDTree(getattr(pca, what).project(_matrix(found, name, recording)))
        apart = tree.query(points)[0]
        result[what] = {
            "mean": float(apart.mean()),
            "p99": float(np.percentile(apart, 99)),
            "max": float(apart.max()),
        }
    return result


def measure(
    recording: Recording, pools: Mapping[str, Mapping[str, int]], targets: list[int], seeds: list[int]
) -> list[dict[str, Any]]:
    """Select from each pool, and measure how far all frames of the first are from what was picked."""
    rows, probe, pca = [], [], None
    full_work = None
    for name, lengths in pools.items():
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            pool = Pool(recording, lengths, folder)
            work = work_of(recording, lengths)
            full_work = full_work or work
            for target in targets:
                every = []
                for seed in seeds:
                    out = folder / f"select-{target}-{seed}"
                    settings = Select(target=target, structure={"threshold": 0.05}, atoms={"threshold": 0.02})
                    select_frames(settings, seed, [pool.shard], out, structures_per_job=100)
                    if pca is None:
                        pca = Pca.read(below(out, "pca"))
                        probe = [
                            getattr(pca, what).project(_matrix(recording.features, column, recording))
                            for what, column in (
                                ("structures", "structure_features"),
                                ("atoms", "atom_features"),
                            )
                        ]
                    picked = read_table(below(out, "selection"), "selection", ["snapshot_id"])
                    mask = pc.is_in(pool.features["snapshot_id"], picked["snapshot_id"].combine_chunks())
                    chosen = pool.features.filter(mask)
                    every.append(distances(probe, chosen, recording, pca))
                mean = {
                    what: {key: float(np.mean([one[what][key] for one in every])) for key in every[0][what]}
                    for what in every[0]
                }
                rows.append({"pool": name, "picks": len(chosen), "share": work / full_work, **mean})
            rows.append(
                {
                    "pool": name,
                    "picks": "pool",
                    "share": work / full_work,
                    **distances(probe, pool.features, recording, pca),
                }
            )
        show(rows[-1 - len(targets) :])
    return rows


def show_each(recording: Recording, by: Saturation, metric: Metric) -> None:
    """Print when each trajectory ends, and the distances of what comes after, in the rule's metric."""
    lengths = saturated_lengths(recording, by)
    print("| crystal | kind | atoms | length, ps | end, ps | new | new after | structures | atoms |")
    print("|---|---|---|---|---|---|---|---|---|")
    for each in recording.trajectories:
        end, count = lengths[each.name], len(each.frames)
        new, far = by.new_frames([*each.structures], [*each.atoms]), []
        for components, vectors in zip(metric, (each.structures, each.atoms), strict=True):
            points = components.project(vectors.reshape(-1, vectors.shape[-1])).reshape(count, -1)
            points = points.reshape(count, -1, len(components.axes))
            tree = KDTree(np.concatenate(points[:end]))
            far.append(f"{tree.query(np.concatenate(points[end:]))[0].max():.3f}" if end < count else "")
        ps = [f"{frames * each.steps * each.fs / count / 1000:.2f}" for frames in (count, end)]
        cells = [each.formula, each.kind, each.n_atoms, *ps, sum(new[:end]), sum(new[end:]), *far]
        print(f"| {' | '.join(map(str, cells))} |", flush=True)


def show(rows: list[dict[str, Any]]) -> None:
    """Print the table: distances, and in brackets their ratio to those of the full pool."""
    full = {row["picks"]: row for row in rows if row["pool"] == rows[0]["pool"]}
    print("| pool | steps·atoms | picks | structures mean | p99 | max | atoms mean | p99 | max |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        cells = []
        for what in ("structures", "atoms"):
            for key in ("mean", "p99", "max"):
                value, same = row[what][key], full.get(row["picks"], row)[what][key]
                cells.append(f"{value:.4f}" + (f" ({value / same:.2f})" if same > 0 else ""))
        print(f"| {row['pool']} | {row['share']:.3f} | {row['picks']} | " + " | ".join(cells) + " |")


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw what pools miss against the steps·atoms they cost."""
    import altair as alt  # noqa: PLC0415 - for those who want the figure

    points = [
        {
            "share": row["share"],
            "distance": row[what][key],
            "what": f"{what}, {called}",
            "rule": row["pool"].split(",")[0],
        }
        for row in rows
        if row["picks"] == "pool" and row["pool"] != "full"
        for what in ("structures", "atoms")
        for key, called in (("mean", "mean"), ("p99", "99th percentile"), ("max", "largest"))
    ]
    base = alt.Chart(alt.Data(values=points)).encode(
        x=alt.X("share:Q", title="steps·atoms of full", scale=alt.Scale(type="log")),
        y=alt.Y("distance:Q", title="distance to the pool", scale=alt.Scale(zero=True)),
        color=alt.Color("rule:N", title=None),
    )
    panel = alt.layer(base.mark_line(opacity=0.4), base.mark_point(filled=True, size=50))
    chart = panel.properties(width=170, height=130).facet(facet=alt.Facet("what:N", title=None), columns=3)
    chart.resolve_scale(y="independent").save(str(path))


def main() -> None:
    """Try rules on a recording, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--thresholds", type=float, nargs="+", default=[0.1, 0.05, 0.035])
    parser.add_argument("--patience", type=float, default=0.5)
    parser.add_argument("--structures-per-atom", type=float, default=3.0, help="ratio of the thresholds")
    parser.add_argument("--figure", type=Path, default=None)
    parser.add_argument("--each", action="store_true", help="one row for each trajectory, and no pools")
    parser.add_argument("--min-length", type=float, default=2.0)
    parser.add_argument("--targets", type=int, nargs="+", default=[200])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    recording = read_recording(arguments.folder)
    options: Any = encode_section(arguments.shared.resolve()).encoder
    encoder = find("pesatlas.encode.encoders", options.kind).load(options, "cpu")
    section = explore_section(arguments.shared.resolve())
    pools = {"full": {each.name: len(each.frames) for each in recording.trajectories}}
    for threshold in arguments.thresholds:
        stop = {
            "kind": "saturated",
            "encoder": options,
            "atoms": threshold,
            "structures": arguments.structures_per_atom * threshold,
            "patience": arguments.patience,
            "min_length_ps": arguments.min_length,
        }
        by = Saturation(Explore.model_validate({**section.model_dump(), "stop": stop}), encoder)
        if arguments.each:
            print(f"atoms: {threshold:g}")
            show_each(recording, by, metric_of(encoder))
            continue
        lengths = saturated_lengths(recording, by)
        pools[f"saturated, {threshold:g}"] = lengths
        fixed = fixed_lengths(recording, work_of(recording, lengths))
        pools[f"fixed, {0.05 * max(fixed.values()):.2f} ps"] = fixed
        kinds: dict[str, list[str]] = {}
        for each in recording.trajectories:
            kinds.setdefault(each.kind, []).append(f"{each.formula} {0.05 * lengths[each.name]:g}")
        for kind, lengths_ps in kinds.items():
            print(f"{threshold:g} {kind}, ps: {', '.join(lengths_ps)}", flush=True)
    if arguments.each:
        return
    rows = measure(recording, pools, arguments.targets, arguments.seeds)
    show(rows)
    if arguments.figure:
        draw(rows, arguments.figure)


if __name__ == "__main__":
    main()
