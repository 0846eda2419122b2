"""The whole stage on files: components, clusters, candidates, picks and their quality, as the rules do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pesatlas.campaign.layout import REFERENCE, below
from pesatlas.config.select import Select
from pesatlas.select.assign import assign_frames
from pesatlas.select.candidates import find_candidates
from pesatlas.select.clustering import cluster_atoms, cluster_structures, grid_atoms, grid_structures
from pesatlas.select.expected_errors import Committee
from pesatlas.select.pca import fit_pca
from pesatlas.select.pick import pick_snapshots
from pesatlas.select.quality import measure_selection, sample_frames
from pesatlas.select.reference import Reference


@dataclass(frozen=True)
class EncodedFrames:
    """Shards of frames and their features.

    Tables ``snapshots`` and ``features`` and the moments, one of each for a shard.
    """

    snapshots: Sequence[Path]
    features: Sequence[Path]
    moments: Sequence[Path]


class Disagreement(NamedTuple):
    """Disagreement of a committee, for policies that use it.

    Attributes
    ----------
    measure : writes the table ``disagreement`` of one group, given its snapshots, clusters and candidates
        and the path of that table, as ``measure_disagreement`` does
    calibration : table ``calibration`` of the committee
    """

    measure: Callable[[list[Path], Path, Path, Path], None]
    calibration: Path


def select_frames(
    settings: Select,
    seed: int,
    pool: Sequence[EncodedFrames],
    results: Path,
    *,
    structures_per_job: int,
    reference: EncodedFrames | None = None,
    committee: Disagreement | None = None,
) -> None:
    """Pick frames of ``pool``, and measure how well they cover it.

    Parameters
    ----------
    pool : groups of shards to pick from; how shards are grouped changes no pick
    results : folder that gets the tables ``selection`` and ``quality``, and all that is made on the way,
        where a campaign has them
    structures_per_job : rows of ``selection`` in a batch of labels
    reference : frames that are labelled already, which count as covered
    committee : disagreement of a committee, which the policy ``disagree`` needs

    Raises
    ------
    UserError
        If there is nothing to pick from, or the features were made by different encoders.
    """
    groups = {f"{i:05d}": group for i, group in enumerate(pool)}
    every = groups | ({REFERENCE: reference} if reference else {})

    def each(name: str) -> list[Path]:
        return [below(results, name, group=group) for group in groups]

    pca, atoms, selection = (below(results, name) for name in ("pca", "atom_centres", "selection"))
    fit_pca(settings, [path for group in every.values() for path in group.moments], pca)
    clusters = cluster_frames(settings, {name: group.features for name, group in every.items()}, pca, results)
    for name, group in groups.items():
        candidates, geometries, drawn = (
            below(results, table, group=name) for table in ("candidates", "geometries", "drawn")
        )
        find_candidates(settings, seed, list(group.snapshots), clusters[name], atoms, candidates, geometries)
        sample_frames(seed, list(group.features), pca, drawn)
        if committee:
            table = below(results, "disagreement", group=name)
            committee.measure(list(group.snapshots), clusters[name], candidates, table)
    pick_snapshots(
        settings,
        seed,
        [path for group in pool for path in group.snapshots],
        each("candidates"),
        each("geometries"),
        atoms=atoms,
        reference=Reference(reference.snapshots[0], clusters[REFERENCE]) if reference else None,
        selection=selection,
        structures_per_job=structures_per_job,
        committee=Committee(each("disagreement"), committee.calibration) if committee else None,
    )
    measure_selection(
        settings,
        each("drawn"),
        [path for group in pool for path in group.features],
        pca,
        selection,
        below(results, "quality"),
        reference=reference.features if reference else [],
    )


def cluster_frames(
    settings: Select, features: Mapping[str, Sequence[Path]], pca: Path, results: Path
) -> dict[str, Path]:
    """Cluster groups of shards of ``features`` in both stages; return the table ``clusters`` of each group.

    All that it makes is where a campaign has it in its ``results``, the centres of both stages beside these
    tables.
    """
    structures, atoms = below(results, "structure_centres"), below(results, "atom_centres")
    cells = {name: below(results, "structure_grid", group=name) for name in features}
    for name, shards in features.items():
        grid_structures(settings, list(shards), pca, cells[name])
    cluster_structures(settings, list(cells.values()), pca, structures)
    cells = {name: below(results, "atom_grid", group=name) for name in features}
    for name, shards in features.items():
        grid_atoms(settings, list(shards), pca, structures, cells[name])
    cluster_atoms(settings, list(cells.values()), structures, atoms)
    clusters = {name: below(results, "clusters", group=name) for name in features}
    for name, shards in features.items():
        assign_frames(list(shards), pca, structures, atoms, clusters[name])
    return clusters
