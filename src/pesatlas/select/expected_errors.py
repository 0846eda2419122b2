"""Expected force errors of atomic clusters: disagreement of a committee times its calibration."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pesatlas.campaign.layout import RESULTS, shown
from pesatlas.errors import UserError
from pesatlas.tables import iter_table, read_table

ALL = 0
"""The bin of all values together."""
ENERGY, FORCES = "energy", "forces"
_UNIT = 2.0**-30
"""Of squares that are summed, (eV/Å)²."""


class Committee(NamedTuple):
    """The predictions of a committee for the candidates.

    Tables ``disagreement`` of all groups, and the table ``calibration``.
    """

    disagreement: list[Path]
    calibration: Path

    def expected_errors(self, candidates: pa.ChunkedArray, clusters: int) -> NDArray[np.float64]:
        """Error of a force (eV/Å) that is expected in each atomic cluster (clusters,).

        Calibrated, root mean square over candidates.

        A cluster none of whose candidates could be evaluated, as the committee does not know their elements,
        gets the largest of all.

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
                disagreements = piece.filter(mine)
                owner = disagreements["atom_clusters"].flatten().to_numpy()
                std = disagreements["force_std_eV_per_A"].flatten().to_numpy().astype(float)
                # sums of whole numbers are exact, in whatever order
                squares += np.bincount(owner, np.rint(std**2 / _UNIT), clusters)
                atoms += np.bincount(owner, minlength=clusters)
        known = atoms > 0
        if not known.any():
            raise UserError(
                "The committee could not evaluate one candidate: does it know their elements? The tables in "
                f"{RESULTS}/{shown('disagreement')} say why."
            )
        errors = np.full(clusters, np.nan)
        errors[known] = read_factor(self.calibration, FORCES) * np.sqrt(_UNIT * squares[known] / atoms[known])
        return np.where(known, errors, errors[known].max())


def read_factor(calibration: Path, quantity: str) -> float:
    """Return what a standard deviation of the committee is to be multiplied with."""
    for row in read_table(calibration, "calibration", ["quantity", "bin", "factor"]).to_pylist():
        if (row["quantity"], row["bin"]) == (quantity, ALL):
            return float(row["factor"])
    raise UserError(f"{calibration} has no factor for {quantity}. Delete it and run again.")
