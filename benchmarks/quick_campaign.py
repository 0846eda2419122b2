"""A whole campaign in this process, without Snakemake.

The same functions in the same order, one batch of each kind.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pesatlas.campaign.layout import REFERENCE, RESULTS, WORK, Results, below, numbered
from pesatlas.campaign.rounds import datasets_before, references
from pesatlas.config.campaign import Campaign
from pesatlas.dataset.collect import collect_dataset
from pesatlas.encode.encode_shard import encode_snapshots
from pesatlas.explore.explore_batch import run_md
from pesatlas.label.batch import label_batch
from pesatlas.label.isolated_atoms import label_atoms
from pesatlas.select.calibrate import calibrate_disagreement
from pesatlas.select.disagreement import measure_disagreement
from pesatlas.select.select_frames import Disagreement, EncodedFrames, select_frames
from pesatlas.structures.external_frames import read_external
from pesatlas.structures.prepare import prepare_structures
from pesatlas.tables import read_entry


def explore(campaign: Campaign, folder: Path) -> Path:
    """Structures, dynamics and features of every batch, and of the reference.

    Return the folder of results.
    """
    results = folder / RESULTS
    structures = below(results, "structures")
    failures = below(results, "structure_failures")
    prepare_structures(campaign.structures, campaign.explore, campaign.label.backend, structures, failures)
    for batch in range(read_entry(structures).counts["batches"]):
        snapshots = below(results, "snapshots", batch=batch)
        failures = below(results, "explore_failures", batch=batch)
        run_md(
            campaign.explore,
            campaign.campaign,
            batch,
            structures=structures,
            snapshots=snapshots,
            failures=failures,
            work=folder / WORK["run_md"],
        )
        encode_snapshots(campaign.encode, snapshots, *_features(results, f"{batch:05d}"))
    if references(campaign):
        snapshots = below(results, "reference_snapshots")
        read_external(references(campaign), snapshots, below(results, "reference_failures"))
        encode_snapshots(campaign.encode, snapshots, *_features(results, "reference"))
    return results


def select(campaign: Campaign, folder: Path) -> Path:
    """Pick frames of what was explored; return the selection."""
    results = folder / RESULTS
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
    results, work = folder / RESULTS, folder / WORK["label_batch"]
    label_atoms(
        campaign.label,
        campaign.campaign,
        structures=below(results, "structures"),
        atoms=below(results, "atoms"),
        failures=below(results, "atom_failures"),
        work=work,
    )
    files = [below(results, "labels", batch=batch) for batch in range(campaign.label_batches)]
    for batch, path in enumerate(files):
        failures = below(results, "label_failures", batch=batch)
        label_batch(
            campaign.label,
            campaign.campaign,
            batch,
            selection=below(results, "selection"),
            labels=path,
            failures=failures,
            work=work,
        )
    before = [path for level in campaign.label.levels for path in datasets_before(campaign.round, level)]
    collect_dataset(campaign, Results(results, len(files), tuple(campaign.label.levels)).files, before)
    return results


def _features(results: Path, batch: str) -> tuple[Path, Path]:
    return below(results, "features", batch=batch), below(results, "moments", batch=batch)


def _encoded(results: Path, batches: Sequence[str]) -> EncodedFrames:
    tables = (
        [below(results, name, batch=b) for b in batches] for name in ("snapshots", "features", "moments")
    )
    return EncodedFrames(*tables)
