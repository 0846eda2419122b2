"""A reduction that is killed goes on from the files of the steps that ended, and gives the same selection."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pesatlas.config.select import Select
from pesatlas.select.pca import fit_pca
from pesatlas.tables import read_table, write_table

HERE = Path(__file__).parent
GROUPS, FRAMES = 4, 2000
# As Snakemake does: a step whose last file is there is not done again. A step ends with a line.
STEPS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from pesatlas.config.select import Select
from pesatlas.select.assign import assign_frames
from pesatlas.select.candidates import find_candidates
from pesatlas.select.clustering import cluster_atoms, cluster_structures, grid_atoms, grid_structures
from pesatlas.select.pick import pick_snapshots
from pesatlas.tables import read_entry
source, folder, groups = Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
settings = Select(
    target=200, structure={"threshold": 0.1}, atoms={"threshold": 0.02}, policy={"kind": sys.argv[5]}
)
pca = source / "pca.npz"
features = [source / f"f/{k:05d}.parquet" for k in range(groups)]
shards = [source / f"s{k}.parquet" for k in range(groups)]
def step(name, function, *arguments, **options):
    path = folder / name
    if not path.exists():
        function(*arguments, **options)
        print(name, flush=True)
    elif path.suffix == ".parquet":
        read_entry(path)  # what is there is whole
    return path
def reduce(k, atoms):
    clusters = folder / f"clusters{k}.parquet"
    assign_frames([features[k]], pca, structures, atoms, clusters)
    find_candidates(settings, 1, [shards[k]], clusters, atoms, folder / f"k{k}.parquet", folder / f"k{k}.npy")
grids = [step(f"g{k}.npz", grid_structures, settings, [f], pca, folder / f"g{k}.npz") for k, f in enumerate(features)]
structures = step("s.npz", cluster_structures, settings, grids, pca, folder / "s.npz")
grids = [step(f"h{k}.npz", grid_atoms, settings, [f], pca, structures, folder / f"h{k}.npz") for k, f in enumerate(features)]
atoms = step("a.npz", cluster_atoms, settings, grids, structures, folder / "a.npz")
kept = [step(f"k{k}.parquet", reduce, k, atoms) for k in range(groups)]
hashes = [folder / f"k{k}.npy" for k in range(groups)]
step("selection.parquet", pick_snapshots, settings, 1, shards, kept, hashes, atoms=atoms, reference=None, structures_per_job=3,
     selection=folder / "selection.parquet")
"""


@pytest.mark.parametrize("policy", ["matpes", "facility"])
def test_a_reduction_killed_again_and_again_ends_as_one_that_was_not(
    snapshot, write_features, random_features, tmp_path, policy
):
    ids, structures, atoms = random_features(GROUPS * FRAMES, groups=60)
    cuts = range(FRAMES, GROUPS * FRAMES, FRAMES)
    _, moments = write_features(tmp_path / "f", ids, structures, atoms, cuts=cuts)
    rng = np.random.default_rng(3)
    for k in range(GROUPS):
        mine = slice(k * FRAMES, (k + 1) * FRAMES)
        rows = [
            snapshot(name, rng.uniform(0, 10, size=(len(x), 3)))
            for name, x in zip(ids[mine], atoms[mine], strict=True)
        ]
        write_table(tmp_path / f"s{k}.parquet", "snapshots", rows, "test")
    fit_pca(Select(), moments, tmp_path / "pca.npz")

    def start(name):
        (tmp_path / name).mkdir(exist_ok=True)
        return subprocess.Popen(
            [
                sys.executable,
                "-c",
                STEPS,
                str(HERE),
                str(tmp_path),
                str(tmp_path / name),
                str(GROUPS),
                policy,
            ],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    quiet, _ = start("quiet").communicate(timeout=600)
    done = []
    for _ in range(6):  # in the middle of whatever comes after the step that it just ended
        with start("killed") as process:
            done.append(process.stdout.readline().strip())
            try:
                process.wait(float(rng.uniform(0, 0.05)))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
            done += process.stdout.read().split()
    with start("killed") as process:
        rest = process.stdout.read().split()
        assert process.wait(600) == 0
    # no step was done twice; one may have ended unsaid
    done = [name for name in done if name] + rest
    assert len(set(done)) == len(done)
    assert set(done) <= set(quiet.split())
    assert 1 < len(rest) < len(quiet.split())
    found = [read_table(tmp_path / name / "selection.parquet", "selection") for name in ("quiet", "killed")]
    assert found[0].num_rows > 100
    assert found[0].equals(found[1])
