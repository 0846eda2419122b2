"""Plausibility checks of labels: row by row, level against level, and against the exploring potential."""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pesatlas.atoms.elements import symbol_of
from pesatlas.atoms.units import EV_PER_A3_TO_GPA
from pesatlas.campaign.layout import Results, within
from pesatlas.config.label import MLIP
from pesatlas.dataset.derive import entropy
from pesatlas.tables import iter_table

# Two functionals that give the same energies to this (eV/atom) are one functional under two names.
SAME_ENERGY = 1e-6

# Signs are compared if there are as many rows, and called wrong at such a correlation: a potential that
# explored knows better.
ENOUGH_ROWS, WRONG_SIGN = 8, -0.5

# Moments below this (μB) are noise of the SCF. Two calculations that are not magnetic may well agree in it,
# to VASP's three decimals.
MAGNETIC = 0.5

# MatPESStaticSet starts elements that its table does not have with this moment (μB).
_OTHERWISE = 0.6

_SWAPPED = {MLIP: "labels of a potential, which are not DFT"}

# Derived numbers are recomputed to this, relative to the largest that goes in.
_ROUNDING = 1e-9


class RowCheck:
    """Problems of a row of one level's dataset.

    Parameters
    ----------
    fingerprints : of the level, as the manifest has them
    atoms : energies of isolated atoms in eV by symbol
    net_force : the rule of that name
    starts : moments (μB) by symbol that the level's own calculations start from, for those that begin with
        another's solution
    """

    def __init__(
        self,
        level: str,
        fingerprints: Collection[str],
        atoms: Mapping[str, float],
        net_force: Mapping[str, Any],
        starts: Mapping[str, float] | None = None,
    ) -> None:
        self.level, self.fingerprints, self.atoms = level, fingerprints, atoms
        self.starts = starts
        self.max_net_force = net_force["limit"] if net_force["then"] == "quarantine" else np.inf

    def __call__(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Yield what cannot be true of a good label."""
        wrong = _wrong_lengths(row)
        if wrong:
            yield f"wrong number of values in {', '.join(wrong)}"
            return
        if not np.isfinite(_numbers(row)).all():
            yield "a number is not finite"
            return
        net = float(np.linalg.norm(np.reshape(row["forces_eV_per_A"], (-1, 3)).sum(axis=0)))
        if net > self.max_net_force:
            yield f"forces sum to {net:.3g} eV/Å, allowed {self.max_net_force}"
        yield from self._level(row)
        yield from _not_a_result(row, self.starts)
        yield from self._derived(row)

    def _level(self, row: Mapping[str, Any]) -> Iterator[str]:
        if row["level"] != self.level:
            yield f"a row of level {row['level']}"
        if row["level_fingerprint"] not in self.fingerprints:
            known = " or ".join(self.fingerprints)
            yield (
                f"different level fingerprints in one dataset: {row['level_fingerprint']}, the manifest "
                f"says {known}"
            )
        functional = _functional(row["settings"])
        if functional not in {None, self.level}:
            yield (
                f"its settings are those of {functional}: "
                f"{_SWAPPED.get(functional, 'functionals are swapped')}"
            )

    def _derived(self, row: Mapping[str, Any]) -> Iterator[str]:
        pressure = -sum(row["stress_eV_per_A3"][:3]) / 3 * EV_PER_A3_TO_GPA
        if not _same(pressure, row["static_pressure_GPa"], row["max_stress_GPa"]):
            yield (
                f"static_pressure_GPa {row['static_pressure_GPa']:.6g} is not that of its stress, "
                f"{pressure:.6g}: flipped or changed"
            )
        smeared = entropy(row["energy_eV"], row["free_energy_eV"]) / len(row["numbers"])
        if not _same(smeared, row["entropy_eV_per_atom"], row["energy_eV"]):
            yield (
                f"entropy_eV_per_atom {row['entropy_eV_per_atom']:.6g} is not T·S of its energies, "
                f"{smeared:.6g}: remove {within('manifest')} and run again"
            )
        forces = np.linalg.norm(np.reshape(row["forces_eV_per_A"], (-1, 3)), axis=1)
        if not np.allclose(forces, row["abs_forces_eV_per_A"], rtol=_ROUNDING, atol=_ROUNDING):
            yield "abs_forces_eV_per_A are not those of its forces"
        symbols = Counter(symbol_of(number) for number in row["numbers"])
        stored = row["cohesive_energy_eV_per_atom"]
        if (stored is not None) and symbols.keys() <= self.atoms.keys():
            cohesive = (row["energy_eV"] - sum(n * self.atoms[s] for s, n in symbols.items())) / len(
                row["numbers"]
            )
            if not _same(cohesive, stored, row["energy_eV"]):
                yield (
                    f"cohesive energy {stored:.6g} eV/atom does not follow from its energy and this level's "
                    f"atoms, {cohesive:.6g}"
                )


class Levels:
    """Check that both levels share snapshots and are not one functional under two names."""

    def __init__(self, levels: Sequence[str]) -> None:
        self.levels = levels
        self.rows: dict[str, dict[str, tuple[float, str, bytes, int | None]]] = {
            level: {} for level in levels
        }

    def add(self, level: str, row: Mapping[str, Any]) -> None:
        """Take note of a row."""
        geometry = hashlib.blake2b(digest_size=8)
        for name in ("numbers", "cell_A", "positions_A"):
            geometry.update(np.asarray(row[name], dtype=float).tobytes())
        per_atom = row["energy_eV"] / max(len(row["numbers"]), 1)
        moments = row["magmoms_muB"]
        known = hash(tuple(moments)) if is_magnetic(moments) else None
        self.rows[level][row["snapshot_id"]] = (per_atom, row["split"], geometry.digest(), known)

    def problems(self) -> list[str]:
        """Return problems between levels."""
        found: list[str] = []
        for a, b in zip(self.levels, self.levels[1:], strict=False):
            left, right = self.rows[a], self.rows[b]
            shared = sorted(left.keys() & right.keys())
            for what, i in (("split", 1), ("geometry", 2)):
                differ = [name for name in shared if left[name][i] != right[name][i]]
                if differ:
                    found.append(
                        f"{what} differs between {a} and {b} in {len(differ)} of {len(shared)}, e.g. "
                        f"{differ[0]}"
                    )
            same = [name for name in shared if abs(left[name][0] - right[name][0]) < SAME_ENERGY]
            if same:
                found.append(
                    f"{len(same)} of {len(shared)} energies are the same at {a} and {b} (e.g. {same[0]}): "
                    "one functional under two names"
                )
            magnetic = [name for name in shared if None not in {left[name][3], right[name][3]}]
            copied = [name for name in magnetic if left[name][3] == right[name][3]]
            # a crystal of one kind of atom may have the same three decimals twice by chance; most of them
            # cannot
            if len(copied) >= ENOUGH_ROWS and 2 * len(copied) > len(magnetic):
                found.append(
                    f"magnetic moments are the same at {a} and {b} in {len(copied)} of {len(magnetic)} rows "
                    f"(e.g. {copied[0]}): those of {b} are the initial ones, which {a} handed over"
                )
        return found


def check_stress_sign(layout: Results) -> list[str]:
    """Return a problem for each level whose stresses run against those of the potential that explored.

    Its sign is flipped.

    Frames of one crystal are compared with their mean: an offset between a level and the potential differs
    from crystal to crystal (lattice constant, k-points, Pulay stress) and says nothing of the sign, while
    traces and off-diagonal components vary from frame to frame, and any potential fit to explore with has
    most of that right. A crystal with one labelled frame says nothing.
    """
    labels = {level: _stresses(layout, level) for level in layout.levels}
    pairs: dict[str, dict[str, list[tuple[list[float], list[float]]]]] = {
        level: {} for level in layout.levels
    }
    columns = ["snapshot_id", "structure_id", "mlip_stress_eV_per_A3"]
    for path in layout.of_batches("snapshots"):
        for piece in iter_table(path, columns):
            names, crystals = piece["snapshot_id"].to_pylist(), piece["structure_id"].to_pylist()
            for i, (name, crystal) in enumerate(zip(names, crystals, strict=True)):
                for level, known in labels.items():
                    if name in known:
                        pair = known[name], piece[columns[-1]][i].as_py()
                        pairs[level].setdefault(crystal, []).append(pair)
    problems = []
    for level, crystals in pairs.items():
        told = [np.array(both) for both in crystals.values() if len(both) > 1]
        if sum(map(len, told)) < ENOUGH_ROWS:
            continue
        parts = [_varying(both[:, 0]) for both in told], [_varying(both[:, 1]) for both in told]
        x, y = (np.concatenate(each) for each in parts)
        scale = np.sqrt((x**2).sum() * (y**2).sum())
        correlation = float((x * y).sum() / scale) if scale > 0 else 0.0
        if correlation < WRONG_SIGN:
            problems.append(
                f"{level}: stresses are anticorrelated with those of the potential (correlation "
                f"{correlation:.2f} over {len(x)} rows): their sign is flipped"
            )
    return problems


def _varying(stresses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return trace, yz, xz and xy of the stresses (n, 6) of one crystal, less their means: (n, 4)."""
    varying = np.column_stack([stresses[:, :3].sum(axis=1), stresses[:, 3:]])
    return varying - varying.mean(axis=0)


def _stresses(layout: Results, level: str) -> dict[str, list[float]]:
    table = pq.read_table(layout.path("dataset", level=level), columns=["snapshot_id", "stress_eV_per_A3"])
    return dict(zip(table.column(0).to_pylist(), table.column(1).to_pylist(), strict=True))


def _wrong_lengths(row: Mapping[str, Any]) -> list[str]:
    n = row["n_atoms"]
    lengths = {
        "numbers": n,
        "positions_A": 3 * n,
        "forces_eV_per_A": 3 * n,
        "abs_forces_eV_per_A": n,
        "cell_A": 9,
        "stress_eV_per_A3": 6,
    }
    optional = ("magmoms_muB", "bader_charges_e", "bader_net_charges_e", "bader_magmoms_muB")
    lengths |= {name: n for name in optional if row[name] is not None}
    return [name for name, length in lengths.items() if len(row[name]) != length]


def _numbers(row: Mapping[str, Any]) -> list[float]:
    lists = ("forces_eV_per_A", "stress_eV_per_A3", "cell_A", "positions_A")
    return [row["energy_eV"], row["free_energy_eV"], *(value for name in lists for value in row[name])]


def _not_a_result(row: Mapping[str, Any], starts: Mapping[str, float] | None) -> Iterator[str]:
    """Yield what tells a calculation that did not finish, or numbers that went in instead of coming out."""
    if not row["converged"]:
        yield "not converged, yet in the dataset"
    most, initial, handed = _limits(row["settings"])
    if most is not None and row["scf_steps"] > most:
        yield f"not converged: {row['scf_steps']} SCF steps, the most there can be are {most}"
    # r2SCAN in VASP starts from PBE's final moments, which may stay to the last of three decimals, above all
    # where they are nearly zero. Such a row is compared with the high-spin table that its level has for all
    # else; that it only repeats PBE's moments shows in many rows, not in one (see Levels).
    if handed:
        symbols = [symbol_of(number) for number in row["numbers"]]
        initial = None if starts is None else tuple(starts.get(symbol, _OTHERWISE) for symbol in symbols)
    moments = row["magmoms_muB"]
    if moments and initial and is_magnetic(initial) and sorted(moments) == sorted(initial):
        yield "its magnetic moments are the initial ones, to the last digit"


def is_magnetic(moments: Sequence[float] | None) -> bool:
    """Whether there are moments, and one that is more than noise."""
    return bool(moments) and max(abs(moment) for moment in moments or ()) >= MAGNETIC


@lru_cache(maxsize=1024)
def _limits(settings: str) -> tuple[int | None, tuple[float, ...] | None, bool]:
    """Return the initial and final magnetic state in a row's settings (GPAW or VASP).

    The most SCF steps of a converged calculation, the initial moments, and whether those are the final ones
    of another calculation.
    """
    known = json.loads(settings)
    incar = known.get("incar", {})
    moments = known.get("moments_muB", incar.get("MAGMOM"))
    # VASP that takes all its steps may or may not have converged, which counts as not
    most = incar["NELM"] - 1 if "NELM" in incar else known.get("max_iterations")
    return most, None if moments is None else tuple(moments), "start" in known


@lru_cache(maxsize=1024)
def _functional(settings: str) -> str | None:
    """Return the level that a row's settings are those of.

    By its potential, GPAW's functional or VASP's METAGGA; None if they do not tell.
    """
    known = json.loads(settings)
    if "potential" in known:
        return MLIP
    if "functional" in known:
        return "r2scan" if "R2SCAN" in known["functional"].upper() else "pbe"
    if "incar" in known:
        return "r2scan" if str(known["incar"].get("METAGGA", "")).upper() == "R2SCAN" else "pbe"
    return None


def _same(first: float, second: float, scale: float) -> bool:
    return bool(abs(first - second) <= _ROUNDING * max(1.0, abs(scale)))
