"""Errors of potentials and baselines on labelled rows: in total, by domain, by element."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pesatlas.atoms.elements import symbol_of
from pesatlas.atoms.units import EV_PER_A3_TO_GPA
from pesatlas.potentials.batched import reproducible
from pesatlas.runtime.progress import Progress
from pesatlas.train.data import Batches, Converter, Labelled
from pesatlas.train.loss import Prediction, labels, predict
from pesatlas.train.scan import Piece, Scanned

Guess = Callable[[Labelled], Prediction]
Floats = NDArray[np.float64]
_FACTORS = (1000.0, 1000.0, 1.0, 1.0)
_NAMES = ("energy_mae_meV_per_atom", "force_mae_meV_per_A", "stress_mae_GPa", "magmom_mae_muB")


def of_potential(potential: Any) -> Guess:
    """Return what a matgl ``Potential`` says, in evaluation mode."""
    potential.eval()
    return lambda batch: predict(potential, batch)


def of_means(found: Scanned) -> Guess:
    """Return what is said without any model.

    An energy for each element by least squares, no forces, the mean stress.
    """
    table = torch.zeros(256, dtype=torch.float64)
    table[list(found.elements)] = torch.tensor(found.energies, dtype=torch.float64)
    stress = torch.tensor(found.mean_stress, dtype=torch.float64) * EV_PER_A3_TO_GPA

    def guess(batch: Labelled) -> Prediction:
        device = batch.energies.device
        each = table[torch.from_numpy(batch.numbers)].to(device)
        sums = torch.zeros_like(batch.energies).index_add_(0, batch.graph.batch, each)
        return Prediction(
            sums / batch.n_atoms,
            torch.zeros_like(batch.forces),
            stress.to(device).expand(len(batch.domains), 6),
            None,
        )

    return guess


def errors(
    pieces: Sequence[Piece],
    converter: Converter,
    size: int,
    guesses: Mapping[str, Guess],
    device: torch.device,
) -> list[dict[str, Any]]:
    """Compare guesses with the labels of some rows.

    Parameters
    ----------
    pieces : the rows, of whose elements the converter knows all
    size : structures that are evaluated together

    Returns
    -------
    list of dict
        ``of`` is the guess; ``group`` is all, domain or element and ``name`` which one. Mean absolute errors
        are those of energies (meV/atom), of force components (meV/Å), of stress components (GPa) and of
        magnetic moments without their sign (μB); None where there were no labels. Of an element, forces and
        moments are those on its atoms; energies and stresses, which are of whole rows, count as often as the
        row has its atoms.
    """
    tallies = {name: _Tally() for name in guesses}
    progress = Progress("rows compared", sum(map(len, pieces)))
    with reproducible(device):
        for batch in Batches(pieces, converter, size):
            here = batch.to(device)
            right = labels(here)
            for name, guess in guesses.items():
                tallies[name].add(here, guess(here), right)
            progress.step(len(batch.domains))
    return [{"of": name, **row} for name, tally in tallies.items() for row in tally.rows()]


class _Tally:
    """Sums of errors and of what they were summed over, (4, 2), by group."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], Floats] = defaultdict(lambda: np.zeros((4, 2)))
        self._rows: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])

    def add(self, batch: Labelled, predicted: Prediction, right: tuple[torch.Tensor, ...]) -> None:
        owner = batch.graph.batch.cpu().numpy()
        energy, forces, stress, moments = (
            None if value is None else (value.detach().double() - label).abs().cpu().numpy()
            for value, label in zip(predicted, right, strict=True)
        )
        assert energy is not None
        assert forces is not None
        assert stress is not None
        domains = np.array(batch.domains)
        atoms_of_row = np.bincount(owner, minlength=len(domains))
        groups: list[tuple[tuple[str, str], NDArray[np.bool_], Floats]] = [
            (("all", ""), np.ones(len(owner), dtype=bool), np.ones(len(domains)))
        ]
        for name in np.unique(domains).tolist():
            inside = domains == name
            groups.append((("domain", name), inside[owner], inside.astype(float)))
        for number in np.unique(batch.numbers).tolist():
            atoms = batch.numbers == number
            weights = np.bincount(owner[atoms], minlength=len(domains)).astype(float)
            groups.append((("element", symbol_of(number)), atoms, weights))
        for key, atoms, weights in groups:
            sums = self._sums[key]
            sums[0] += _weighted(energy[:, None], weights)
            sums[1] += _weighted(forces, atoms.astype(float))
            sums[2] += _weighted(stress, weights)
            if moments is not None:
                sums[3] += _weighted(moments[:, None], atoms.astype(float))
            self._rows[key][0] += int((weights > 0).sum())
            self._rows[key][1] += int(atoms.sum() if key[0] == "element" else atoms_of_row[weights > 0].sum())

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the means of each group."""
        for (group, name), sums in sorted(self._sums.items()):
            rows, atoms = self._rows[group, name]
            means = {
                what: float(total / count * factor) if count else None
                for what, (total, count), factor in zip(_NAMES, sums, _FACTORS, strict=True)
            }
            yield {"group": group, "name": name, "rows": rows, "atoms": atoms, **means}


def _weighted(values: Floats, weights: Floats) -> Floats:
    """Return the weighted sum of all that is finite, and of the weights."""
    there = np.isfinite(values)
    each = np.broadcast_to(weights[:, None], values.shape)
    return np.array([(values[there] * each[there]).sum(), each[there].sum()])
