"""Predictions for a batch, their loss, and sums over batches from which means follow."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from pesatlas.config.train import Loss
from pesatlas.potentials.potential import VOIGT
from pesatlas.train.data import Labelled

PROPERTIES = ("energy", "forces", "stress", "magmoms")
"""In eV/atom, eV/Å, GPa, μB."""


class Prediction(NamedTuple):
    """What a potential says of a batch of B structures with N atoms.

    Attributes
    ----------
    energies : (B,) eV/atom
    forces : (N, 3) eV/Å
    stresses : (B, 6) GPa, xx yy zz yz xz xy, tension positive
    magmoms : (N,) μB without sign; None if it predicts none
    """

    energies: torch.Tensor
    forces: torch.Tensor
    stresses: torch.Tensor
    magmoms: torch.Tensor | None


def predict(potential: Any, batch: Labelled) -> Prediction:
    """Return predictions of a matgl ``Potential`` for a batch; differentiable in training mode."""
    energies, forces, stresses, _, *more = potential(g=batch.graph, lat=batch.lattices)
    full = stresses.view(-1, 3, 3)
    return Prediction(
        energies.view(-1) / batch.n_atoms,
        forces,
        (0.5 * (full + full.transpose(1, 2)))[:, *VOIGT],
        more[0].view(-1).abs() if more else None,
    )


def labels(batch: Labelled) -> tuple[torch.Tensor, ...]:
    """Return the labels of a batch in the order of ``Prediction``; NaN where there are none."""
    return (batch.energies / batch.n_atoms, batch.forces, batch.stresses[:, *VOIGT], batch.magmoms.abs())


@dataclass
class Sums:
    """Sums over structures or components: Huber losses, absolute errors, how many.

    (4,) each, in the order of ``PROPERTIES``.
    """

    values: torch.Tensor

    @classmethod
    def zero(cls) -> "Sums":
        """Return the sums of nothing."""
        return cls(torch.zeros(3, len(PROPERTIES), dtype=torch.float64))

    def mean(self, kind: int) -> list[float | None]:
        """Return the means of losses (0) or absolute errors (1); None of what there was none of."""
        counts = self.values[2].tolist()
        return [total / n if n else None for total, n in zip(self.values[kind].tolist(), counts, strict=True)]

    def loss(self, weights: Loss) -> float:
        """Return what is made small, over all that was summed."""
        return sum(
            getattr(weights, name) * (mean or 0.0)
            for name, mean in zip(PROPERTIES, self.mean(0), strict=True)
        )


def losses(potential: Any, batch: Labelled, weights: Loss) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of a batch, to be differentiated, and its sums (3, 4).

    The loss is the share of this batch in that of the whole step: the shares of several devices add up.
    """
    predicted, target = predict(potential, batch), labels(batch)
    total, sums = batch.energies.new_zeros(()), []
    structures, atoms, moments = batch.total
    counts = structures, 3 * atoms, 6 * structures, moments
    for name, count, value, label in zip(PROPERTIES, counts, predicted, target, strict=True):
        if value is None or not label.numel():
            sums.append(batch.energies.new_zeros(3))
            continue
        there = torch.isfinite(label)
        found, right = value[there], label[there]
        loss = torch.nn.functional.huber_loss(
            found, right.to(found.dtype), reduction="sum", delta=weights.huber_delta
        ).double()
        if count:
            total = total + getattr(weights, name) * loss / count
        error = (found.detach().double() - right).abs().sum()
        sums.append(torch.stack([loss.detach(), error, error.new_tensor(float(found.numel()))]))
    return total, torch.stack(sums, dim=1)
