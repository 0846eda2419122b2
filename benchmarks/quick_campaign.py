"""A whole campaign in this process, without Snakemake.

The same functions in the same order, one batch of each kind.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pesatlas.campaign.layout import REFERENCE, below, numbered
from pesatlas.campaign.rounds import references
from pesatlas.config.campaign import Campaign
from pesatlas.dataset.collect import collect_dataset
from pesatlas.encode.encode_shard import encode_snapshots
from pesatlas.explore.explore_batch import run_md
from pesatlas.label.batch import label_batch
from pesatlas.label.isolated_atoms import label_atoms
from pesatlas.select.calibrate import calibrate_disagreement
from pesatlas.select.disagreement import measure_disagreement
from pesatlas.select.select_frames import Disagreement, EncodedFrames, select_frames
from pesatlas.structures.external import read_external
from pesatlas.structures.prepare import prepare_structures
from pesatlas.tables import read_entry


def explore(campaign: Campaign, folder: Path) -> Path:
    """Structures, dynamics and features of every batch, and of the reference.

    Return the folder of results.
    """
    results = folder / "results"
    structures = results / "structures.parquet"
    failures = results / "failures/structures.parquet"
    prepare_structures(campaign.structures, campaign.explore, campaign.label.backend, structures, failures)
    for batch in range(read_entry(structures).counts["batches"]):
        snapshots = results / f"snapshots/{batch:05d}.parquet"
        failures = results / f"failures/explore/{batch:05d}.parquet"
        run_md(
            campaign.explore,
            campaign.campaign,
            batch,
            structures=structures,
            snapshots=snapshots,
            failures=failures,
            work=folder / "work/explore",
        )
        encode_snapshots(campaign.encode, snapshots, *_features(results, f"{batch:05d}"))
    if references(campaign):
        snapshots = results / "snapshots/reference.parquet"
        read_external(references(campaign), snapshots, results / "failures/reference.parquet")
        encode_snapshots(campaign.encode, snapshots, *_features(results, "reference"))
    return results


def select(campaign: Campaign, folder: Path) -> Path:
    """Pick frames of what was explored; return the selection."""
    results = folder / "results"
    committee = None
    if campaign.round:
        committee = Disagreement(partial(measure_disagreement, campaign.round), below(results, "calibration"))
        level = campaign.round.level or campaign.label.levels[0]
        calibrate_disagreement(campaign.round, level, campaign.campaign.seed, committee.calibration)
    select_frames(
        campaign.select,
        campaign.campaign.seed,
        [_encoded(results, [path.stem for path in numbered(results, "snapshots")])],
        results,
        structures_per_job=campaign.label.structures_per_job,
        reference=_encoded(results, [REFERENCE]) if references(campaign) else None,
        committee=committee,
    )
    return below(results, "selection")


def label(campaign: Campaign, folder: Path) -> Path:
    """Label what was picked, and collect the dataset; return the folder of results."""
    results, work = folder / "results", folder / "work/label"
    label_atoms(
        campaign.label,
        campaign.campaign,
        structures=results / "structures.parquet",
        atoms=results / "labels/atoms.parquet",
        failures=results / "failures/atoms.parquet",
        work=work,
    )
    files = [results / f"labels/{batch:05d}.parquet" for batch in range(campaign.label_batches)]
    for batch, path in enumerate(files):
        failures = results / f"failures/label/{batch:05d}.parquet"
        label_batch(
            campaign.label,
            campaign.campaign,
            batch,
            selection=results / "selection.parquet",
            labels=path,
            failures=failures,
            work=work,
        )
    collect_dataset(campaign, results, files)
    return results


def _features(results: Path, batch: str) -> tuple[Path, Path]:
    return results / f"features/{batch}.parquet", results / f"features/{batch}.moments.npz"


def _encoded(results: Path, batches: Sequence[str]) -> EncodedFrames:
    tables = (
        [below(results, name, batch=b) for b in batches] for name in ("snapshots", "features", "moments")
    )
    return EncodedFrames(*tables)
