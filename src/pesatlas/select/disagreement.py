"""Disagreement of a committee on the candidates, for each atomic cluster."""

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pesatlas import __version__
from pesatlas.config.round import Round
from pesatlas.config.section import digest
from pesatlas.errors import UserError
from pesatlas.potentials.committee import Opinion, ask, load_committee
from pesatlas.potentials.device import check_device
from pesatlas.runtime.progress import Progress
from pesatlas.select.calibrate import FORCES, read_factor
from pesatlas.select.frame_index import look_up
from pesatlas.tables import TableWriter, iter_table, read_entry, read_table

log = logging.getLogger(__name__)

_TOGETHER = 1024
_UNIT = 2.0**-30
"""Of squares that are summed, (eV/Å)²."""
_KEPT = ("snapshot_id", "structure_id", "domain", "n_atoms", "numbers")


def measure_disagreement(
    settings: Round, snapshots: list[Path], clusters: Path, candidates: Path, disagreement: Path
) -> None:
    """Write the table ``disagreement``: what the committee of ``round`` makes of the candidates of some shards.

    Only candidates are asked about, which are a few for each atomic cluster, however many frames there are. One that a member
    cannot evaluate keeps its row: its numbers are null, ``reason`` says why, and the manifest counts it under that word.

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
            said = [_row(row, opinion) for row, opinion in zip(rows, ask(members, rows), strict=True)]
            counts.update(row["reason"] for row in said if row["reason"] is not None)
            writer.write(said)
            progress.step(len(said))
        writer.counts.update(asked=writer.rows, evaluated=writer.rows - counts.total(), **counts)
    if counts:
        log.warning("the committee has nothing to say of %d candidates: %s", counts.total(), dict(counts))
    log.info("%d candidates asked about, %d members", writer.rows, len(members))


class Committee(NamedTuple):
    """What a committee says of the candidates: tables ``disagreement`` of all groups, and the table ``calibration``."""

    disagreement: list[Path]
    calibration: Path

    def expected_errors(self, candidates: pa.ChunkedArray, clusters: int) -> NDArray[np.float64]:
        """Error of a force (eV/Å) that is expected in each atomic cluster (clusters,): calibrated, root mean square over candidates.

        A cluster none of whose candidates could be evaluated, as the committee does not know their elements, gets the largest of all.

        Parameters
        ----------
        candidates : snapshot_id of those that count, so that it does not matter how shards were grouped
        clusters : how many there are

        Raises
        ------
        UserError
            If not a single candidate was evaluated.
        """
        squares, atoms = np.zeros(clusters), np.zeros(clusters)
        for path in self.disagreement:
            ids = read_table(path, "disagreement", ["snapshot_id"])["snapshot_id"]
            counts, row = pc.is_in(ids, value_set=candidates).combine_chunks(), 0
            for piece in iter_table(path, ["reason", "atom_clusters", "force_std_eV_per_A"]):
                mine = pc.and_(counts.slice(row, piece.num_rows), piece["reason"].is_null())
                row += piece.num_rows
                said = piece.filter(mine)
                owner = said["atom_clusters"].flatten().to_numpy()
                std = said["force_std_eV_per_A"].flatten().to_numpy().astype(float)
                # sums of whole numbers are exact, in whatever order
                squares += np.bincount(owner, np.rint(std**2 / _UNIT), clusters)
                atoms += np.bincount(owner, minlength=clusters)
        known = atoms > 0
        if not known.any():
            raise UserError(
                "The committee could not evaluate one candidate: does it know their elements? The tables in "
                "results/select/disagreement/ say why."
            )
        errors = np.full(clusters, np.nan)
        errors[known] = read_factor(self.calibration, FORCES) * np.sqrt(_UNIT * squares[known] / atoms[known])
        return np.where(known, errors, errors[known].max())


def _rows(snapshots: list[Path], clusters: Path, candidates: Path) -> Iterator[list[dict[str, Any]]]:
    """Yield candidates with geometry and the cluster of each atom, in the order in which they stand in their shards."""
    table = read_table(candidates, "candidates", ["shard", "row"])
    shards = [path.name for path in snapshots]
    starts = dict(zip(shards, np.cumsum([0, *(read_entry(p).rows for p in snapshots)]), strict=False))
    names = np.array(table["shard"].to_pylist(), dtype=np.str_)
    rows = table["row"].to_numpy()
    # tables of clusters have the frames of all shards of the group, one shard after the other
    places = rows + np.array([starts[name] for name in names.tolist()], dtype=np.int64)
    order = np.argsort(places)
    for start in range(0, len(order), _TOGETHER):
        some = order[start : start + _TOGETHER]
        frames = look_up(snapshots, names[some], rows[some])
        owners = look_up([clusters], np.full(len(some), clusters.name), places[some])
        frames = frames.select([*_KEPT, "cell_A", "positions_A"])
        yield frames.append_column("atom_clusters", owners["atom_clusters"]).to_pylist()


def _row(row: dict[str, Any], opinion: Opinion | Any) -> dict[str, Any]:
    about = {name: row[name] for name in (*_KEPT, "atom_clusters")} | {"code_version": __version__}
    if not isinstance(opinion, Opinion):
        return about | {"reason": opinion.value}
    std = opinion.force_std_eV_per_A
    return about | {
        "energy_std_eV_per_atom": opinion.energy_std_eV_per_atom,
        "force_std_mean_eV_per_A": float(std.mean()),
        "force_std_max_eV_per_A": float(std.max()),
        "force_std_eV_per_A": std,
        "stress_std_eV_per_A3": opinion.stress_std_eV_per_A3,
        "reason": None,
    }
