"""A whole campaign in this process, without Snakemake.

The same functions in the same order, one batch of each kind.
"""

from collections.abc import Sequence
from pathlib import Path

from pesatlas.campaign.rounds import references
from pesatlas.config.campaign import Campaign
from pesatlas.dataset.collect import collect_dataset
from pesatlas.encode.encode_shard import encode_snapshots
from pesatlas.explore.explore_batch import run_md
from pesatlas.label.batch import label_batch
from pesatlas.label.isolated_atoms import label_atoms
from pesatlas.select.assign import assign_frames
from pesatlas.select.calibrate import calibrate_disagreement
from pesatlas.select.candidates import find_candidates
from pesatlas.select.clustering import cluster_atoms, cluster_structures, grid_atoms, grid_structures
from pesatlas.select.disagreement import measure_disagreement
from pesatlas.select.expected_errors import Committee
from pesatlas.select.pca import fit_pca
from pesatlas.select.pick import pick_snapshots
from pesatlas.select.quality import draw_frames, measure_selection
from pesatlas.select.reference import Reference
from pesatlas.structures.external import read_external
from pesatlas.structures.prepare import prepare_structures
from pesatlas.tables import read_entry


def explore(campaign: Campaign, folder: Path) -> Path:
    """Structures, dynamics and features of every batch, and of the reference.

    Return the folder of results.
    """
    results = folder / "results"
    structures = results / "structures.parquet"
    prepare_structures(campaign, structures, results / "failures/structures.parquet")
    for batch in range(read_entry(structures).counts["batches"]):
        snapshots = results / f"snapshots/{batch:05d}.parquet"
        failures = results / f"failures/explore/{batch:05d}.parquet"
        run_md(campaign, batch, structures, snapshots, failures, folder / "work/explore")
        encode_snapshots(campaign, snapshots, *_features(results, f"{batch:05d}"))
    if references(campaign):
        snapshots = results / "snapshots/reference.parquet"
        read_external(references(campaign), snapshots, results / "failures/reference.parquet")
        encode_snapshots(campaign, snapshots, *_features(results, "reference"))
    return results


def select(campaign: Campaign, folder: Path) -> Path:
    """Pick frames of what was explored; return the selection."""
    results = folder / "results"
    batches = sorted(p.stem for p in (results / "snapshots").glob("?????.parquet"))
    groups = {"00000": batches} | ({"reference": ["reference"]} if references(campaign) else {})
    shards = [results / f"snapshots/{batch}.parquet" for batch in batches]
    place = results / "select"
    pca, structures, atoms = (place / f"{name}.npz" for name in ("pca", "structures", "atoms"))
    features = {name: [_features(results, b)[0] for b in part] for name, part in groups.items()}
    fit_pca(campaign, [_features(results, b)[1] for part in groups.values() for b in part], pca)
    grids = {name: place / f"grid/{name}.structures.npz" for name in groups}
    for name, cells in grids.items():
        grid_structures(campaign, features[name], pca, cells)
    cluster_structures(campaign, list(grids.values()), pca, structures)
    grids = {name: place / f"grid/{name}.atoms.npz" for name in groups}
    for name, cells in grids.items():
        grid_atoms(campaign, features[name], pca, structures, cells)
    cluster_atoms(campaign, list(grids.values()), structures, atoms)
    clusters = {name: place / f"clusters/{name}.parquet" for name in groups}
    for name, table in clusters.items():
        assign_frames(features[name], pca, structures, atoms, table)
    candidates, geometries = place / "candidates/00000.parquet", place / "candidates/00000.npy"
    find_candidates(campaign, shards, clusters["00000"], atoms, candidates, geometries)
    draw_frames(campaign, features["00000"], pca, place / "drawn/00000.npz")
    committee = None
    if campaign.round:
        committee = Committee([place / "disagreement/00000.parquet"], place / "calibration.parquet")
        calibrate_disagreement(campaign, committee.calibration)
        measure_disagreement(campaign, shards, clusters["00000"], candidates, committee.disagreement[0])
    known = None
    if references(campaign):
        known = Reference(results / "snapshots/reference.parquet", clusters["reference"])
    selection = results / "selection.parquet"
    pick_snapshots(
        campaign,
        shards,
        [candidates],
        [geometries],
        atoms=atoms,
        reference=known,
        selection=selection,
        committee=committee,
    )
    drawn = [place / "drawn/00000.npz"]
    quality = place / "quality.parquet"
    before: Sequence[Path] = features.get("reference", ())
    measure_selection(campaign, drawn, features["00000"], pca, selection, quality, reference=before)
    return selection


def label(campaign: Campaign, folder: Path) -> Path:
    """Label what was picked, and collect the dataset; return the folder of results."""
    results, work = folder / "results", folder / "work/label"
    label_atoms(
        campaign,
        results / "structures.parquet",
        results / "labels/atoms.parquet",
        results / "failures/atoms.parquet",
        work,
    )
    files = [results / f"labels/{batch:05d}.parquet" for batch in range(campaign.label_batches)]
    for batch, path in enumerate(files):
        failures = results / f"failures/label/{batch:05d}.parquet"
        label_batch(campaign, batch, results / "selection.parquet", path, failures, work)
    collect_dataset(campaign, results, files)
    return results


def _features(results: Path, batch: str) -> tuple[Path, Path]:
    return results / f"features/{batch}.parquet", results / f"features/{batch}.moments.npz"
