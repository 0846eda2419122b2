"""A potential that is linear in functions of SOAP power and radial spectra (featomic): equations, then fits.

Energies of atoms are sums of the leading principal components of their spectra, and of cosines of random
directions in them (random Fourier features of Gaussian kernels of several widths), so that it learns more
from more labels than a linear model, and is fitted as fast.

Each frame gives one equation for its energy, three for each atom and six for its stress; they are kept on
disk, weighted, so that a fit to any selection only adds up products of the rows of its frames.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

CUTOFF_A = 5.0
SIGMAS = {"energy": 0.005, "forces": 0.1, "stress": 0.02}
"""Errors that count the same: eV/atom, eV/Å, eV/atom (virial)."""
COMPONENTS, COSINES = 200, 200
"""Principal components of the spectrum of the atoms of each element, and cosines."""
WIDTHS = (0.5, 2.0)
"""Narrowest and widest kernel, in root mean square distances from the mean."""
PENALTIES = 10.0 ** np.arange(-9, 0)
"""Ridge penalties to choose from, relative to the mean of the diagonal."""
DEARER = (1.0, 1e4)
"""Factors of the penalty of cosines: a few labels teach a nearly linear potential."""
_VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])


def _spectra() -> list[Any]:
    from featomic import SoapPowerSpectrum, SoapRadialSpectrum  # noqa: PLC0415 - an environment of its own

    common = {
        "cutoff": {"radius": CUTOFF_A, "smoothing": {"type": "ShiftedCosine", "width": 1.0}},
        "density": {"type": "Gaussian", "width": 0.5},
    }
    power = {"type": "TensorProduct", "max_angular": 4, "radial": {"type": "Gto", "max_radial": 3}}
    sharp = {"density": {"type": "Gaussian", "width": 0.3}}
    radial = {"radial": {"type": "Gto", "max_radial": 9}}
    return [SoapPowerSpectrum(**common, basis=power), SoapRadialSpectrum(**common | sharp, basis=radial)]


class Spectra:
    """Sums over atoms of their spectra, by element, with derivatives.

    Parameters
    ----------
    elements : atomic numbers, all that there are
    """

    def __init__(self, elements: Sequence[int]) -> None:
        self.elements = [int(element) for element in elements]
        self.calculators = _spectra()
        self.blocks: dict[tuple[int, ...], slice] = {}
        self.width = 0

    def learn_layout(self, atoms: Sequence[Any]) -> None:
        """Note where each pair of neighbouring elements has its columns."""
        for calculator in self.calculators:
            found = calculator.compute(list(atoms))
            for key, block in found.items():
                kinds = tuple(int(value) for value in key.values)[1:]
                if kinds not in self.blocks:
                    columns = block.values.shape[-1]
                    self.blocks[kinds] = slice(self.width, self.width + columns)
                    self.width += columns

    def of_atoms(self, atoms: Sequence[Any]) -> dict[int, NDArray[np.float64]]:
        """Return spectra (m, width) of the atoms of each element, of all structures together."""
        found: dict[int, NDArray[np.float64]] = {}
        numbers = np.concatenate([each.numbers for each in atoms])
        starts = np.cumsum([0, *[len(each) for each in atoms]])
        place = np.full(len(numbers), -1)
        for element in self.elements:
            mine = np.flatnonzero(numbers == element)
            place[mine] = np.arange(len(mine))
            found[element] = np.zeros((len(mine), self.width))
        for calculator in self.calculators:
            for key, block in calculator.compute(list(atoms)).items():
                centre, *kinds = (int(value) for value in key.values)
                samples = block.samples.values
                rows = place[starts[samples[:, 0]] + samples[:, 1]]
                found[centre][rows, self.blocks[tuple(kinds)]] = block.values
        return found

    def equations(self, atoms: Any, bases: dict[int, "Basis"]) -> NDArray[np.float64]:
        """Return rows (1 + 3n + 6, p) that give energy, forces and virial, unweighted."""
        n = len(atoms)
        values, moved = np.zeros((n, COMPONENTS)), np.zeros((n, n, 3, COMPONENTS))
        strained = np.zeros((n, 9, COMPONENTS))
        for calculator in self.calculators:
            for key, block in calculator.compute(atoms, gradients=["positions", "strain"]).items():
                centre, *kinds = (int(value) for value in key.values)
                axes, centres = bases[centre].axes[self.blocks[tuple(kinds)]], block.samples.values[:, 1]
                values[centres] += block.values @ axes
                along, strain = block.gradient("positions"), block.gradient("strain")
                first, of_atom = centres[along.samples.values[:, 0]], along.samples.values[:, 2]
                moved[first, of_atom] += along.values @ axes
                strained[centres[strain.samples.values[:, 0]]] += (
                    strain.values.reshape(-1, 9, axes.shape[0]) @ axes
                )
        parts = []
        for kind, basis in bases.items():
            mine = np.flatnonzero(atoms.numbers == kind)
            steps = np.concatenate(
                [-moved[mine].reshape(len(mine), 3 * n, COMPONENTS), strained[mine]], axis=1
            )
            functions, slopes = basis.cosines(values[mine])
            first = np.concatenate([values[mine].sum(0), functions.sum(0)])
            rest = np.concatenate(
                [steps.sum(0), ((steps @ basis.directions) * slopes[:, None]).sum(0)], axis=1
            )
            whole = rest[3 * n :].reshape(3, 3, -1)
            symmetric = ((whole + whole.transpose(1, 0, 2)) / 2)[_VOIGT]
            parts.append(np.concatenate([first[None], rest[: 3 * n], symmetric]))
        constants = np.zeros((1 + 3 * n + 6, len(self.elements)))
        constants[0] = [(atoms.numbers == element).sum() for element in self.elements]
        return np.concatenate([*parts, constants], axis=1)


@dataclass(frozen=True, eq=False)
class Basis:
    """Functions of the spectrum of an atom.

    Attributes
    ----------
    axes : (width, m) to principal components, each divided by the root of its deviation
    mean : (m,) of the components
    directions : (m, K) of the cosines
    phases : (K,)
    """

    axes: NDArray[np.float64]
    mean: NDArray[np.float64]
    directions: NDArray[np.float64]
    phases: NDArray[np.float64]

    @classmethod
    def of(cls, spectra: NDArray[np.float64], seed: int) -> "Basis":
        """Return that of the spectra (m, width) of many atoms."""
        values, vectors = np.linalg.eigh(spectra.T @ spectra / len(spectra))
        values, vectors = values[::-1][:COMPONENTS], vectors[:, ::-1][:, :COMPONENTS]
        axes = vectors * values.clip(1e-14 * values[0]) ** -0.25
        points = spectra @ axes
        mean = points.mean(0)
        size = ((points - mean) ** 2).sum(1).mean() ** 0.5
        axes, mean = axes / size, mean / size
        rng = np.random.default_rng(seed)
        widths = np.exp(rng.uniform(*np.log(WIDTHS), COSINES))
        directions = rng.normal(size=(COMPONENTS, COSINES)) / widths
        return cls(axes, mean, directions, rng.uniform(0, 2 * np.pi, COSINES))

    def cosines(self, values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return cosines (n, K) and their derivatives along the directions."""
        angles = (values - self.mean) @ self.directions + self.phases
        scale = (2 / COSINES) ** 0.5
        return scale * np.cos(angles), -scale * np.sin(angles)


def labels_of(atoms: Any) -> NDArray[np.float64]:
    """Return energy (eV), forces (eV/Å) and virial (eV) of a frame as ``equations`` orders them."""
    stress = atoms.get_stress(voigt=True) if "stress" in atoms.calc.results else np.full(6, np.nan)
    return np.concatenate(
        [[atoms.get_potential_energy()], atoms.get_forces().ravel(), stress * atoms.get_volume()]
    )


def sigmas_of(n: int) -> NDArray[np.float64]:
    """Return what each equation of a frame of ``n`` atoms is divided by."""
    return np.concatenate(
        [[SIGMAS["energy"] * n], np.full(3 * n, SIGMAS["forces"]), np.full(6, SIGMAS["stress"] * n)]
    )


@dataclass(frozen=True, eq=False)
class Equations:
    """Weighted equations of all frames.

    Attributes
    ----------
    rows : (R, p) float32 on disk
    labels : (R,)
    starts : (F + 1,) rows of frame i are starts[i]:starts[i + 1]; the first is that of the energy
    cosines : (p,) bool, columns of cosines
    """

    rows: NDArray[np.float32]
    labels: NDArray[np.float64]
    starts: NDArray[np.int64]
    cosines: NDArray[np.bool_]

    def of(self, frame: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Rows and labels of one frame; those without label left out."""
        part = slice(self.starts[frame], self.starts[frame + 1])
        labels = self.labels[part]
        known = np.isfinite(labels)
        return (self.rows[part], labels) if known.all() else (self.rows[part][known], labels[known])


def write_equations(atoms: Sequence[Any], unlabelled: NDArray[np.int64], folder: Path) -> Equations:
    """Write the equations of all frames, or read them if they are there.

    Principal components are those of atoms of the frames ``unlabelled``, for which no labels are needed.
    """
    done = folder / "soap.json"
    starts = np.cumsum([0, *[1 + 3 * len(each) + 6 for each in atoms]])
    elements = sorted({int(number) for each in atoms for number in each.numbers})
    if not done.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        spectra = Spectra(elements)
        columns = len(elements) * (COMPONENTS + COSINES + 1)
        drawn = np.random.default_rng(0).choice(unlabelled, min(400, len(unlabelled)), replace=False)
        some = [atoms[row] for row in drawn]
        some += [_first_with(atoms, element) for element in elements]
        spectra.learn_layout(some)
        bases = {kind: Basis.of(found, kind) for kind, found in spectra.of_atoms(some).items()}
        rows = np.lib.format.open_memmap(folder / "soap.npy", "w+", np.float32, (int(starts[-1]), columns))
        labels = np.empty(starts[-1])
        for frame, each in enumerate(atoms):
            part, sigmas = slice(starts[frame], starts[frame + 1]), sigmas_of(len(each))
            rows[part] = spectra.equations(each, bases) / sigmas[:, None]
            labels[part] = labels_of(each) / sigmas
            if frame % 200 == 0:
                print(f"equations of {frame} of {len(atoms)} frames", flush=True)
        rows.flush()
        np.save(folder / "soap-labels.npy", labels)
        done.write_text(json.dumps({"frames": len(atoms), "columns": columns, "width": spectra.width}))
    if json.loads(done.read_text())["frames"] != len(atoms):
        raise SystemExit(f"{done} is of other frames: remove it.")
    rows = np.load(folder / "soap.npy", mmap_mode="r")
    cosines = np.arange(rows.shape[1]) % (COMPONENTS + COSINES) >= COMPONENTS
    cosines[-len(elements) :] = False
    return Equations(rows, np.load(folder / "soap-labels.npy"), starts, cosines)


def energy_equations(
    numbers: Sequence[NDArray[np.int64]],
    vectors: NDArray[np.float16],
    wanted: NDArray[np.float64],
    fitted: NDArray[np.int64],
) -> Equations:
    """Return equations of energies alone, linear in features of atoms and in cosines of them.

    For pools of so many elements that a few hundred labels teach a linear potential no forces.

    Parameters
    ----------
    numbers : of the atoms of each frame
    vectors : (N, d) features of all atoms
    wanted : (F,) eV, energies to learn
    fitted : frames whose atoms scale the features
    """
    counts = np.array([len(each) for each in numbers])
    starts = np.cumsum([0, *counts[:-1]])
    some = np.isin(np.repeat(np.arange(len(counts)), counts), fitted)
    values = vectors.astype(float)
    spread = values[some].std(0)
    points = ((values - values[some].mean(0)) / np.where(spread > 0, spread, 1)) / values.shape[1] ** 0.5
    rng = np.random.default_rng(0)
    widths = np.exp(rng.uniform(*np.log(WIDTHS), 2 * COSINES))
    cosines = np.cos(
        points @ (rng.normal(size=(points.shape[1], len(widths))) / widths)
        + rng.uniform(0, 2 * np.pi, len(widths))
    )
    cosines *= (2 / len(widths)) ** 0.5
    elements = np.unique(np.concatenate(numbers))
    constants = np.array([[(each == element).sum() for element in elements] for each in numbers])
    rows = np.concatenate(
        [np.add.reduceat(points, starts), np.add.reduceat(cosines, starts), constants], axis=1
    )
    sigmas = SIGMAS["energy"] * counts
    of_cosines = np.zeros(rows.shape[1], dtype=bool)
    of_cosines[points.shape[1] : points.shape[1] + len(widths)] = True
    return Equations(
        (rows / sigmas[:, None]).astype(np.float32), wanted / sigmas, np.arange(len(counts) + 1), of_cosines
    )


def forces_of(equations: Equations) -> Equations:
    """Return the equations with the labels of forces alone."""
    labels = equations.labels.copy()
    labels[equations.starts[:-1]] = np.nan
    for virial in range(1, 7):
        labels[equations.starts[1:] - virial] = np.nan
    return replace(equations, labels=labels)


def _first_with(atoms: Sequence[Any], element: int) -> Any:
    return next(each for each in atoms if element in each.numbers)


class Fits:
    """Fits to the growing beginnings of one order of frames.

    The mean energy of each element is fitted with the rest. A fifth of the frames, by their place in the
    order, chooses the penalties; the last fit is to all. Sums are of doubles: with floats, their rounding was
    the floor of the errors.
    """

    def __init__(self, equations: Equations) -> None:
        self.equations = equations
        p = equations.rows.shape[1]
        self.products = [np.zeros((p, p)) for _ in range(2)]
        self.right = [np.zeros(p) for _ in range(2)]
        self.kept: list[int] = []

    def add(self, frames: Sequence[int], first: int) -> None:
        """Add frames, of which the first has a place in the order."""
        for fold in range(2):
            mine = [frame for place, frame in enumerate(frames, first) if (place % 5 == 4) == bool(fold)]
            for start in range(0, len(mine), 64):
                found = [self.equations.of(frame) for frame in mine[start : start + 64]]
                rows = np.concatenate([part[0] for part in found])
                rows = rows.astype(float)
                self.products[fold] += rows.T @ rows
                self.right[fold] += rows.T @ np.concatenate([part[1] for part in found])
            if fold:
                self.kept += mine

    def solve(self) -> tuple[NDArray[np.float64], float]:
        """Return coefficients and the penalty."""
        rows, labels = (np.concatenate(part) for part in zip(*map(self.equations.of, self.kept), strict=True))
        best, found = np.inf, (0.0, 0.0)
        for dearer in DEARER:
            for penalty in PENALTIES:
                weights = self._ridge(self.products[0], self.right[0], penalty, dearer)
                # absolute errors, so that a few frames under extreme pressure do not choose for all
                error = np.abs(rows @ weights - labels).mean()
                if error < best:
                    best, found = error, (float(penalty), dearer)
        return self._ridge(sum(self.products), sum(self.right), *found), found[0]

    def _ridge(self, products: Any, right: Any, penalty: float, dearer: float) -> NDArray[np.float64]:
        ridge = penalty * np.trace(products) / len(products)
        changed = products + np.diag(ridge * np.where(self.equations.cosines, dearer, 1.0))
        factor = cho_factor(changed, check_finite=False, overwrite_a=True)
        weights: NDArray[np.float64] = cho_solve(factor, right, check_finite=False)
        return weights


def errors_of(
    equations: Equations, weights: NDArray[np.float64], frames: Sequence[int], n_atoms: NDArray[np.int64]
) -> Iterator[dict[str, Any]]:
    """Yield errors of each frame: energy in eV/atom, force components in eV/Å, virial in eV/atom."""
    for frame in frames:
        part, n = slice(equations.starts[frame], equations.starts[frame + 1]), int(n_atoms[frame])
        wrong = (equations.rows[part].astype(float) @ weights - equations.labels[part]) * sigmas_of(n)[
            : part.stop - part.start
        ]
        yield {
            "energy": abs(wrong[0]) / n,
            "forces": np.abs(wrong[1 : 1 + 3 * n]),
            "virial": np.abs(wrong[1 + 3 * n :]) / n,
        }
