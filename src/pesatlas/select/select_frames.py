"""The whole stage on files: principal components, clusters, candidates, picks and their quality, as the rules make them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pesatlas.config.select import Select
from pesatlas.select.assign import assign_frames
from pesatlas.select.candidates import find_candidates
from pesatlas.select.clustering import cluster_atoms, cluster_structures, grid_atoms, grid_structures
from pesatlas.select.disagreement import Committee
from pesatlas.select.pca import fit_pca
from pesatlas.select.pick import pick_snapshots
from pesatlas.select.quality import draw_frames, measure_selection
from pesatlas.select.reference import Reference

REFERENCE = "reference"
"""Name of the group of frames that are labelled already."""


@dataclass(frozen=True)
class EncodedFrames:
    """Shards of frames and their features: tables ``snapshots`` and ``features`` and the moments, one of each for a shard."""

    snapshots: Sequence[Path]
    features: Sequence[Path]
    moments: Sequence[Path]


class Disagreement(NamedTuple):
    """Disagreement of a committee, for policies that use it.

    Attributes
    ----------
    measure : writes the table ``disagreement`` of one group, given its snapshots, clusters and candidates and the path of that
        table, as ``measure_disagreement`` does
    calibration : table ``calibration`` of the committee
    """

    measure: Callable[[list[Path], Path, Path, Path], None]
    calibration: Path


def select_frames(
    settings: Select,
    seed: int,
    pool: Sequence[EncodedFrames],
    folder: Path,
    *,
    selection: Path,
    structures_per_job: int,
    reference: EncodedFrames | None = None,
    committee: Disagreement | None = None,
    quality: Path | None = None,
) -> None:
    """Pick frames of ``pool`` and write the table ``selection``.

    Parameters
    ----------
    pool : groups of shards to pick from; how shards are grouped changes no pick
    folder : gets what is made on the way, under the names that it has in ``results/select``
    structures_per_job : rows of a batch of labels
    reference : frames that are labelled already, which count as covered
    committee : disagreement of a committee, which the policy ``disagree`` needs
    quality : table to write; None: not measured

    Raises
    ------
    UserError
        If there is nothing to pick from, or the features were made by different encoders.
    """
    groups = {f"{i:05d}": group for i, group in enumerate(pool)}
    every = groups | ({REFERENCE: reference} if reference else {})
    pca, atoms = folder / "pca.npz", folder / "atoms.npz"
    fit_pca(settings, [path for group in every.values() for path in group.moments], pca)
    clusters = cluster_frames(settings, {name: group.features for name, group in every.items()}, pca, folder)
    candidates = {name: folder / "candidates" / f"{name}.parquet" for name in groups}
    geometries = {name: path.with_suffix(".npy") for name, path in candidates.items()}
    for name, group in groups.items():
        shards = list(group.snapshots)
        find_candidates(settings, seed, shards, clusters[name], atoms, candidates[name], geometries[name])
    asked = None
    if committee:
        tables = {name: folder / "disagreement" / f"{name}.parquet" for name in groups}
        for name, group in groups.items():
            committee.measure(list(group.snapshots), clusters[name], candidates[name], tables[name])
        asked = Committee(list(tables.values()), committee.calibration)
    pick_snapshots(
        settings,
        seed,
        [path for group in groups.values() for path in group.snapshots],
        list(candidates.values()),
        list(geometries.values()),
        atoms=atoms,
        reference=Reference(reference.snapshots[0], clusters[REFERENCE]) if reference else None,
        selection=selection,
        structures_per_job=structures_per_job,
        committee=asked,
    )
    if quality:
        drawn = {name: folder / "drawn" / f"{name}.npz" for name in groups}
        for name, group in groups.items():
            draw_frames(seed, list(group.features), pca, drawn[name])
        measure_selection(
            settings,
            list(drawn.values()),
            [path for group in groups.values() for path in group.features],
            pca,
            selection,
            quality,
            reference=reference.features if reference else [],
        )


def cluster_frames(
    settings: Select, features: Mapping[str, Sequence[Path]], pca: Path, folder: Path
) -> dict[str, Path]:
    """Cluster groups of shards of ``features`` in both stages; return the table ``clusters`` of each group.

    ``folder`` gets ``structures.npz`` and ``atoms.npz``, the centres of both stages, beside these tables.
    """
    structures, atoms = folder / "structures.npz", folder / "atoms.npz"
    cells = {name: folder / "grid" / f"{name}.structures.npz" for name in features}
    for name, shards in features.items():
        grid_structures(settings, list(shards), pca, cells[name])
    cluster_structures(settings, list(cells.values()), pca, structures)
    cells = {name: folder / "grid" / f"{name}.atoms.npz" for name in features}
    for name, shards in features.items():
        grid_atoms(settings, list(shards), pca, structures, cells[name])
    cluster_atoms(settings, list(cells.values()), structures, atoms)
    clusters = {name: folder / "clusters" / f"{name}.parquet" for name in features}
    for name, shards in features.items():
        assign_frames(list(shards), pca, structures, atoms, clusters[name])
    return clusters
