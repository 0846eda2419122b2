"""Batched dynamics at constant temperature and pressure: velocity Verlet, thermostat and barostat.

One step is kick (half), drift (half), thermostat, barostat, drift (half), forces, kick (half). Thermostat and
barostat act in the middle, where positions and half-step velocities agree to second order in the time step,
and before the forces, which are therefore those of the scaled cell.

The kinetic energy that is reported and controlled is that of the half step: it is the one that agrees with
the virial; that of the full step is too low by the mean of (omega dt / 2)^2 over the vibrations
(Grønbech-Jensen & Farago 2014, doi:10.1063/1.4901303).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Self

import torch

from pesatlas.atoms.units import ACCELERATION, BOLTZMANN_EV_PER_K, EV_PER_A3_TO_GPA
from pesatlas.dynamics.cell_limits import CellLimits
from pesatlas.dynamics.md_state import State
from pesatlas.potentials import device as devices
from pesatlas.potentials.potential import Evaluation

_ORDER = 10
"""Of Taylor's series of an exponential."""

VERSION = 1
"""Raise it when the same start would give another trajectory: stored trajectories are then computed anew."""

_SYMMETRIC = ((0, 0, 2), (1, 1, 3), (2, 2, 4), (1, 2, 5), (0, 2, 6), (0, 1, 7))
"""Row and column of the strain, and the column of the noise that drives it."""


@dataclass(frozen=True, eq=False)
class Timesteps:
    """Time steps of B structures that advance together, each with its own.

    Attributes
    ----------
    fs : (B,) fs
    keep : (B,) share of the kinetic energy that a step of the thermostat keeps
    """

    fs: torch.Tensor
    keep: torch.Tensor

    @classmethod
    def of(cls, steps_fs: Sequence[float], thermostat_tau_fs: float, device: torch.device) -> Self:
        """Build from a time step (fs) for each structure."""
        # one by one: the last bit of a vectorised exponential depends on who else is in the vector
        keep = torch.stack([_kept(step, thermostat_tau_fs) for step in steps_fs])
        return cls(torch.tensor(steps_fs, dtype=torch.float64, device=device), keep.to(device))


@cache
def _kept(timestep_fs: float, tau_fs: float) -> torch.Tensor:
    return torch.exp(torch.as_tensor(-timestep_fs / tau_fs, dtype=torch.float64))


@dataclass(frozen=True)
class NpT:
    """The integrator; a relaxation time of ``inf`` switches its thermostat or barostat off.

    Attributes
    ----------
    timestep_fs : time step, fs, of all structures that no ``Timesteps`` come with
    thermostat_tau_fs : relaxation time of the kinetic energy, fs
    barostat_tau_fs : relaxation time of the cell, fs
    compressibility_per_GPa : estimate that turns a pressure difference into a strain, 1/GPa
    """

    timestep_fs: float
    thermostat_tau_fs: float
    barostat_tau_fs: float
    compressibility_per_GPa: float

    def move(
        self,
        state: State,
        noise: torch.Tensor,
        limits: CellLimits | None = None,
        timesteps: Timesteps | None = None,
    ) -> State:
        """Take the part of a step before the new forces: positions, cells and half-step velocities.

        ``noise`` is (B, WIDTH), see ``pesatlas.dynamics.noise``; without ``limits`` all cells move freely;
        without ``timesteps`` all advance by the same. Energies, forces and stresses are still the old ones.
        """
        dt = self._of_atoms(state, timesteps)
        velocities = state.velocities + (0.5 * dt * ACCELERATION) * state.forces / state.masses[:, None]
        state = replace(state, velocities=velocities, positions=state.positions + 0.5 * dt * velocities)
        state = self._thermostat(state, noise, timesteps)
        state = self._barostat(state, noise, limits, timesteps)
        positions = state.positions + 0.5 * dt * state.velocities
        return replace(state, positions=positions, kinetic=state.kinetic_energy())

    def _of_atoms(self, state: State, timesteps: Timesteps | None) -> float | torch.Tensor:
        """Return the time step: one for all, or (N, 1)."""
        return self.timestep_fs if timesteps is None else timesteps.fs[state.owner, None]

    def complete(self, moved: State, evaluation: Evaluation, timesteps: Timesteps | None = None) -> State:
        """Finish a step with the predictions for the moved state."""
        state = moved.evaluated(evaluation)
        kick = (0.5 * self._of_atoms(state, timesteps) * ACCELERATION) * state.forces / state.masses[:, None]
        # the forces of a model in single precision do not sum to zero: without this the crystal would drift
        return replace(state, velocities=state.velocities + kick).at_rest()

    def _thermostat(self, state: State, noise: torch.Tensor, timesteps: Timesteps | None) -> State:
        """Scale velocities by the exact propagator of Bussi et al. 2007, doi:10.1063/1.2408420."""
        freedom, kinetic = state.degrees_of_freedom, state.kinetic_energy()
        keep = _kept(self.timestep_fs, self.thermostat_tau_fs) if timesteps is None else timesteps.keep
        normal, chi_squared = noise[:, 0], noise[:, 1]
        mean = 0.5 * BOLTZMANN_EV_PER_K * state.temperature
        ratio = (1 - keep) * mean / kinetic
        squared = keep + ratio * (normal.square() + chi_squared) + 2 * normal * torch.sqrt(keep * ratio)
        # rarely, for few degrees of freedom, the velocities turn round
        sign = torch.where(normal * torch.sqrt(ratio) + torch.sqrt(keep) < 0, -1.0, 1.0)
        scale = torch.where(freedom > 0, sign * squared.clamp(min=0).sqrt(), 1.0)
        return replace(state, velocities=state.velocities * scale[state.owner, None])

    def _barostat(
        self, state: State, noise: torch.Tensor, limits: CellLimits | None, timesteps: Timesteps | None
    ) -> State:
        """Strain cell, positions and momenta: stochastic cell rescaling with all lengths and angles free.

        Bernetti & Bussi 2020, doi:10.1063/5.0020514; anisotropic: Del Tatto, Raiteri, Bernetti & Bussi 2022,
        doi:10.3390/app12031139. With h the cell, D = beta kT / (3 V tau) and a symmetric matrix of
        independent normals Z, one step is h -> h exp(G), G = beta/(3 tau) (P_int - P0) dt + sqrt(2 D dt) Z:
        Z's off-diagonal elements have variance 1/2. Written as an exponential it leaves exp(-(K + U + P0
        V)/kT) V^-2 dh dr dp invariant without the term kT/V, which belongs to the linear form; this is the
        usual ensemble, whose volumes are distributed as exp(-P0 V/kT) Z(V) dV. A symmetric strain does not
        rotate the cell. The internal pressure is that of 3n-3 degrees of freedom.

        ``limits`` allow some strains only: those of a linear subspace of the symmetric matrices. Drift and
        noise are projected onto it, so that a strain outside has neither. What is sampled then: let A run
        over an orthonormal basis of the subspace and X_A be the derivative along h -> h exp(eA), r -> r
        exp(eA), p -> p exp(-eA). X_A keeps dr dp, and the Haar measure dg of the group that these strains
        generate. For the step above, density f against dg dr dp is stationary, with detailed balance, if
        drift_A = D X_A ln(D f) for every A. With f = exp(-(K + U + P0 V)/kT) V and D = c/V, D f is the
        exponential alone, and D X_A of it is D V tr(A (P_int - P0))/kT: the drift above, projected. The
        argument holds for each A by itself, so it does not matter how many there are. For all strains dg is
        V^-3 dh, which gives back V^-2 dh; for a change of size alone dg = dV/V; in the plane, with area a, dg
        is da/a times that of the shape: each time the volume is distributed as exp(-P0 V/kT) Z(V) dV, without
        a further power of V.
        """
        dt = self.timestep_fs if timesteps is None else timesteps.fs
        volumes = state.volumes
        momentum_flux = state.per_structure(
            (state.masses[:, None] * state.velocities)[:, :, None] * state.velocities[:, None, :]
        )
        internal = momentum_flux / (ACCELERATION * volumes[:, None, None]) - state.stresses
        compressibility = (
            torch.full_like(volumes, self.compressibility_per_GPa)
            if limits is None
            else limits.compressibility
        )
        rate = compressibility * EV_PER_A3_TO_GPA * dt / (3 * self.barostat_tau_fs)
        identity = torch.eye(3, dtype=internal.dtype, device=internal.device)
        normals = torch.zeros_like(internal)
        for row, column, source in _SYMMETRIC:
            value = noise[:, source] if row == column else noise[:, source] * 0.5**0.5
            normals[:, row, column] = normals[:, column, row] = value
        amplitude = torch.sqrt(2 * rate * BOLTZMANN_EV_PER_K * state.temperature / volumes)
        strain = (
            rate[:, None, None] * (internal - state.pressure[:, None, None] * identity)
            + amplitude[:, None, None] * normals
        )
        if limits is not None:
            strain = limits.project(strain)
        forth, back = _exponential(torch.stack([strain, -strain]))
        return replace(
            state,
            cells=state.cells @ forth,
            positions=_rows_times(state.positions, forth[state.owner]),
            velocities=_rows_times(state.velocities, back[state.owner]),
        )


def _exponential(strains: torch.Tensor) -> torch.Tensor:
    """Return the exponentials of matrices (..., 3, 3); torch's own looks at numbers, for which a GPU waits.

    Taylor's series of a quarter, squared twice: 1e-17 of a strain of 0.3, which no step comes near.
    """
    if not devices.runs_ahead(strains.device):
        return torch.linalg.matrix_exp(strains)
    quarter = strains.reshape(-1, 3, 3) / 4
    identity = torch.eye(3, dtype=strains.dtype, device=strains.device).expand_as(quarter)
    series = identity
    for order in range(_ORDER, 0, -1):
        series = torch.baddbmm(identity, quarter, series, alpha=1 / order)
    for _ in range(2):
        series = torch.bmm(series, series)
    return series.view_as(strains)


def _rows_times(vectors: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    """Multiply each row vector (N, 3) with its matrix (N, 3, 3)."""
    return (vectors[:, :, None] * matrices).sum(1)
