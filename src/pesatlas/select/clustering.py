"""The two stages of 2DIRECT: clusters of structures, and clusters of atoms inside each.

Each stage is a map over groups of shards, which gathers points into the cells of a grid, and one job that
merges the cells and builds a tree of them. Cells of all shards together take half a gigabyte at most, a merge
three times that, whatever the number of snapshots.
"""

import logging
from pathlib import Path

import numpy as np

from pesatlas.config.section import digest
from pesatlas.config.select import AtomStage, Select, StructureStage
from pesatlas.errors import UserError
from pesatlas.select.centres import Centres
from pesatlas.select.grid import Cells, Gathering
from pesatlas.select.pca import Pca
from pesatlas.select.shards import read_projected
from pesatlas.tables.components import Components

log = logging.getLogger(__name__)

# A cell is so many times finer than the threshold of clusters, or than the spread along the first axis if
# that is not known yet.
_FINER_THAN_THRESHOLD = 4
_FINER_THAN_SPREAD = 4096


def grid_structures(settings: Select, features: list[Path], pca: Path, cells: Path) -> None:
    """Gather the structures of some shards into cells; frames without finite features stay out.

    Raises
    ------
    UserError
        If the features were made by another encoder than the principal components.
    """
    components = Pca.read(pca)
    found = Gathering(_width(settings.structure, components.structures), 1, len(components.structures.axes))
    for path in features:
        for frames in read_projected(path, components, atoms=False):
            points = frames.structures[frames.finite]
            found.add_points(np.zeros(len(points), dtype=np.int32), points)
    gathered = found.cells()
    gathered.write(cells, _structure_points(settings, components))
    log.info("%d structures in %d cells of the grid", gathered.counts.sum(), len(gathered.counts))


def cluster_structures(settings: Select, cells: list[Path], pca: Path, centres: Path) -> None:
    """Merge the cells of all shards and cluster them.

    Raises
    ------
    UserError
        If a shard's cells are of other principal components.
    """
    points = _structure_points(settings, Pca.read(pca))
    found = _cluster(settings.structure, _merge(cells, points), "structures")
    found.write(centres, digest(points, settings.structure.identity()))


def grid_atoms(settings: Select, features: list[Path], pca: Path, structures: Path, cells: Path) -> None:
    """Gather the atoms of some shards into cells, a grid for each cluster of structures.

    Raises
    ------
    UserError
        As ``grid_structures``.
    """
    components = Pca.read(pca)
    centres, points = Centres.read(structures)
    found = Gathering(
        _width(settings.atoms, components.atoms), len(centres.weights), len(components.atoms.axes)
    )
    for path in features:
        for frames in read_projected(path, components):
            sizes = np.diff(frames.edges)
            owners = np.zeros(len(sizes), dtype=np.int32)
            owners[frames.finite], _ = centres.nearest(
                np.zeros(int(frames.finite.sum()), dtype=np.int32), frames.structures[frames.finite]
            )
            kept = np.repeat(frames.finite, sizes)
            found.add_points(np.repeat(owners, sizes)[kept], frames.atoms[kept])
    gathered = found.cells()
    gathered.write(cells, _atom_points(settings, points))
    log.info("%d atoms in %d cells of the grids", gathered.counts.sum(), len(gathered.counts))


def cluster_atoms(settings: Select, cells: list[Path], structures: Path, centres: Path) -> None:
    """Merge the cells of all shards and cluster them inside each cluster of structures.

    Raises
    ------
    UserError
        If a shard's cells are of other clusters of structures.
    """
    points = _atom_points(settings, Centres.read(structures)[1])
    found = _cluster(settings.atoms, _merge(cells, points), "atoms")
    found.write(centres, digest(points, settings.atoms.identity()))


def _width(stage: StructureStage | AtomStage, components: Components) -> float:
    if stage.clusters is None:
        return stage.threshold / _FINER_THAN_THRESHOLD
    spread = float(np.sqrt(components.eigenvalues[0]) * components.weights[0])
    return (spread or 1.0) / _FINER_THAN_SPREAD


def _structure_points(settings: Select, components: Pca) -> str:
    """Hash of what the points of structures are."""
    axes = components.structures.axes.tobytes().hex()
    return digest(components.weights_hash, axes, _width(settings.structure, components.structures))


def _atom_points(settings: Select, structures: str) -> str:
    return digest(structures, settings.atoms.identity())


def _merge(paths: list[Path], points: str) -> Cells:
    """Cells of all shards, in canonical order."""
    if not paths:
        raise UserError("There is nothing to cluster: no shard was encoded.")
    levels = np.max([Cells.read_levels(path) for path in paths], axis=0)
    found = None
    for path in paths:
        cells, of = Cells.read(path)
        if of != points:
            raise UserError(
                f"{path} was made with other principal components or clusters. Delete it and run again."
            )
        if found is None:
            found = Gathering(cells.width, len(cells.levels), cells.coordinates.shape[1])
            found.coarsen(levels)  # once, and not again for every part
        found.add(cells)
    assert found is not None
    return found.cells()


def _cluster(stage: StructureStage | AtomStage, cells: Cells, what: str) -> Centres:
    found = (
        Centres.of_cells(cells, stage.threshold)
        if stage.clusters is None
        else Centres.with_count(cells, stage.clusters)
    )
    log.info(
        "%d %s in %d cells make %d clusters with threshold %.4g",
        cells.counts.sum(),
        what,
        len(cells.counts),
        len(found.weights),
        found.threshold,
    )
    coarsest = cells.width * 2.0 ** int(cells.levels.max(initial=0))
    if cells.levels.any() and coarsest > found.threshold:
        log.warning(
            "select: the threshold for %s is finer than memory allows for: clusters are %.3g wide where "
            "they should be %.3g",
            what,
            coarsest,
            found.threshold,
        )
    return found
