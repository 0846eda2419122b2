"""Frames of the previous round farthest from all picks: its least covered regions of the PES."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from pesatlas.campaign.finished import read_campaign_manifest
from pesatlas.campaign.layout import below
from pesatlas.campaign.rounds import results_of
from pesatlas.config.section import HomePath, Section, digest
from pesatlas.errors import UserError
from pesatlas.structures.crystal import Read, make_crystal
from pesatlas.structures.crystal_names import with_suffix
from pesatlas.tables import check_entry, iter_table, read_table

log = logging.getLogger(__name__)

_MORE = 20
"""So many times the frames that are wanted are compared with one another.

Of the others only their distance to the picks counts.
"""
_COLUMNS = ["snapshot_id", "structure_id", "numbers", "cell_A", "positions_A"]


class Options(Section):
    """Options of the source ``previous_round``."""

    kind: Literal["previous_round"] = Field(
        "previous_round", description="frames of a finished campaign farthest from all its picks"
    )
    previous: HomePath = Field(description="folder of the finished campaign; it is only read")
    count: int = Field(50, ge=1, le=100_000, description="number of starting frames")
    domains: list[str] = Field(
        ["bulk"],
        min_length=1,
        description="only frames of these domains: they are explored by this campaign's domains, and a "
        "slab must not go to bulk",
    )


def check(options: Options) -> None:
    """Raise a UserError if the campaign has not finished."""
    read_campaign_manifest(results_of(options.previous))


def inputs(options: Options) -> list[Path]:
    """Return the file that tells whether the campaign is still the same."""
    return [below(results_of(options.previous), "manifest")]


def licence(options: Options) -> str:
    """Return the licence of the frames: that of the campaign they are of."""
    return f"that of the campaign in {options.previous}, see its card"


def load(options: Options) -> Iterator[Read]:
    """Yield the frames, farthest first, named after their crystal and a hash of their ``snapshot_id``.

    Distances are between structures in the weighted principal components that the campaign selected in. A
    frame that is taken counts as a pick for the next one, so that no trajectory gives all of them.

    Raises
    ------
    UserError
        If the campaign has not finished, or a table is not what its manifest says.
    """
    results = results_of(options.previous)
    manifest = read_campaign_manifest(results)
    tables = {
        name: _files(results, manifest, name) for name in ("structures", "selection", "clusters", "snapshots")
    }
    for path in (*tables["selection"], *tables["clusters"]):
        check_entry(path)
    picked = set(read_table(tables["selection"][0], "selection", ["snapshot_id"])["snapshot_id"].to_pylist())
    allowed = _cells(tables["structures"][0], options.domains)
    ids, points = _thin(tables["clusters"], picked, allowed, options.count)
    wanted = [ids[i] for i in farthest_first(points, options.count)]
    frames = _read(tables["snapshots"], wanted)
    log.info("%d frames to start from, far from the %d picks of %s", len(frames), len(picked), results)
    for name in wanted:
        row = frames[name]
        own = with_suffix(row["structure_id"], f"r-{digest(name, length=8)}")
        yield make_crystal(own, row["numbers"], row["cell_A"], row["positions_A"], f"previous_round {name}")


def farthest_first(points: NDArray[np.float64], count: int) -> list[int]:
    """Rows in the order of farthest-point sampling; the last column is the distance to what is there already.

    Ties go to the earlier row.
    """
    apart, places = points[:, -1].copy(), points[:, :-1]
    order: list[int] = []
    for _ in range(min(count, len(points))):
        row = int(apart.argmax())
        order.append(row)
        apart = np.minimum(apart, np.linalg.norm(places - places[row], axis=1))
        apart[order] = -1.0
    return order


def _files(results: Path, manifest: dict[str, Any], table: str) -> list[Path]:
    found = [results / entry["file"] for entry in manifest["files"] if entry["table"] == table]
    missing = [path for path in found if not path.is_file()]
    if missing or not found:
        raise UserError(
            f"{(missing or [results])[0]}: the table '{table}' is not there, and starting frames cannot be "
            "found without it. A release has no pool; name the folder of the campaign itself."
        )
    return found


def _cells(structures: Path, domains: list[str]) -> set[str]:
    """Cells (structure:variant) that may be started from."""
    columns = ["structure_id", "variant", "domain"]
    rows = read_table(structures, "structures", columns, pc.field("domain").isin(domains))
    return {f"{row['structure_id']}:{row['variant']}" for row in rows.to_pylist()}


def _thin(
    clusters: Sequence[Path], picked: set[str], allowed: set[str], count: int
) -> tuple[list[str], NDArray[np.float64]]:
    """Names of the frames farthest from all picks, and their components with that distance."""
    from scipy.spatial import KDTree  # noqa: PLC0415 - slow to import

    tree = KDTree(np.concatenate([points[[n in picked for n in ids]] for ids, points in _pieces(clusters)]))
    names: list[str] = []
    kept = np.empty((0, tree.m + 1))
    for ids, points in _pieces(clusters):
        mine = np.array([n.rsplit(":", 2)[0] in allowed and n not in picked for n in ids], dtype=bool)
        apart = tree.query(points[mine])[0] if mine.any() else np.empty(0)
        names += np.array(ids, dtype=object)[mine].tolist()
        kept = np.concatenate([kept, np.column_stack([points[mine], apart])])
        # the name breaks ties, so that the order of shards does not
        best = np.lexsort((np.array(names, dtype=np.str_), -kept[:, -1]))[: _MORE * count]
        names, kept = [names[i] for i in best.tolist()], kept[best]
    return names, kept


def _pieces(clusters: Sequence[Path]) -> Iterator[tuple[list[str], NDArray[np.float64]]]:
    """Yield names and components of frames with finite features."""
    for path in clusters:
        for piece in iter_table(path, ["snapshot_id", "structure_cluster", "structure_pcs"]):
            good = piece.filter(pc.greater_equal(piece["structure_cluster"], 0))
            if good.num_rows:
                points = good["structure_pcs"].flatten().to_numpy().astype(float)
                yield good["snapshot_id"].to_pylist(), points.reshape(good.num_rows, -1)


def _read(snapshots: Sequence[Path], wanted: list[str]) -> dict[str, dict[str, Any]]:
    """Rows of frames by name."""
    names = pa.array(wanted, pa.string())
    found = {}
    for path in snapshots:
        for piece in iter_table(path, _COLUMNS):
            rows = piece.filter(pc.is_in(piece["snapshot_id"], value_set=names)).to_pylist()
            found.update({row["snapshot_id"]: row for row in rows})
    return found
