"""Batched relaxation of positions and cells to zero force and pressure, by FIRE.

FIRE: Bitzek et al. 2006, doi:10.1103/PhysRevLett.97.170201, with the parameters and the limit of a step that
ASE has. Each structure has its own time step and its own mixing. A cell is relaxed by its strain times its
number of atoms, whose force is the virial over the number of atoms: what ASE's ``FrechetCellFilter`` does,
but for the order in which strains are put together.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pesatlas.potentials.oom_retry import evaluate
from pesatlas.potentials.potential import Batch, Evaluation, Potential
from pesatlas.tables import FailureReason
from pesatlas.tables.failures import Failure

log = logging.getLogger(__name__)

VERSION = 1
"""Raise it when the same start would end elsewhere: stored relaxations are then computed anew."""

_DT, _DT_MAX, _MAX_STEP_A = 0.1, 1.0, 0.2
_PATIENCE, _FASTER, _SLOWER, _MIXING, _LESS_MIXING = 5, 1.1, 0.5, 0.1, 0.99
_MAX_VOLUME_RATIO = 5.0


@dataclass(frozen=True, eq=False)
class Start:
    """A periodic structure: numbers (n,), cell (3, 3) and positions (n, 3) in Å."""

    numbers: np.ndarray
    cell: np.ndarray
    positions: np.ndarray


@dataclass(frozen=True, eq=False)
class Relaxed:
    """A relaxed structure: cell and positions in Å, energy in eV, and after how many steps."""

    cell: np.ndarray
    positions: np.ndarray
    energy_eV: float
    steps: int


@dataclass(frozen=True)
class Settings:
    """When a structure counts as relaxed.

    Attributes
    ----------
    fmax_eV_per_A : largest force on an atom, and largest row of the virial over the number of atoms, in eV/Å
        and eV
    max_steps : after so many steps it has not converged
    relax_cell : whether the cell is relaxed too, to zero pressure
    """

    fmax_eV_per_A: float = 0.05
    max_steps: int = 500
    relax_cell: bool = True


def to_batch(structures: Sequence[Start], device: torch.device) -> Batch:
    """Put structures one after the other, on ``device``."""
    return Batch(
        numbers=torch.tensor(np.concatenate([s.numbers for s in structures]).astype(np.int64), device=device),
        positions=torch.tensor(np.concatenate([s.positions for s in structures]), device=device),
        cells=torch.tensor(np.stack([s.cell for s in structures]), device=device),
        n_atoms=torch.tensor([len(s.numbers) for s in structures], device=device),
    )


def relax(potential: Potential, starts: Sequence[Start], settings: Settings) -> list[Relaxed | Failure]:
    """Relax structures together; return what became of each, in their order.

    The same structures together give the same result to the last bit on a CPU; a potential's rounding may
    depend on who is together.
    """
    ended: dict[int, Relaxed | Failure] = {}
    if starts:
        group = _Group.of(starts, potential.device)
        for step in range(settings.max_steps + 1):
            evaluation, failures, _ = evaluate(potential, group.batch)
            group.look(evaluation, failures, settings, step, ended)
            if not len(group.places):
                break
            group.move(settings)
        for i in group.places.tolist():
            ended[i] = Failure(
                FailureReason.NOT_CONVERGED,
                f"not relaxed to {settings.fmax_eV_per_A:g} eV/Å after {settings.max_steps} steps",
            )
    return [ended[i] for i in range(len(starts))]


@dataclass(eq=False)
class _Group:
    """Structures that have not ended, with what FIRE remembers of each."""

    batch: Batch
    places: torch.Tensor
    volumes: torch.Tensor
    velocities: torch.Tensor
    strain_rates: torch.Tensor
    dt: torch.Tensor
    mixing: torch.Tensor
    downhill: torch.Tensor
    forces: torch.Tensor
    strain_forces: torch.Tensor

    @classmethod
    def of(cls, starts: Sequence[Start], device: torch.device) -> "_Group":
        batch = to_batch(starts, device)
        one = torch.ones(len(starts), dtype=torch.float64, device=device)
        return cls(
            batch,
            torch.arange(len(starts)),
            torch.linalg.det(batch.cells).abs(),
            torch.zeros_like(batch.positions),
            torch.zeros_like(batch.cells),
            _DT * one,
            _MIXING * one,
            0 * one,
            torch.zeros_like(batch.positions),
            torch.zeros_like(batch.cells),
        )

    @property
    def owner(self) -> torch.Tensor:
        places = torch.arange(len(self.batch.n_atoms), device=self.batch.n_atoms.device)
        return torch.repeat_interleave(places, self.batch.n_atoms)

    def look(
        self,
        found: Evaluation,
        failures: dict[int, Failure],
        settings: Settings,
        step: int,
        ended: dict[int, Relaxed | Failure],
    ) -> None:
        """Take note of forces, and let go whoever has converged or failed."""
        owner, volumes = self.owner, torch.linalg.det(self.batch.cells).abs()
        self.forces = found.forces
        self.strain_forces = -found.stresses * (volumes / self.batch.n_atoms)[:, None, None]
        if not settings.relax_cell:
            self.strain_forces = torch.zeros_like(self.strain_forces)
        largest = torch.zeros_like(volumes).scatter_reduce(0, owner, self.forces.norm(dim=1), "amax")
        largest = torch.maximum(largest, self.strain_forces.norm(dim=2).amax(1))
        good = torch.isfinite(found.energies) & torch.isfinite(largest)
        # each look at a number on a GPU waits for it: all at once
        finite, ratios = good.tolist(), (volumes / self.volumes).tolist()
        converged = (largest <= settings.fmax_eV_per_A).tolist()
        counts, ends = self.batch.n_atoms.tolist(), torch.cumsum(self.batch.n_atoms, 0).tolist()
        staying = [False] * len(finite)
        for k, place in enumerate(self.places.tolist()):
            if k in failures:
                ended[place] = failures[k]
            elif not finite[k]:
                ended[place] = Failure(
                    FailureReason.NOT_FINITE, f"energy, forces or stress are not finite at step {step}"
                )
            elif not 1 / _MAX_VOLUME_RATIO < ratios[k] < _MAX_VOLUME_RATIO:
                ended[place] = Failure(
                    FailureReason.EXPLODED_VOLUME,
                    f"the volume is {ratios[k]:.3g} times that of the start at step {step}",
                )
            elif converged[k]:
                atoms = slice(ends[k] - counts[k], ends[k])
                ended[place] = Relaxed(
                    self.batch.cells[k].cpu().numpy(),
                    self.batch.positions[atoms].cpu().numpy(),
                    float(found.energies[k]),
                    step,
                )
            else:
                staying[k] = True
        if not all(staying):
            self._keep(torch.tensor(staying, device=volumes.device))

    def _keep(self, staying: torch.Tensor) -> None:
        atoms = staying[self.owner]
        b = self.batch
        self.batch = Batch(b.numbers[atoms], b.positions[atoms], b.cells[staying], b.n_atoms[staying])
        self.places = self.places[staying.cpu()]
        for name in ("velocities", "forces"):
            setattr(self, name, getattr(self, name)[atoms])
        for name in ("volumes", "strain_rates", "dt", "mixing", "downhill", "strain_forces"):
            setattr(self, name, getattr(self, name)[staying])

    def move(self, settings: Settings) -> None:
        """Take a step of FIRE, each structure by itself."""
        owner = self.owner
        power = self._dot((self.forces, self.strain_forces), (self.velocities, self.strain_rates))
        uphill = power <= 0
        speed = self._dot(*[(self.velocities, self.strain_rates)] * 2).sqrt()
        force = self._dot(*[(self.forces, self.strain_forces)] * 2).sqrt().clamp(min=1e-300)
        keep = torch.where(uphill, 0.0, 1 - self.mixing)
        push = torch.where(uphill, 0.0, self.mixing * speed / force)
        faster = ~uphill & (self.downhill > _PATIENCE)
        dt = torch.where(faster, (self.dt * _FASTER).clamp(max=_DT_MAX), self.dt)
        self.dt = torch.where(uphill, self.dt * _SLOWER, dt)
        mixing = torch.where(faster, self.mixing * _LESS_MIXING, self.mixing)
        self.mixing = torch.where(uphill, _MIXING, mixing)
        self.downhill = torch.where(uphill, 0.0, self.downhill + 1)
        push = push + self.dt
        self.velocities = keep[owner, None] * self.velocities + push[owner, None] * self.forces
        self.strain_rates = keep[:, None, None] * self.strain_rates + push[:, None, None] * self.strain_forces
        length = self.dt * self._dot(*[(self.velocities, self.strain_rates)] * 2).sqrt()
        scale = self.dt * (_MAX_STEP_A / length.clamp(min=1e-300)).clamp(max=1.0)
        positions, cells = self.batch.positions, self.batch.cells
        if settings.relax_cell:
            strain = self.strain_rates * (scale / self.batch.n_atoms)[:, None, None]
            deformation = torch.linalg.matrix_exp(strain)
            cells = cells @ deformation
            positions = (positions[:, :, None] * deformation[owner]).sum(1)
        positions = positions + scale[owner, None] * self.velocities
        self.batch = Batch(self.batch.numbers, positions, cells, self.batch.n_atoms)

    def _dot(
        self, one: tuple[torch.Tensor, torch.Tensor], other: tuple[torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        """(B,) scalar product of two vectors of positions and strains."""
        total = (one[1] * other[1]).sum((1, 2))
        return total.index_add(0, self.owner, (one[0] * other[0]).sum(1))
