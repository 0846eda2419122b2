"""Error and softness of a potential against DFT: by domain, by element and in total.

Universal potentials tend to underestimate forces by a common factor: the slope of their forces against those
of DFT, the smaller than 1 the softer. Source: Deng et al., Systematic softening in universal machine learning
interatomic potentials, npj Comput. Mater. 11, 9 (2025), arXiv 2405.07105.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from math import gcd
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pesatlas.atoms.elements import symbol_of
from pesatlas.atoms.units import EV_PER_A3_TO_GPA

_LEAST_FORCE = 1e-3
"""eV/Å, root mean square of DFT's components.

Below, forces are what is left of convergence, and have no slope.
"""

LABELS = ("snapshot_id", "energy_eV", "forces_eV_per_A", "stress_eV_per_A3")
"""References of the comparison, columns of table ``dataset``."""

Floats = NDArray[np.float64]


def softness(parity: pa.Table, labels: pa.Table) -> list[dict[str, Any]]:
    """Compare the potential with DFT in the rows that both tables have and that the potential could evaluate.

    Parameters
    ----------
    parity : table ``parity``
    labels : columns ``LABELS`` of table ``dataset``, of any level

    Returns
    -------
    list of dict
        ``of`` is ``all``, ``domain`` or ``element`` and ``name`` which one. Of an element, forces are those
        on its atoms; stresses and energies, which are of whole rows, count as often as the row has its atoms.

        - ``rows``, ``atoms``: how many were compared
        - ``force_mae_eV_per_A``, ``force_rmse_eV_per_A``: of force components
        - ``force_slope``: least squares through the origin, potential against DFT; None where DFT's forces
          are noise
        - ``stress_mae_GPa``: of stress components
        - ``energy_mae_meV_per_atom``: of energies less the mean of their crystal, because the two have
          different zeros. One zero for each crystal and composition, from all its rows; a single row has
          nothing to be compared with and is left out. Few rows pull their own mean along, so that their
          errors look smaller: by sqrt(1/2) for two. None without any
        - ``energy_rows``, ``energy_crystals``: how many that are
    """
    pairs = _Pairs.join(parity, labels)
    return [
        {"of": kind, "name": name} | pairs.describe(atoms, weights)
        for kind, name, atoms, weights in pairs.groups()
    ]


@dataclass(frozen=True)
class ForcesOfCrystals:
    """Forces of the potential and of DFT by crystal.

    Attributes
    ----------
    mae : mean absolute error of force components by ``structure_id``, eV/Å
    products, squares : (C,) sums of potential times DFT, and of DFT squared, over the components; of the C
        crystals whose forces by DFT are more than noise
    """

    mae: dict[str, float]
    products: Floats
    squares: Floats

    def slope(self, seed: int) -> tuple[float, float, float] | None:
        """Return the slope through the origin and its 95 % interval, by resampling crystals 2,000 times.

        None without such crystals.
        """
        crystals = len(self.squares)
        if not crystals:
            return None
        picked = np.random.default_rng(seed).integers(crystals, size=(2000, crystals))
        slopes = self.products[picked].sum(axis=1) / self.squares[picked].sum(axis=1)
        low, high = np.percentile(slopes, [2.5, 97.5])
        return float(self.products.sum() / self.squares.sum()), float(low), float(high)


def forces_of_crystals(parity: pa.Table, labels: pa.Table) -> ForcesOfCrystals:
    """Compare the potential's forces with DFT's crystal by crystal; tables as for ``softness``."""
    pairs = _Pairs.join(parity, labels)
    names, crystal = np.unique(pairs.structures, return_inverse=True)
    owner = crystal[pairs.owner]

    def total(values: Floats) -> Floats:
        return np.bincount(owner, values.sum(axis=1), minlength=len(names)).astype(np.float64)

    components = np.maximum(3 * np.bincount(owner, minlength=len(names)), 1)
    errors = total(np.abs(pairs.forces - pairs.reference)) / components
    squares = total(pairs.reference**2)
    moved = squares > _LEAST_FORCE**2 * components
    return ForcesOfCrystals(
        dict(zip(names.tolist(), errors.tolist(), strict=True)),
        total(pairs.forces * pairs.reference)[moved],
        squares[moved],
    )


@dataclass(frozen=True)
class _Pairs:
    """Predictions and labels of R rows with N atoms in all.

    Attributes
    ----------
    structures, domains : (R,) str
    numbers : (N,) int64
    owner : (N,) int64, row of each atom
    forces, reference : (N, 3) eV/Å, by the potential and by DFT
    stress_error : (R,) eV/Å³, mean over the components, without sign
    energy_error : (R,) eV/atom, less the mean of the crystal; NaN for its only row
    crystal : (R,) int64
    """

    structures: NDArray[np.str_]
    domains: NDArray[np.str_]
    numbers: NDArray[np.int64]
    owner: NDArray[np.int64]
    forces: Floats
    reference: Floats
    stress_error: Floats
    energy_error: Floats
    crystal: NDArray[np.int64]

    @classmethod
    def join(cls, parity: pa.Table, labels: pa.Table) -> Self:
        """Bring the rows of both together by ``snapshot_id``."""
        parity = parity.filter(pc.is_valid(parity["mlip_energy_eV"]))
        places = pc.index_in(parity["snapshot_id"], value_set=labels["snapshot_id"].combine_chunks())
        parity, labels = parity.filter(pc.is_valid(places)), labels.take(pc.drop_null(places))
        n_atoms = parity["n_atoms"].to_numpy().astype(np.int64)
        numbers = _flat(parity["numbers"]).astype(np.int64)
        owner = np.repeat(np.arange(len(n_atoms)), n_atoms)
        stresses = _flat(parity["mlip_stress_eV_per_A3"]) - _flat(labels["stress_eV_per_A3"])
        errors = (parity["mlip_energy_eV"].to_numpy() - labels["energy_eV"].to_numpy()) / n_atoms
        crystal = _crystals(parity["structure_id"].to_pylist(), numbers, n_atoms)
        rows_of = np.bincount(crystal)
        shift = np.bincount(crystal, errors) / np.maximum(rows_of, 1)
        return cls(
            structures=np.array(parity["structure_id"].to_pylist(), dtype=np.str_),
            domains=np.array(parity["domain"].to_pylist(), dtype=np.str_),
            numbers=numbers,
            owner=owner,
            forces=_flat(parity["mlip_forces_eV_per_A"]).reshape(-1, 3),
            reference=_flat(labels["forces_eV_per_A"]).reshape(-1, 3),
            stress_error=np.abs(stresses).reshape(-1, 6).mean(axis=1),
            energy_error=np.where(rows_of[crystal] > 1, errors - shift[crystal], np.nan),
            crystal=crystal,
        )

    def groups(self) -> Iterator[tuple[str, str, NDArray[np.bool_], Floats]]:
        """Yield kind and name of each group, its atoms (N,) and the weights of its rows (R,)."""
        rows = len(self.domains)
        if rows:
            yield "all", "", np.ones(len(self.owner), dtype=bool), np.ones(rows)
        for name in np.unique(self.domains).tolist():
            inside = self.domains == name
            yield "domain", name, inside[self.owner], inside.astype(float)
        for number in np.unique(self.numbers).tolist():
            atoms = self.numbers == number
            weights = np.bincount(self.owner[atoms], minlength=rows).astype(float)
            yield "element", symbol_of(number), atoms, weights

    def describe(self, atoms: NDArray[np.bool_], weights: Floats) -> dict[str, Any]:
        """Describe one group; it has an atom."""
        forces, reference = self.forces[atoms], self.reference[atoms]
        errors = forces - reference
        square = float((reference**2).sum())
        comparable = (weights > 0) & np.isfinite(self.energy_error)
        return {
            "rows": int((weights > 0).sum()),
            "atoms": len(forces),
            "force_mae_eV_per_A": float(np.abs(errors).mean()),
            "force_rmse_eV_per_A": float(np.sqrt((errors**2).mean())),
            "force_slope": float((forces * reference).sum() / square)
            if square > _LEAST_FORCE**2 * reference.size
            else None,
            "stress_mae_GPa": float(np.average(self.stress_error, weights=weights)) * EV_PER_A3_TO_GPA,
            "energy_mae_meV_per_atom": 1000
            * float(np.average(np.abs(self.energy_error[comparable]), weights=weights[comparable]))
            if comparable.any()
            else None,
            "energy_rows": int(comparable.sum()),
            "energy_crystals": len(np.unique(self.crystal[comparable])),
        }


def _flat(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return the numbers of all lists, one after the other."""
    return pc.list_flatten(column).to_numpy()


def _crystals(names: list[str], numbers: NDArray[np.int64], n_atoms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of each row's crystal, by name and composition.

    A cell with an atom less has another zero, a supercell has not.
    """
    found: dict[tuple[Any, ...], int] = {}
    places = []
    for name, end, count in zip(names, np.cumsum(n_atoms), n_atoms, strict=True):
        elements, counts = np.unique(numbers[end - count : end], return_counts=True)
        common = reduce(gcd, counts.tolist())
        key = (name, *elements.tolist(), *(counts // common).tolist())
        places.append(found.setdefault(key, len(found)))
    return np.array(places, dtype=np.int64)
