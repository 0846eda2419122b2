"""Strains that the barostat may apply to each cell of a batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch

_MOVES = {
    "all": ((1, 1, 1), (1, 1, 1), (1, 1, 1)),
    "isotropic": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "in_plane": ((1, 1, 0), (1, 1, 0), (0, 0, 0)),
    "none": ((0, 0, 0), (0, 0, 0), (0, 0, 0)),
}


@dataclass(frozen=True, eq=False)
class CellLimits:
    """Allowed strains of the cells of B structures.

    Attributes
    ----------
    moves : (B, 3, 3), 1 for a component of the strain that may move, 0 for one that may not
    isotropic : (B,) bool, whether only the size changes
    compressibility : (B,) 1/GPa
    """

    moves: torch.Tensor
    isotropic: torch.Tensor
    compressibility: torch.Tensor

    @classmethod
    def of(cls, motions: Sequence[str], compressibilities: Sequence[float], device: torch.device) -> Self:
        """Build from a name (all, isotropic, in_plane, none) and compressibilities (1/GPa)."""
        return cls(
            torch.tensor([_MOVES[name] for name in motions], dtype=torch.float64, device=device),
            torch.tensor([name == "isotropic" for name in motions], device=device),
            torch.tensor(compressibilities, dtype=torch.float64, device=device),
        )

    def keep(self, places: torch.Tensor) -> Self:
        """Return those of the structures at these places."""
        return type(self)(self.moves[places], self.isotropic[places], self.compressibility[places])

    def __add__(self, other: Self) -> Self:
        """Put the structures of ``other`` after these."""
        return type(self)(
            torch.cat([self.moves, other.moves]),
            torch.cat([self.isotropic, other.isotropic]),
            torch.cat([self.compressibility, other.compressibility]),
        )

    def project(self, strain: torch.Tensor) -> torch.Tensor:
        """Project strains (B, 3, 3), orthogonally, onto those that are allowed.

        A free one is returned bit for bit.
        """
        size = strain.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
        return torch.where(self.isotropic[:, None, None], size * self.moves, strain * self.moves)
