"""Exact principal components, from the moments beside each shard."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pesatlas.config.select import Select
from pesatlas.errors import UserError
from pesatlas.tables.arrays import read_arrays, write_arrays
from pesatlas.tables.components import Components
from pesatlas.tables.moments import ShardMoments

log = logging.getLogger(__name__)


@dataclass
class Pca:
    """Principal components of structures and of atoms, and whose features they are made of."""

    encoder: str
    weights_hash: str
    structures: Components
    atoms: Components

    def write(self, path: Path) -> None:
        """Write an ``.npz`` atomically; nothing in it is pickled."""
        arrays = {
            f"{name}_{part}": array
            for name, components in (("structures", self.structures), ("atoms", self.atoms))
            for part, array in vars(components).items()
        }
        write_arrays(path, {"encoder": self.encoder, "weights_hash": self.weights_hash}, arrays)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what ``write`` wrote.

        Raises
        ------
        UserError
            If the file is missing or is not one.
        """
        parts = list(Components.__dataclass_fields__)
        names = [f"{name}_{part}" for name in ("structures", "atoms") for part in parts]
        about, arrays = read_arrays(path, "principal components", names)
        structures, atoms = (
            Components(*(arrays[f"{name}_{part}"] for part in parts)) for name in ("structures", "atoms")
        )
        return cls(about["encoder"], about["weights_hash"], structures, atoms)


def fit_pca(settings: Select, moments: list[Path], pca: Path) -> None:
    """Fit principal components of all structures and all atoms from the moments of every shard.

    MatPES fitted those of atoms on ground states only, because 16 billion environments were too many; summed
    moments need no such compromise.

    Raises
    ------
    UserError
        If the shards were encoded by different models, or hold nothing.
    """
    shards = [ShardMoments.read(path) for path in sorted(moments)]
    if not shards:
        raise UserError("There are no moments to fit principal components to: no shard was encoded.")
    first = shards[0]
    for path, shard in zip(sorted(moments), shards, strict=True):
        if (shard.encoder, shard.weights_hash) != (first.encoder, first.weights_hash):
            raise UserError(
                f"{path} was encoded with {shard.encoder} ({shard.weights_hash[:12]}), other shards with "
                f"{first.encoder} ({first.weights_hash[:12]}). Delete the folder of features and encode all "
                "again."
            )
    for shard in shards[1:]:
        first.structures.merge(shard.structures)
        first.atoms.merge(shard.atoms)
    fitted = Pca(
        first.encoder,
        first.weights_hash,
        Components.fit(first.structures, settings.structure.components),
        Components.fit(first.atoms, settings.atoms.components),
    )
    fitted.write(pca)
    for name, part, n in (
        ("structures", fitted.structures, first.structures.n),
        ("atoms", fitted.atoms, first.atoms.n),
    ):
        log.info(
            "%s: %d principal components explain %.1f %% of %d vectors",
            name,
            len(part.axes),
            100 * part.weights.sum(),
            n,
        )
