"""Encoder ``external``: features of any calculator's atoms, by a worker in another environment."""

import logging
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pesatlas.config.section import digest
from pesatlas.encode.encoder import Encoder, Frame
from pesatlas.errors import UserError
from pesatlas.potentials.external.options import LOADER, WorkerOptions, check_worker
from pesatlas.potentials.identity import Identity

if TYPE_CHECKING:
    from pesatlas.potentials.external.client import Structures

log = logging.getLogger(__name__)


class Options(WorkerOptions):
    """Features of a calculator of ASE in an environment of its own.

    Configuring one runs code of the configured names in that environment.
    """

    kind: Literal["external"] = "external"
    features: str = Field(
        pattern=rf"^[A-Za-z_]\w*$|{LOADER}",
        max_length=200,
        description="method of the calculator that takes atoms and returns a vector (d) for each, e.g. "
        "get_descriptors of mace; or module:callable, which takes the calculator and atoms. The vectors must "
        "not change when the crystal is turned",
    )


class ExternalEncoder:
    """Vectors of atoms as a worker gives them.

    The vector of a structure is their mean, so that a supercell has that of its unit cell. What is wreckage,
    and what the model fails on, has NaN: such frames are never picked.
    """

    def __init__(self, options: Options, identity: Identity, device: str) -> None:
        from pesatlas.potentials.external.client import Client  # noqa: PLC0415 - numpy and processes
        from pesatlas.potentials.external.identify import elements_of_loaded  # noqa: PLC0415

        self.name = identity.name
        self.weights_hash = digest(identity.weights_hash, options.features, length=64)
        self._client = Client(options, device, options.features)
        self.elements = elements_of_loaded(options, self._client)
        self.structure_dim = self.atom_dim = self._client.width(sorted(self.elements))

    def encode(self, frames: list[Frame]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Vectors of the structures (B, d) and of all their atoms (N, d).

        Raises
        ------
        UserError
            If the worker fails on every one of several structures.
        """
        from pesatlas.potentials.external.client import Structures  # noqa: PLC0415 - processes
        from pesatlas.potentials.neighbours import searchable  # noqa: PLC0415 - torch

        n_atoms = np.array([len(frame.numbers) for frame in frames], dtype=np.int64)
        numbers = np.concatenate([frame.numbers for frame in frames]).astype(np.int64)
        positions = np.concatenate([frame.positions for frame in frames])
        cells = np.stack([frame.cell for frame in frames])
        sound = searchable(n_atoms, positions, cells)
        of_sound = np.repeat(sound, n_atoms)
        atoms = np.full((len(numbers), self.atom_dim), np.nan)
        if sound.any():
            atoms[of_sound] = self._describe(
                Structures(n_atoms[sound], numbers[of_sound], positions[of_sound], cells[sound])
            )
        sums = np.add.reduceat(atoms, np.cumsum(n_atoms) - n_atoms)
        return (sums / n_atoms[:, None]).astype(np.float32), atoms.astype(np.float32)

    def _describe(self, structures: "Structures") -> NDArray[np.float64]:
        """Features (N, d); a batch that ends the worker is halved until the culprit is alone."""
        from pesatlas.potentials.external.client import WorkerDiedError  # noqa: PLC0415 - processes

        try:
            found, failed = self._client.features(structures, self.atom_dim)
        except (WorkerDiedError, MemoryError) as error:
            if len(structures.n_atoms) > 1:
                halves = structures.halves()
                return np.concatenate([self._describe(half) for half in halves])
            log.warning(
                "%s: a frame of %d atoms cannot be described: %s", self.name, *structures.n_atoms, error
            )
            return np.full((len(structures.numbers), self.atom_dim), np.nan)
        if failed:
            why = next(iter(failed.values()))
            if len(failed) == len(structures.n_atoms) > 1:
                raise UserError(f"{self._client.who} describes none of {len(failed)} structures: {why}")
            log.warning("%s: %d frames cannot be described, e.g. %s", self.name, len(failed), why)
        return found


def check(options: Options) -> None:
    """Raise a UserError if python or weights are not there; nothing is run."""
    check_worker(options)


def load(options: Options, device: str) -> Encoder:
    """Start the worker and load the model there."""
    from pesatlas.potentials.external.identify import identity_of  # noqa: PLC0415 - processes

    return ExternalEncoder(options, identity_of(options), device)
