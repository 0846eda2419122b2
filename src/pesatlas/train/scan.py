"""One pass over a dataset before training: contents, level consistency, scales."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pesatlas.atoms.elements import symbol_of
from pesatlas.campaign.splits import SPLITS
from pesatlas.errors import UserError
from pesatlas.tables.io import check_metadata

_MOST_ELEMENTS = 120
_COLUMNS = [
    "level",
    "level_fingerprint",
    "verdict",
    "split",
    "n_atoms",
    "numbers",
    "energy_eV",
    "magmoms_muB",
]


@dataclass(frozen=True)
class Piece:
    """Rows of one row group of a file."""

    path: Path
    group: int
    rows: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass
class Scanned:
    """Contents of a dataset.

    Attributes
    ----------
    level, fingerprints : of its labels
    pieces : accepted rows by split, in the order of the files; those with elements that the split train has
        not are left out
    elements : atomic numbers in the split train, sorted
    left_out : rows of valid and test with other elements, by split
    energies : energy of each of ``elements``, eV, by least squares over the split train
    force_rms : root mean square of the force components of the split train, eV/Å
    mean_stress : (6,) eV/Å³, of the split train, xx yy zz yz xz xy
    moments : rows of the split train with magnetic moments
    only : snapshots that train and valid are limited to, sorted; None: all
    """

    level: str
    fingerprints: tuple[str, ...]
    pieces: dict[str, list[Piece]] = field(default_factory=lambda: {name: [] for name in SPLITS})
    elements: tuple[int, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)
    energies: tuple[float, ...] = ()
    force_rms: float = 1.0
    mean_stress: tuple[float, ...] = (0.0,) * 6
    moments: int = 0
    only: tuple[str, ...] | None = None

    def rows(self, split: str) -> int:
        """Return the number of rows of a split."""
        return sum(map(len, self.pieces[split]))


def parts_of(folder: Path, level: str) -> list[Path]:
    """Return the files of the dataset of one level.

    Raises
    ------
    UserError
        If there are none.
    """
    found = sorted((folder / level).glob("part-*.parquet"))
    if not found:
        there = ", ".join(sorted(path.name for path in folder.glob("*/"))) if folder.is_dir() else ""
        raise UserError(
            f"{folder / level}: no part-*.parquet, so there is no dataset of level {level} to train on. "
            f"{f'There are {there}.' if there else 'Run the campaign up to collect_dataset first.'}"
        )
    return found


def scan(
    paths: Sequence[Path],
    level: str,
    fingerprints: Iterable[str] = (),
    only: Collection[str] | None = None,
) -> Scanned:
    """Read all of a dataset but its positions, row group by row group.

    Parameters
    ----------
    paths : files of the table ``dataset``
    level : the level that is trained
    fingerprints : fingerprints that the campaign merged on purpose (``dataset.patch_versions``); else there
        may be one only
    only : snapshots that the splits train and valid are limited to; test never is

    Raises
    ------
    UserError
        If a row is of another level, labels have different fingerprints, or no row is left to train on.
    """
    wanted = None if only is None else set(only)
    columns = [*_COLUMNS, *([] if wanted is None else ["snapshot_id"])]
    pieces: list[tuple[Piece, str, NDArray[np.bool_]]] = []
    seen: Counter[str] = Counter()
    sums = _Sums()
    for path in paths:
        check_metadata(path, "dataset")
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=columns, use_threads=False)
                _check_level(table, level, path)
                seen.update(table["level_fingerprint"].to_pylist())
                accepted = np.array(table["verdict"].to_pylist()) == "accepted"
                split = np.array(table["split"].to_pylist(), dtype=np.str_)
                if wanted is not None:
                    mine = [name in wanted for name in table["snapshot_id"].to_pylist()]
                    accepted &= np.array(mine, dtype=bool) | (split == "test")
                counts = _compositions(table)
                train = np.flatnonzero(accepted & (split == "train"))
                sums.add(table, counts, train)
                if len(train):
                    labels = file.read_row_group(
                        group, columns=["forces_eV_per_A", "stress_eV_per_A3"], use_threads=False
                    )
                    sums.add_labels(labels.take(train))
                for part in SPLITS:
                    rows = np.flatnonzero(accepted & (split == part)).astype(np.int32)
                    if len(rows):
                        pieces.append((Piece(path, group, rows), part, counts[rows] > 0))
    _check_fingerprints(seen, tuple(fingerprints), level)
    found = Scanned(level, tuple(sorted(seen)), **sums.results(level))
    found.only = None if wanted is None else tuple(sorted(wanted))
    known = np.zeros(_MOST_ELEMENTS, dtype=bool)
    known[list(found.elements)] = True
    for piece, name, contained in pieces:
        fits = ~(contained & ~known).any(axis=1)
        found.left_out[name] = found.left_out.get(name, 0) + int((~fits).sum())
        if fits.any():
            found.pieces[name].append(Piece(piece.path, piece.group, piece.rows[fits]))
    return found


class _Sums:
    """Sums over the split train, from which scales follow."""

    def __init__(self) -> None:
        self.rows = self.moments = 0
        self.normal = np.zeros((_MOST_ELEMENTS, _MOST_ELEMENTS))
        self.right = np.zeros(_MOST_ELEMENTS)
        self.squares = self.components = 0.0
        self.stress = np.zeros(6)

    def add(self, table: Any, counts: NDArray[np.float64], train: NDArray[np.int64]) -> None:
        """Add rows ``train`` of a row group."""
        here = counts[train]
        self.rows += len(train)
        self.normal += here.T @ here
        self.right += here.T @ table["energy_eV"].to_numpy()[train]
        self.moments += int(pc.sum(pc.is_valid(table["magmoms_muB"].take(train))).as_py() or 0)

    def add_labels(self, table: Any) -> None:
        """Add forces and stresses."""
        forces = pc.list_flatten(table["forces_eV_per_A"]).to_numpy()
        self.squares += float(forces @ forces)
        self.components += len(forces)
        self.stress += pc.list_flatten(table["stress_eV_per_A3"]).to_numpy().reshape(-1, 6).sum(axis=0)

    def results(self, level: str) -> dict[str, Any]:
        """Return what follows, as ``Scanned`` names it."""
        if not self.rows:
            raise UserError(
                f"no accepted row of the split train at level {level}: there is nothing to train on. Make "
                "dataset.split.valid and test smaller, select more, or see why labels were flagged "
                "(`pesatlas summary`)."
            )
        elements = np.flatnonzero(self.normal.diagonal())
        # few compositions leave the energies of single elements open: the shortest solution is taken
        energies = np.linalg.lstsq(self.normal[np.ix_(elements, elements)], self.right[elements], rcond=1e-9)[
            0
        ]
        rms = float(np.sqrt(self.squares / max(self.components, 1)))
        return {
            "elements": tuple(elements.tolist()),
            "energies": tuple(energies.tolist()),
            "force_rms": rms if rms > 0 else 1.0,
            "mean_stress": tuple((self.stress / self.rows).tolist()),
            "moments": self.moments,
        }


def _compositions(table: Any) -> NDArray[np.float64]:
    """Return how many atoms of each number each row has, (rows, 120)."""
    n_atoms = table["n_atoms"].to_numpy()
    owner = np.repeat(np.arange(len(n_atoms)), n_atoms)
    numbers = pc.list_flatten(table["numbers"]).to_numpy().astype(np.int64)
    flat = np.bincount(owner * _MOST_ELEMENTS + numbers, minlength=len(n_atoms) * _MOST_ELEMENTS)
    return flat.reshape(len(n_atoms), _MOST_ELEMENTS).astype(np.float64)


def _check_level(table: Any, level: str, path: Path) -> None:
    others = sorted(set(table["level"].to_pylist()) - {level})
    if others:
        raise UserError(
            f"{path} contains labels of level {', '.join(others)}, and the potential is trained at {level}. "
            "A potential is trained only on labels of its own level: set train.level, or name the folder of "
            "that level."
        )


def _check_fingerprints(seen: Counter[str], allowed: tuple[str, ...], level: str) -> None:
    if len(seen) > 1 and not set(seen) <= set(allowed):
        counts = ", ".join(f"{fingerprint} ({rows} rows)" for fingerprint, rows in seen.most_common())
        raise UserError(
            f"the labels of level {level} have different settings: level_fingerprint is {counts}. A "
            "potential is trained on one. Label again with one set, or allow what differs in "
            "dataset.patch_versions and collect the dataset again."
        )


def names(numbers: Iterable[int]) -> str:
    """Return elements by symbol, for a message."""
    return ", ".join(symbol_of(number) for number in sorted(numbers))
