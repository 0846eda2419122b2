"""Parquet rows as batches of graphs, streamed in an order set by seed and epoch.

No more than a window of row groups is in memory. Every epoch draws the order of the row groups and, within
each window of them, the order of the rows; so a position in it can be returned to without having read what
came before.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
import vesin
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info
from torch_geometric.data import Batch, Data

from pesatlas.atoms.units import EV_PER_A3_TO_GPA
from pesatlas.train.scan import Piece

WINDOW = 16
"""Row groups in memory at a time: some 8,000 rows, between which order is drawn anew."""
_COLUMNS = [
    "numbers",
    "n_atoms",
    "cell_A",
    "positions_A",
    "energy_eV",
    "forces_eV_per_A",
    "stress_eV_per_A3",
    "magmoms_muB",
]
_FULL = [[0, 5, 4], [5, 1, 3], [4, 3, 2]]
"""Places of the components of a stress (3, 3) in xx yy zz yz xz xy."""


@dataclass(frozen=True)
class Row:
    """One labelled structure.

    Attributes
    ----------
    numbers : (n,); cell : (3, 3) Å; positions : (n, 3) Å
    energy : eV; forces : (n, 3) eV/Å
    stress : (3, 3) GPa, as matgl has it: that of ASE times 160.2, tension positive, compression negative; NaN
        without
    magmoms : (n,) μB; NaN without
    domain : region of the PES
    """

    numbers: NDArray[np.int64]
    cell: NDArray[np.float64]
    positions: NDArray[np.float64]
    energy: float
    forces: NDArray[np.float64]
    stress: NDArray[np.float64]
    magmoms: NDArray[np.float64]
    domain: str


@dataclass
class Labelled:
    """A batch of B structures with N atoms, as matgl's ``Potential`` takes it, and its labels.

    Attributes
    ----------
    graph : fractional coordinates, edges with the images of their ends, element of each atom
    lattices : (B, 3, 3) Å
    n_atoms : (B,)
    energies : (B,) eV
    forces : (N, 3) eV/Å
    stresses : (B, 3, 3) GPa, tension positive
    magmoms : (N,) μB, NaN where there are none
    total : structures, atoms and magnetic moments of the step, of which this batch may be the share of one
        device
    numbers : (N,) atomic numbers
    domains : of the structures
    """

    graph: Any
    lattices: torch.Tensor
    n_atoms: torch.Tensor
    energies: torch.Tensor
    forces: torch.Tensor
    stresses: torch.Tensor
    magmoms: torch.Tensor
    total: tuple[int, int, int]
    numbers: NDArray[np.int64] = field(repr=False)
    domains: list[str] = field(repr=False)

    def to(self, device: torch.device) -> "Labelled":
        """Return it on ``device``."""
        moved = {
            name: getattr(self, name).to(device)
            for name in ("graph", "lattices", "n_atoms", "energies", "forces", "stresses", "magmoms")
        }
        return replace(self, **moved)


def stream(pieces: Sequence[Piece], order: tuple[int, int] | None = None, skip: int = 0) -> Iterator[Row]:
    """Yield the rows of all pieces, each once.

    Parameters
    ----------
    order : seed and epoch, from which the order follows; None: as in the files
    skip : rows to leave out at the start; windows that fall into them are not read
    """
    places = (
        range(len(pieces))
        if order is None
        else np.random.default_rng(order).permutation(len(pieces)).tolist()
    )
    for start in range(0, len(places), WINDOW):
        window = [pieces[k] for k in places[start : start + WINDOW]]
        count = sum(map(len, window))
        if skip >= count:
            skip -= count
            continue
        rows = np.arange(count)
        if order is not None:
            rows = np.random.default_rng([*order, 1 + start]).permutation(count)
        frames = _Frames(window)
        yield from (frames[row] for row in rows[skip:].tolist())
        skip = 0


class _Frames:
    """The rows of some pieces, as flat arrays."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        table = pa.concat_tables(_read(piece) for piece in pieces).combine_chunks()
        self._ends = np.cumsum(table["n_atoms"].to_numpy())
        self._n = table["n_atoms"].to_numpy()
        self._domains = table["domain"].to_pylist()
        self._energies = table["energy_eV"].to_numpy()
        self._numbers = _flat(table["numbers"]).astype(np.int64)
        self._positions = _flat(table["positions_A"]).reshape(-1, 3)
        self._forces = _flat(table["forces_eV_per_A"]).reshape(-1, 3)
        self._cells = _flat(table["cell_A"]).reshape(-1, 3, 3)
        self._stresses = np.full((len(table), 6), np.nan)
        self._stresses[_there(table["stress_eV_per_A3"])] = _flat(
            table["stress_eV_per_A3"].drop_null()
        ).reshape(-1, 6)
        moments = table["magmoms_muB"]
        self._magmoms = np.full(len(self._numbers), np.nan)
        self._magmoms[np.repeat(_there(moments), self._n)] = _flat(moments.drop_null())

    def __getitem__(self, row: int) -> Row:
        atoms = slice(self._ends[row] - self._n[row], self._ends[row])
        return Row(
            self._numbers[atoms],
            self._cells[row],
            self._positions[atoms],
            float(self._energies[row]),
            self._forces[atoms],
            self._stresses[row][_FULL] * EV_PER_A3_TO_GPA,
            self._magmoms[atoms],
            self._domains[row],
        )


def _read(piece: Piece) -> pa.Table:
    with pq.ParquetFile(piece.path) as file:
        there = [name for name in (*_COLUMNS, "domain") if name in file.schema_arrow.names]
        table = file.read_row_group(piece.group, columns=there, use_threads=False).take(piece.rows)
    if "domain" not in there:  # a table of somebody else's dataset
        table = table.append_column("domain", pa.array(["imported"] * len(table)))
    return table.select([*_COLUMNS, "domain"]).replace_schema_metadata(None)


def _flat(column: Any) -> NDArray[Any]:
    return pc.list_flatten(column).to_numpy()


def _there(column: Any) -> NDArray[np.bool_]:
    return pc.is_valid(column).to_numpy()


class Converter:
    """Turns rows into batches for a model.

    Parameters
    ----------
    elements : atomic numbers in the order of the model's ``element_types``
    cutoff_A : Å, of the model
    """

    def __init__(self, elements: Sequence[int], cutoff_A: float) -> None:  # noqa: N803 - a unit
        self.elements = tuple(elements)
        self.cutoff_A = cutoff_A
        self._places = np.full(256, -1)
        self._places[list(elements)] = np.arange(len(elements))

    def knows(self, row: Row) -> bool:
        """Whether the model has all elements of a row."""
        return bool((self._places[row.numbers] >= 0).all())

    def __call__(self, rows: Sequence[Row], share: tuple[int, int] = (0, 1)) -> Labelled:
        """Return the rows, or every so many of them from a first on, as a batch."""
        total = (
            len(rows),
            sum(len(row.numbers) for row in rows),
            sum(int(np.isfinite(row.magmoms).sum()) for row in rows),
        )
        rows = rows[share[0] :: share[1]]
        double = torch.float64
        return Labelled(
            graph=Batch.from_data_list([self._graph(row) for row in rows]),
            lattices=torch.tensor(np.stack([row.cell for row in rows]), dtype=double),
            n_atoms=torch.tensor([len(row.numbers) for row in rows]),
            energies=torch.tensor([row.energy for row in rows], dtype=double),
            forces=torch.tensor(np.concatenate([row.forces for row in rows]), dtype=double),
            stresses=torch.tensor(np.stack([row.stress for row in rows]), dtype=double),
            magmoms=torch.tensor(np.concatenate([row.magmoms for row in rows]), dtype=double),
            total=total,
            numbers=np.concatenate([row.numbers for row in rows]),
            domains=[row.domain for row in rows],
        )

    def _graph(self, row: Row) -> Data:
        """Return neighbours as matgl has them.

        From each atom, sorted, with the image that the other end is in.
        """
        fractional = row.positions @ np.linalg.inv(row.cell)
        fractional -= np.floor(fractional)
        # one thread: the order of the pairs decides the last bits of every sum
        search = vesin.NeighborList(cutoff=self.cutoff_A, full_list=True, sorted=True, n_threads=1)
        i, j, images = search.compute(
            fractional @ row.cell, row.cell, periodic=True, quantities="ijS", copy=True
        )
        return Data(
            num_nodes=len(row.numbers),
            edge_index=torch.from_numpy(np.stack([i, j]).astype(np.int32)),
            pbc_offset=torch.from_numpy(images.astype(np.float64)),
            node_type=torch.from_numpy(self._places[row.numbers]),
            frac_coords=torch.from_numpy(fractional),
        )


class Batches(IterableDataset):
    """The batches of one epoch, or of one pass in the order of the files.

    Parameters
    ----------
    size : structures in a batch, on all devices together
    order, skip : see ``stream``
    share : which device of how many this is for: it gets its part of each batch, and a last one that is too
        small for all is left out
    whole : it gets every so many batches whole instead, and none is left out
    """

    def __init__(
        self,
        pieces: Sequence[Piece],
        converter: Converter,
        size: int,
        *,
        order: tuple[int, int] | None = None,
        skip: int = 0,
        share: tuple[int, int] = (0, 1),
        whole: bool = False,
    ) -> None:
        self._pieces, self._converter, self._size = pieces, converter, size
        self._order, self._skip = order, skip
        self._share, self._turn = ((0, 1), share) if whole else (share, (0, 1))

    def __iter__(self) -> Iterator[Labelled]:
        worker = get_worker_info()
        mine, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        rows = stream(self._pieces, self._order, self._skip)
        number = 0
        while len(batch := list(islice(rows, self._size))) >= self._share[1]:
            turn, rest = divmod(number, self._turn[1])
            # workers are asked in turn, so every so many batches are those of one
            if rest == self._turn[0] and turn % workers == mine:
                yield self._converter(batch, self._share)
            number += 1
