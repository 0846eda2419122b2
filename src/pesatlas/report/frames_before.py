"""Frames of the rounds before, for the map of a later round: where they lie, and the round of each."""

from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pesatlas.report.figure_rows import PICKS_SHOWN, Reader
from pesatlas.report.sample import read_rows, sample_ids
from pesatlas.tables import iter_table, read_table

BEFORE = "labelled before"
"""Kind and domain on the map of frames that were labelled before this round."""

_FRAME = ["snapshot_id", "structure_id", "n_atoms", "numbers", "cell_A", "positions_A", "source"]


class FramesBefore(NamedTuple):
    """Frames of the rounds before: geometry, ``structure_pcs``, ``round`` of a sample, and their number."""

    shown: list[dict[str, Any]]
    total: int


def frames_before(reader: Reader) -> FramesBefore:
    """Return a sample of the frames that were labelled before this round; none in a first round."""
    frames, clusters = (reader.files.get(name) for name in ("frames_before", "clusters_before"))
    if not frames or not clusters:
        return FramesBefore([], 0)
    ids, total = sample_ids(frames[0], "snapshots", reader.seed, PICKS_SHOWN)
    rounds = _rounds(reader, frames[0])
    wanted = pc.field("snapshot_id").isin(pa.array(ids, pa.string()))
    places = read_table(clusters[0], "clusters", ["snapshot_id", "structure_pcs"], wanted)
    place = dict(zip(*(places[name].to_pylist() for name in places.column_names), strict=True))
    rows = read_rows(frames[0], "snapshots", ids, _FRAME).to_pylist()
    shown = [
        row | {"structure_pcs": place[row["snapshot_id"]], "round": rounds.get(row["source"])}
        for row in rows
        if place.get(row["snapshot_id"])
    ]
    return FramesBefore(shown, total)


def _rounds(reader: Reader, frames: Any) -> dict[str, int]:
    """Return the round of each source of frames.

    They were read in this order: ``select.reference``, the round before this, and so on to the first
    (``campaign.rounds.references``). Where a round left no row, which one cannot be told.
    """
    sources = list(
        dict.fromkeys(
            source for piece in iter_table(frames, ["source"]) for source in piece.column(0).to_pylist()
        )
    )
    before = reader.round - 1
    if len(sources) < before:
        return {}
    return dict(zip(sources[len(sources) - before :], range(before, 0, -1), strict=True))
