"""Disagreement of a committee on the candidates, for each atomic cluster."""

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pesatlas import __version__
from pesatlas.config.round import Round
from pesatlas.config.section import digest
from pesatlas.potentials.committee import MeanPrediction, load_committee, predict
from pesatlas.potentials.device import check_device
from pesatlas.runtime.progress import Progress
from pesatlas.select.frame_index import look_up
from pesatlas.tables import TableWriter, read_entry, read_table

log = logging.getLogger(__name__)

_CHUNK = 1024
_KEPT = ("snapshot_id", "structure_id", "domain", "n_atoms", "numbers")


def measure_disagreement(
    settings: Round, snapshots: list[Path], clusters: Path, candidates: Path, disagreement: Path
) -> None:
    """Write the table ``disagreement``.

    What the committee of ``round`` makes of the candidates of some shards.

    Only candidates are asked about, which are a few for each atomic cluster, however many frames there are.
    One that a member cannot evaluate keeps its row: its numbers are null, ``reason`` says why, and the
    manifest counts it under that word.

    Parameters
    ----------
    snapshots, clusters, candidates : tables of the same group

    Raises
    ------
    UserError
        If there is no committee, or a member cannot be loaded.
    """
    check_device(settings.device, "round.device")
    members = load_committee(settings.committee, settings.device)
    hashes = [member.weights_hash for member in members]
    counts: Counter[str] = Counter()
    progress = Progress("candidates", read_entry(candidates).rows)
    with TableWriter(disagreement, "disagreement", digest(settings.identity(), hashes)) as writer:
        for rows in _rows(snapshots, clusters, candidates):
            predicted = [
                _row(row, prediction) for row, prediction in zip(rows, predict(members, rows), strict=True)
            ]
            counts.update(row["reason"] for row in predicted if row["reason"] is not None)
            writer.write(predicted)
            progress.step(len(predicted))
        writer.counts.update(asked=writer.rows, evaluated=writer.rows - counts.total(), **counts)
    if counts:
        log.warning("the committee gave no prediction for %d candidates: %s", counts.total(), dict(counts))
    log.info("%d candidates evaluated, %d members", writer.rows, len(members))


def _rows(snapshots: list[Path], clusters: Path, candidates: Path) -> Iterator[list[dict[str, Any]]]:
    """Yield candidates with geometry and the cluster of each atom, in the order of their shards."""
    table = read_table(candidates, "candidates", ["shard", "row"])
    shards = [path.name for path in snapshots]
    starts = dict(zip(shards, np.cumsum([0, *(read_entry(p).rows for p in snapshots)]), strict=False))
    names = np.array(table["shard"].to_pylist(), dtype=np.str_)
    rows = table["row"].to_numpy()
    # tables of clusters have the frames of all shards of the group, one shard after the other
    places = rows + np.array([starts[name] for name in names.tolist()], dtype=np.int64)
    order = np.argsort(places)
    for start in range(0, len(order), _CHUNK):
        some = order[start : start + _CHUNK]
        frames = look_up(snapshots, names[some], rows[some])
        owners = look_up([clusters], np.full(len(some), clusters.name), places[some])
        frames = frames.select([*_KEPT, "cell_A", "positions_A"])
        yield frames.append_column("atom_clusters", owners["atom_clusters"]).to_pylist()


def _row(row: dict[str, Any], prediction: MeanPrediction | Any) -> dict[str, Any]:
    about = {name: row[name] for name in (*_KEPT, "atom_clusters")} | {"code_version": __version__}
    if not isinstance(prediction, MeanPrediction):
        return about | {"reason": prediction.value}
    std = prediction.force_std_eV_per_A
    return about | {
        "energy_std_eV_per_atom": prediction.energy_std_eV_per_atom,
        "force_std_mean_eV_per_A": float(std.mean()),
        "force_std_max_eV_per_A": float(std.max()),
        "force_std_eV_per_A": std,
        "stress_std_eV_per_A3": prediction.stress_std_eV_per_A3,
        "reason": None,
    }
