"""The dynamical state of a batch of structures."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Self

import numpy as np
import torch
from ase.data import atomic_masses

from pesatlas.atoms.units import ACCELERATION, BOLTZMANN_EV_PER_K
from pesatlas.potentials import device as devices
from pesatlas.potentials.neighbours import volumes_of
from pesatlas.potentials.potential import Batch, Evaluation, Layout


@dataclass(frozen=True, eq=False)
class State:
    """Positions, velocities and cells of B structures with N atoms in all.

    Tensors are never changed in place.

    Attributes
    ----------
    numbers : (N,) int64, atomic numbers
    masses : (N,) amu
    positions : (N, 3) Å, never wrapped
    velocities : (N, 3) Å/fs
    forces : (N, 3) eV/Å, at ``positions``
    n_atoms : (B,) int64
    cells : (B, 3, 3) Å, rows are lattice vectors
    energies : (B,) eV
    stresses : (B, 3, 3) eV/Å³, virial part, tension positive
    kinetic : (B,) eV, half a step before ``positions`` (see ``NpT``)
    temperature : (B,) target, K
    pressure : (B,) target, eV/Å³
    known : what the host knows of ``n_atoms``; None: it has to look
    """

    numbers: torch.Tensor
    masses: torch.Tensor
    positions: torch.Tensor
    velocities: torch.Tensor
    forces: torch.Tensor
    n_atoms: torch.Tensor
    cells: torch.Tensor
    energies: torch.Tensor
    stresses: torch.Tensor
    kinetic: torch.Tensor
    temperature: torch.Tensor
    pressure: torch.Tensor
    known: Layout | None = None

    @cached_property
    def layout(self) -> Layout:
        """The places of the atoms of each structure."""
        return self.known or Layout(self.n_atoms.cpu().numpy(), self.cells.device)

    @property
    def owner(self) -> torch.Tensor:
        """(N,) structure of each atom."""
        return self.layout.owner

    @property
    def degrees_of_freedom(self) -> torch.Tensor:
        """(B,) kinetic degrees of freedom, 3n-3: the centre of mass is at rest."""
        return self.layout.degrees_of_freedom

    @property
    def batch(self) -> Batch:
        """Input batch of a potential."""
        return Batch(self.numbers, self.positions, self.cells, self.n_atoms, self.layout)

    @property
    def volumes(self) -> torch.Tensor:
        """(B,) Å³; negative if a cell has turned inside out."""
        return (
            volumes_of(self.cells) if devices.runs_ahead(self.cells.device) else torch.linalg.det(self.cells)
        )

    def per_structure(self, values: torch.Tensor) -> torch.Tensor:
        """Sum (N, ...) over the atoms of each structure: (B, ...)."""
        total = torch.zeros((len(self.n_atoms), *values.shape[1:]), dtype=values.dtype, device=values.device)
        return total.index_add_(0, self.owner, values)

    def kinetic_energy(self) -> torch.Tensor:
        """(B,) kinetic energy of ``velocities``, eV."""
        return self.per_structure(self.masses * self.velocities.square().sum(1)) * (0.5 / ACCELERATION)

    def kinetic_temperature(self) -> torch.Tensor:
        """(B,) temperature of ``kinetic``, K; NaN without kinetic degrees of freedom."""
        freedom = self.degrees_of_freedom
        return torch.where(freedom > 0, 2 * self.kinetic / (freedom * BOLTZMANN_EV_PER_K), torch.nan)

    def unusual_heat(self, standard_deviations: float) -> torch.Tensor:
        """(B,) how many times its target a temperature may be by chance.

        A handful of degrees of freedom fluctuates widely.
        """
        return 1 + standard_deviations * torch.sqrt(2 / self.degrees_of_freedom)

    def make_sense(self) -> torch.Tensor:
        """(B,) whether everything that a potential said of each structure is finite."""
        return torch.isfinite(
            self.energies + self.stresses.sum((1, 2)) + self.per_structure(self.forces.sum(1))
        )

    def at_rest(self) -> Self:
        """Return the state with the velocity of each structure's centre of mass removed."""
        momentum = self.per_structure(self.masses[:, None] * self.velocities)
        drift = momentum / self.per_structure(self.masses)[:, None]
        return replace(self, velocities=self.velocities - drift[self.owner])

    def evaluated(self, evaluation: Evaluation) -> Self:
        """Return the state with predictions of the potential."""
        return replace(
            self, energies=evaluation.energies, forces=evaluation.forces, stresses=evaluation.stresses
        )

    def keep(self, structures: np.ndarray) -> Self:
        """Return the structures at these places, in the order of the places."""
        layout, device = self.layout, self.cells.device
        atoms = torch.as_tensor(layout.atoms_of(structures), device=device)
        places = torch.as_tensor(structures, device=device)
        return type(self)(
            **{
                name: getattr(self, name).index_select(0, atoms if name in _PER_ATOM else places)
                for name in _NAMES
            },
            known=Layout(layout.counts[structures], device),
        )

    def to(self, device: torch.device) -> Self:
        """Return the state on ``device``."""
        return type(self)(
            **{name: getattr(self, name).to(device) for name in _NAMES},
            known=Layout(self.layout.counts, device),
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Return every attribute as an array, for ``from_arrays``."""
        return {name: getattr(self, name).cpu().numpy() for name in _NAMES}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], device: torch.device) -> Self:
        """Bring back what ``arrays`` returned, bit for bit."""
        return cls(
            **{name: torch.as_tensor(arrays[name], device=device) for name in _NAMES},
            known=Layout(arrays["n_atoms"], device),
        )


_NAMES = tuple(each.name for each in fields(State) if each.name != "known")
_PER_ATOM = frozenset({"numbers", "masses", "positions", "velocities", "forces"})


def join(states: Sequence[State]) -> State:
    """Put states one after the other."""
    counts = np.concatenate([state.layout.counts for state in states])
    return State(
        **{name: torch.cat([getattr(state, name) for state in states]) for name in _NAMES},
        known=Layout(counts, states[0].cells.device),
    )


def initial_state(
    numbers: np.ndarray,
    cell: np.ndarray,
    positions: np.ndarray,
    velocities: np.ndarray,
    *,
    temperature: float,
    pressure: float,
    device: torch.device,
) -> State:
    """Make the state of one structure that no potential has seen yet: energy, forces and stress are NaN.

    Everything is in the units of ``State``.
    """
    n = len(numbers)
    nan = np.full((n, 3), np.nan)
    arrays = {
        "numbers": np.asarray(numbers, dtype=np.int64),
        "masses": atomic_masses[numbers].astype(float),
        "positions": np.array(positions, dtype=float),
        "velocities": np.array(velocities, dtype=float),
        "forces": nan,
        "n_atoms": np.array([n], dtype=np.int64),
        "cells": np.array(cell, dtype=float)[None],
        "energies": np.array([np.nan]),
        "stresses": np.full((1, 3, 3), np.nan),
        "kinetic": np.array([np.nan]),
        "temperature": np.array([float(temperature)]),
        "pressure": np.array([float(pressure)]),
    }
    state = State.from_arrays(arrays, device).at_rest()
    return replace(state, kinetic=state.kinetic_energy())
