"""The training loop over steps and epochs; it resumes exactly, on a CPU to the last bit.

A step is a function of the weights, the optimizer and the position in the data alone: the learning rate
follows from the step's number, and random numbers, should a model draw any, from the seed and that number.
"""

import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments import LightningEnvironment
from torch.utils.data import DataLoader

from pesatlas.config.train import Train
from pesatlas.errors import UserError
from pesatlas.potentials.batched import reproducible
from pesatlas.runtime.progress import Progress
from pesatlas.train.data import Batches, Converter, Labelled
from pesatlas.train.loss import Sums, losses
from pesatlas.train.model import elements_of
from pesatlas.train.scan import Scanned
from pesatlas.train.training_state import TrainingState, load, save

log = logging.getLogger(__name__)


def fabric_of(settings: Train) -> Fabric:
    """Return lightning's hold on the devices, as if no batch system were there.

    A job is one task with all its GPUs.
    """
    kind, _, number = settings.device.partition(":")
    devices: Any = [int(number)] if number else settings.devices
    strategy = "ddp" if settings.devices > 1 else "auto"
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    return Fabric(accelerator=kind, devices=devices, strategy=strategy, plugins=[LightningEnvironment()])


@dataclass
class Training:
    """One potential that is trained.

    Attributes
    ----------
    potential : matgl's, with the weights that it starts from
    found : the dataset
    seed : decides the order of the data
    path : its checkpoint
    """

    settings: Train
    potential: Any
    found: Scanned
    seed: int
    path: Path

    def __post_init__(self) -> None:
        self.converter = Converter(elements_of(self.potential), float(self.potential.model.cutoff))

    def run(self, fabric: Fabric) -> TrainingState:
        """Train to the end, from the checkpoint if there is one; return where it then stands."""
        state = load(self.path)
        if state is None:
            state = TrainingState(model=_state(self.potential))
        elif not state.finished:
            log.info("resumed after %d epochs and %d batches", state.epoch, state.batches)
        if not state.finished:
            with reproducible(fabric.device):
                _Loop(self, state, fabric).run()
        return state


class _Loop:
    """The state of a training while it runs."""

    def __init__(self, training: Training, state: TrainingState, fabric: Fabric) -> None:
        self.training, self.state, self.fabric = training, state, fabric
        self.settings, self.found = training.settings, training.found
        dtype = torch.float64 if self.settings.precision == "float64" else torch.float32
        self.potential = training.potential.to(device=fabric.device, dtype=dtype)
        self.potential.load_state_dict(state.model)
        self.weights = [weight for weight in self.potential.model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.Adam(self.weights, lr=self.settings.learning_rate)
        if state.optimizer:
            self.optimizer.load_state_dict(state.optimizer)
        self.sums = Sums.zero() if state.sums is None else Sums(state.sums)
        self.share = fabric.global_rank, fabric.world_size
        full, rest = divmod(self.found.rows("train"), self.settings.batch_size)
        self.steps = full + int(rest >= fabric.world_size)
        self.validates = self.found.rows("valid") > 0
        self._since = self._saved = time.monotonic()
        total = self.settings.epochs * self.steps
        self.progress = Progress("steps", total) if fabric.is_global_zero else None

    def run(self) -> None:
        """Go on until the last epoch, or until patience is at an end."""
        if self.progress is not None and self.state.step:
            self.progress.done = self.state.step
        while self.state.epoch < self.settings.epochs and not self._is_late():
            self._epoch()
        self.state.finished = True
        self.state.optimizer = {}
        self._save()

    def _is_late(self) -> bool:
        if not self._is_finite():
            log.warning(
                "the weights are no longer finite; the best ones before are kept. Make train.learning_rate "
                "smaller"
            )
            return True
        waited = self.state.epoch - 1 - self.state.best_epoch
        return self.validates and self.state.epoch > 0 and waited >= self.settings.patience

    def _is_finite(self) -> bool:
        """Whether the weights still are numbers; they never become so again."""
        return all(bool(torch.isfinite(weight).all()) for weight in self.weights)

    def _epoch(self) -> None:
        state = self.state
        self.potential.train()
        for batch in self._batches("train", state.epoch, state.batches):
            self._step(batch)
            state.batches += 1
            state.step += 1
            if self.progress is not None:
                self.progress.step()
            if time.monotonic() - self._saved >= self.settings.checkpoint_interval_s:
                self._save()
        valid = self._validate() if self.validates else None
        self._record(valid)
        state.epoch, state.batches, self.sums = state.epoch + 1, 0, Sums.zero()
        self._save()

    def _step(self, batch: Labelled) -> None:
        state, settings = self.state, self.settings
        torch.manual_seed(hash((self.training.seed, state.step)) % 2**63)
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        self.optimizer.zero_grad(set_to_none=False)
        loss, sums = losses(self.potential, batch, settings.loss)
        loss.backward()
        sums = self._gather(sums)
        torch.nn.utils.clip_grad_norm_(self.weights, settings.gradient_norm)
        self.optimizer.step()
        self.sums.values += sums.cpu()

    def _gather(self, sums: torch.Tensor) -> torch.Tensor:
        """Add up gradients and sums over the devices."""
        if self.fabric.world_size == 1:
            return sums
        gradients = [weight.grad for weight in self.weights if weight.grad is not None]
        flat = torch.cat([sums.reshape(-1), *(gradient.reshape(-1).double() for gradient in gradients)])
        flat = self._add_up(flat)
        start = sums.numel()
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
            start += gradient.numel()
        return flat[: sums.numel()].view_as(sums)

    def _add_up(self, values: torch.Tensor) -> torch.Tensor:
        total = self.fabric.all_reduce(values, reduce_op="sum")
        assert isinstance(total, torch.Tensor)
        return total

    def _learning_rate(self) -> float:
        """Return the cosine's value at this step."""
        settings = self.settings
        done = self.state.step / (settings.epochs * self.steps)
        last = settings.final_learning_rate
        return settings.learning_rate * (last + (1 - last) * 0.5 * (1 + math.cos(math.pi * done)))

    def _validate(self) -> Sums:
        found = Sums.zero()
        self.potential.eval()
        for batch in self._batches("valid"):
            _, sums = losses(self.potential, batch, self.settings.loss)
            found.values += sums.detach().cpu()
        if self.fabric.world_size > 1:
            found.values = self._add_up(found.values.to(self.fabric.device)).cpu()
        return found

    def _batches(self, split: str, epoch: int | None = None, done: int = 0) -> Iterator[Labelled]:
        batches = Batches(
            self.found.pieces[split],
            self.training.converter,
            self.settings.batch_size,
            order=None if epoch is None else (self.training.seed, epoch),
            skip=done * self.settings.batch_size,
            share=self.share,
            whole=epoch is None,
        )
        loader = DataLoader(batches, batch_size=None, num_workers=self.settings.loaders)
        for batch in loader:
            yield batch.to(self.fabric.device)

    def _record(self, valid: Sums | None) -> None:
        """Add a row to the history, and keep the weights if they are the best so far."""
        state, weights = self.state, self.settings.loss
        train_loss = self.sums.loss(weights)
        loss = train_loss if valid is None else valid.loss(weights)
        if not self._is_finite() and not state.best:
            raise UserError(
                "the weights are not finite after the first epoch: make train.learning_rate smaller, or "
                "look for rows with two atoms in one place."
            )
        if loss < state.best_loss:
            state.best_loss, state.best_epoch = loss, state.epoch
            state.best = _state(self.potential)
        row = {
            "epoch": state.epoch,
            "step": state.step,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "train_loss": train_loss,
            "valid_loss": None if valid is None else loss,
            "best": state.best_epoch == state.epoch,
            "wall_s": self._seconds(),
        }
        for split, sums in (("train", self.sums), ("valid", valid)):
            row |= columns(split, [None] * 4 if sums is None else sums.mean(1))
        state.history.append(row)
        log.info(
            "epoch %d: loss %.4g (train), %.4g (%s)",
            state.epoch,
            train_loss,
            loss,
            "valid" if valid else "train",
        )

    def _seconds(self) -> float:
        now = time.monotonic()
        self.state.seconds += now - self._since
        self._since = now
        return self.state.seconds

    def _save(self) -> None:
        self._saved = time.monotonic()
        if not self.fabric.is_global_zero:
            return
        state = self.state
        self._seconds()
        state.model = _state(self.potential)
        if not state.finished:
            state.optimizer = self.optimizer.state_dict()
        state.sums = self.sums.values
        save(self.training.path, state)


def columns(split: str, errors: Sequence[float | None]) -> dict[str, float | None]:
    """Return mean absolute errors as table ``history`` has them."""
    names = ("energy_mae_meV_per_atom", "force_mae_meV_per_A", "stress_mae_GPa", "magmom_mae_muB")
    factors = (1000.0, 1000.0, 1.0, 1.0)
    return {
        f"{split}_{name}": None if error is None else error * factor
        for name, error, factor in zip(names, errors, factors, strict=True)
    }


def _state(potential: Any) -> dict[str, Any]:
    """Return a copy of the weights, on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in potential.state_dict().items()}
