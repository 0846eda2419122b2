"""A committee of potentials: mean and spread of its members' predictions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pesatlas.potentials.chunks import chunks_by_atoms
from pesatlas.potentials.loading import load_potential
from pesatlas.potentials.oom_retry import evaluate
from pesatlas.potentials.potential import VOIGT, Potential, batch_of_rows
from pesatlas.tables import FailureReason

Floats = NDArray[np.float64]
ATOMS_PER_CHUNK = 512
"""Atoms that are evaluated together: near the caches of a CPU; a GPU halves what does not fit."""


@dataclass(frozen=True)
class MeanPrediction:
    """Predictions of a committee for one structure of n atoms.

    Standard deviations are those of a sample: divided by the number of members less one.

    Attributes
    ----------
    energy_eV_per_atom, energy_std_eV_per_atom : mean and standard deviation
    forces_eV_per_A : (n, 3) mean
    force_std_eV_per_A : (n,) root of the summed variances of the three components: comparable with the length
        of an error
    stress_std_eV_per_A3 : root of the mean variance of the six components
    """

    energy_eV_per_atom: float
    energy_std_eV_per_atom: float
    forces_eV_per_A: Floats
    force_std_eV_per_A: Floats
    stress_std_eV_per_A3: float


def load_committee(options: Sequence[Any], device: str) -> list[Potential]:
    """Load the members onto ``device``.

    They need not pass the gate, which is for what explores: how far a committee can be believed, its
    calibration tells, and crystals that the gate asks about may be none that it was trained for.

    Raises
    ------
    UserError
        If one cannot be loaded.
    """
    return [load_potential(member, device, gate=False) for member in options]


def predict(
    members: Sequence[Potential], rows: Sequence[Mapping[str, Any]]
) -> Iterator[MeanPrediction | FailureReason]:
    """Yield the mean prediction and spread of the committee for each row, or the failure."""
    known = frozenset.intersection(*(member.elements for member in members))
    for run in chunks_by_atoms((row["n_atoms"] for row in rows), ATOMS_PER_CHUNK):
        chunk = rows[run.start : run.stop]
        mine = [row for row in chunk if known.issuperset(row["numbers"])]
        answers = iter(_mean_predictions(members, mine))
        for row in chunk:
            yield next(answers) if known.issuperset(row["numbers"]) else FailureReason.UNSUPPORTED_ELEMENT


def _mean_predictions(
    members: Sequence[Potential], rows: Sequence[Mapping[str, Any]]
) -> Iterator[MeanPrediction | FailureReason]:
    if not rows:
        return
    predicted: list[tuple[Floats, Floats, Floats]] = []
    failed: dict[int, FailureReason] = {}
    for member in members:
        found, failures, _ = evaluate(member, batch_of_rows(rows, member.device))
        failed |= {i: failure.reason for i, failure in failures.items()}
        energies, forces, stresses = (x.cpu().numpy() for x in (found.energies, found.forces, found.stresses))
        predicted.append((energies, forces, stresses[:, VOIGT[0], VOIGT[1]]))
    energies, forces, stresses = (np.stack(each) for each in zip(*predicted, strict=True))
    ends = np.cumsum([row["n_atoms"] for row in rows])
    for i, row in enumerate(rows):
        n = row["n_atoms"]
        mine = energies[:, i] / n, forces[:, ends[i] - n : ends[i]], stresses[:, i]
        if i in failed:
            yield failed[i]
        elif not all(np.isfinite(values).all() for values in mine):
            yield FailureReason.NOT_FINITE
        else:
            variances = [values.var(axis=0, ddof=1) for values in mine]
            yield MeanPrediction(
                float(mine[0].mean()),
                float(np.sqrt(variances[0])),
                mine[1].mean(axis=0),
                np.sqrt(variances[1].sum(axis=1)),
                float(np.sqrt(variances[2].mean())),
            )
