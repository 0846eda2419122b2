"""Predictions of the exploring potential for a sample of labelled rows."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pesatlas import __version__
from pesatlas.config.explore import Explore
from pesatlas.config.section import digest
from pesatlas.potentials.chunks import chunks_by_atoms
from pesatlas.potentials.loading import load_potential
from pesatlas.potentials.oom_retry import evaluate
from pesatlas.potentials.potential import VOIGT, Potential, batch_of_rows
from pesatlas.report.sample import read_rows, sample_ids
from pesatlas.runtime.progress import Progress
from pesatlas.tables import FailureReason, write_table

log = logging.getLogger(__name__)

SAMPLE = 5_000
"""Rows that are asked about at most: enough for any figure, minutes on one core."""
_ATOMS_PER_CHUNK = 512
_KEPT = ["snapshot_id", "structure_id", "domain", "n_atoms", "numbers"]


def evaluate_potential(settings: Explore, seed: int, dataset: Path, parity: Path) -> None:
    """Write the table ``parity``.

    Predictions of the exploring potential for at most ``SAMPLE`` rows of ``dataset``.

    The rows are a reproducible random sample. One that the potential cannot evaluate keeps its row:
    its numbers are null, ``reason`` says why, and the manifest counts it under that word.

    Parameters
    ----------
    seed : int
        Of the sample.
    dataset : Path
        Table ``dataset`` of one level; no more of it than a row group and the sample is held at a time.
    parity : Path
        Table to write.

    Raises
    ------
    UserError
        If the potential cannot be loaded.
    """
    potential = load_potential(settings.potential, settings.device)
    ids, total = sample_ids(dataset, "dataset", seed, SAMPLE)
    sample = read_rows(dataset, "dataset", ids, [*_KEPT, "cell_A", "positions_A"])
    rows: list[dict[str, Any]] = []
    failures: Counter[str] = Counter()
    progress = Progress("evaluated", len(sample))
    most = settings.max_atoms_in_memory or _ATOMS_PER_CHUNK
    for run in chunks_by_atoms(sample["n_atoms"].to_pylist(), most):
        found = _predict(potential, sample.slice(run.start, len(run)).to_pylist())
        failed = [row["reason"] for row in found if row["reason"] is not None]
        failures.update(failed)
        rows += found
        progress.step(len(found), failed=len(failed))
    write_table(
        parity,
        "parity",
        rows,
        digest(settings.potential.identity(), potential.weights_hash, seed),
        {"dataset": total, "sampled": len(rows), "evaluated": len(rows) - failures.total(), **failures},
    )
    if failures:
        log.warning("%s gave no prediction for %d rows: %s", potential.name, failures.total(), dict(failures))
    log.info("%d of %d rows evaluated with %s", len(rows) - failures.total(), total, potential.name)


def _predict(potential: Potential, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of table ``parity``, in the same order."""
    known = [potential.elements.issuperset(row["numbers"]) for row in rows]
    answers = iter(_answers(potential, [row for row, yes in zip(rows, known, strict=True) if yes]))
    unknown = {"reason": FailureReason.UNSUPPORTED_ELEMENT.value}
    about = {
        "potential": potential.name,
        "potential_hash": potential.weights_hash,
        "code_version": __version__,
    }
    return [
        {name: row[name] for name in _KEPT} | about | (next(answers) if yes else unknown)
        for row, yes in zip(rows, known, strict=True)
    ]


def _answers(potential: Potential, rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the prediction for each row, or the reason why there is none."""
    if not rows:
        return
    batch = batch_of_rows(rows, potential.device)
    evaluation, failures, _ = evaluate(potential, batch)
    energies, forces, stresses = (
        values.cpu().numpy() for values in (evaluation.energies, evaluation.forces, evaluation.stresses)
    )
    ends = batch.n_atoms.cumsum(0).tolist()
    for i, row in enumerate(rows):
        said = {
            "mlip_energy_eV": energies[i],
            "mlip_forces_eV_per_A": forces[ends[i] - row["n_atoms"] : ends[i]].ravel(),
            "mlip_stress_eV_per_A3": stresses[i][VOIGT],
        }
        if i in failures:
            yield {"reason": failures[i].reason.value}
        elif all(np.isfinite(values).all() for values in said.values()):
            yield said | {"reason": None}
        else:
            yield {"reason": FailureReason.NOT_FINITE.value}
