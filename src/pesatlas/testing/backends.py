"""Tests of a labelling backend: levels, one calculation from input to verified result, physics, refusals."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from pesatlas.label.backend import TRANSIENT, Failed, Result, Task, from_bytes, to_bytes
from pesatlas.label.isolated_atoms import task_of_atom
from pesatlas.levels.level import Level, difference
from pesatlas.levels.lookup import levels_of, supported_elements
from pesatlas.tables import FailureReason
from pesatlas.testing.extension import ExtensionTests
from pesatlas.testing.workdir import alive, make_workdir

# Aluminium phosphide, rattled and strained with shear: no symmetry that could hide a wrong sign or order.
_CELL = 2.7255 * (1 - np.eye(3)) @ np.array([[1.02, 0.01, 0.0], [0.0, 0.99, 0.015], [0.005, 0.0, 1.01]])
_POSITIONS = np.array([[0.05, -0.03, 0.02], [1.30, 1.42, 1.33]])
_VOIGT = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]


class BackendTests(ExtensionTests):
    """Tests of a labelling backend (``pesatlas.backends``).

    Attributes
    ----------
    levels : names of the levels that it gives with these options
    numbers, cell_A, positions_A : a small crystal without symmetry: rattled AlP if not given
    program : whether it runs a program, which ends when its time is up
    atom : whether an isolated atom is calculated, too
    slopes : whether forces and stress are compared with slopes of the free energy, which takes eight
        calculations more
    force_eV_per_A, stress_eV_per_A3 : by how much they may differ
    energy_eV : by how much two calculations of one crystal may differ
    """

    package = "pesatlas.label.backends"
    levels: ClassVar[Sequence[str]] = ("pbe",)
    numbers: ClassVar[Sequence[int]] = (13, 15)
    cell_A: ClassVar[Any] = _CELL
    positions_A: ClassVar[Any] = _POSITIONS
    timeout_s: ClassVar[float] = 600.0
    program: ClassVar[bool] = True
    atom: ClassVar[bool] = True
    slopes: ClassVar[bool] = True
    energy_eV: ClassVar[float] = 1e-3
    force_eV_per_A: ClassVar[float] = 3e-3
    stress_eV_per_A3: ClassVar[float] = 1.5e-3

    def calculate_another_structure(self, module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make the program calculate other atoms than it is asked for.

        Override it, and see that this is found out.
        """
        del module, monkeypatch
        pytest.skip("calculate_another_structure is not overridden")

    @pytest.fixture
    def ready(self) -> None:
        """Put there what the program needs: override it for an environment of its own."""

    @pytest.fixture
    def level(self, ready: None, settings: Any) -> Level:
        """Return the first level of these options."""
        del ready
        return levels_of(settings, list(self.levels))[self.levels[0]]

    @pytest.fixture
    def task(self, level: Level) -> Task:
        """Return the calculation of the crystal."""
        return Task(np.array(self.numbers), np.array(self.cell_A), np.array(self.positions_A), level)

    def _calculate(self, module: Any, settings: Any, task: Task, folder: Path) -> Result:
        found = module.calculate(task, settings, make_workdir(folder, self.timeout_s))
        assert isinstance(found, Result), found
        return found

    def test_levels_are_told_the_same_each_time(self, ready: None, settings: Any) -> None:
        del ready
        found = levels_of(settings, list(self.levels))
        assert list(found) == list(self.levels)
        for name, level in found.items():
            assert level.name == name
            assert level.functional.strip()
            assert level.code, "codes and libraries, with versions"
            assert all(level.code.values())
            assert json.loads(json.dumps(level.identity())) == level.identity()
        again = levels_of(settings, list(self.levels))
        assert [each.fingerprint for each in found.values()] == [each.fingerprint for each in again.values()]

    def test_other_options_are_another_level(self, level: Level, other_settings: Any) -> None:
        other = levels_of(other_settings, list(self.levels))[self.levels[0]]
        assert difference(level, other), "what decides results is in the level"

    def test_elements_are_atomic_numbers(self, ready: None, settings: Any) -> None:
        del ready
        known = supported_elements(settings)
        assert set(self.numbers) <= known <= set(range(1, 119))

    def test_a_calculation_is_checked_and_told_in_full(
        self, module: Any, settings: Any, task: Task, tmp_path: Path
    ) -> None:
        if hasattr(module, "check"):
            module.check(settings)
        before = [task.numbers.copy(), task.cell.copy(), task.positions.copy()]
        found = self._calculate(module, settings, task, tmp_path)
        for mine, given in zip((task.numbers, task.cell, task.positions), before, strict=True):
            np.testing.assert_array_equal(mine, given)
        n = len(task.numbers)
        assert np.shape(found.forces_eV_per_A) == (n, 3)
        assert np.shape(found.stress_eV_per_A3) == (6,)
        numbers = [
            found.energy_eV,
            found.free_energy_eV,
            *np.ravel(found.forces_eV_per_A),
            *found.stress_eV_per_A3,
        ]
        assert np.isfinite(numbers).all()
        assert np.linalg.norm(np.sum(found.forces_eV_per_A, axis=0)) < 0.02 * n
        assert found.magmoms_muB is None or len(found.magmoms_muB) == n
        assert found.converged
        assert not found.quarantine_reasons
        assert found.wall_s >= 0
        assert found.pseudopotentials, "name and hash of each"
        assert found.settings, "of this calculation, in full"
        assert from_bytes(to_bytes(found)) == found, "plain numbers, lists and text, as the store keeps them"
        assert alive(tmp_path) == []

    def test_forces_come_in_the_order_of_the_atoms(
        self, module: Any, settings: Any, task: Task, tmp_path: Path
    ) -> None:
        order = np.arange(len(task.numbers))[::-1]
        turned = replace(task, numbers=task.numbers[order], positions=task.positions[order])
        found = self._calculate(module, settings, task, tmp_path / "a")
        other = self._calculate(module, settings, turned, tmp_path / "b")
        assert other.energy_eV == pytest.approx(found.energy_eV, abs=self.energy_eV)
        forces = np.array(found.forces_eV_per_A)
        assert np.abs(forces).max() > 4 * self.force_eV_per_A, "give atoms that feel forces"
        np.testing.assert_allclose(other.forces_eV_per_A, forces[order], atol=self.force_eV_per_A)
        np.testing.assert_allclose(other.stress_eV_per_A3, found.stress_eV_per_A3, atol=self.stress_eV_per_A3)

    def test_forces_and_stress_are_slopes_of_the_free_energy_and_tension_is_positive(
        self, module: Any, settings: Any, task: Task, tmp_path: Path
    ) -> None:
        if not self.slopes:
            pytest.skip("slopes = False")
        base = self._calculate(module, settings, task, tmp_path / "base")

        def slope(name: str, ends: list[Task], over: float) -> float:
            energies = [
                self._calculate(module, settings, end, tmp_path / f"{name}{i}").free_energy_eV
                for i, end in enumerate(ends)
            ]
            return (energies[0] - energies[1]) / over

        atom, step, moved = len(task.numbers) - 1, 0.01, []
        for sign in (1, -1):
            positions = task.positions.copy()
            positions[atom, 0] += sign * step
            moved.append(replace(task, positions=positions))
        force = -slope("force", moved, 2 * step)
        assert base.forces_eV_per_A[atom][0] == pytest.approx(force, abs=self.force_eV_per_A)
        volume, strain, found = abs(float(np.linalg.det(task.cell))), 0.005, []
        # a normal and a shear component fix sign, unit and order
        for component in (0, 3, 5):
            i, j = _VOIGT[component]
            strained = []
            for sign in (1, -1):
                turn = np.eye(3)
                turn[i, j] += sign * strain / 2
                turn[j, i] += sign * strain / 2
                strained.append(replace(task, cell=task.cell @ turn, positions=task.positions @ turn))
            found.append(slope(f"stress{component}-", strained, 2 * strain * volume))
        mine = [base.stress_eV_per_A3[component] for component in (0, 3, 5)]
        np.testing.assert_allclose(mine, found, atol=self.stress_eV_per_A3)
        assert np.abs(found).max() > 2 * self.stress_eV_per_A3, "give a crystal that is under stress"

    def test_an_isolated_atom_is_calculated_or_refused(
        self, module: Any, settings: Any, level: Level, tmp_path: Path
    ) -> None:
        if not self.atom:
            pytest.skip("atom = False")
        task = task_of_atom(min(self.numbers), level)
        outcome = module.calculate(task, settings, make_workdir(tmp_path, self.timeout_s))
        if isinstance(outcome, Failed):
            assert outcome.reason == FailureReason.MISSING_REFERENCE_ATOM, outcome
        else:
            assert np.isfinite(outcome.energy_eV)

    def test_an_element_that_it_does_not_know_is_a_failure_with_its_reason(
        self, module: Any, settings: Any, task: Task, tmp_path: Path
    ) -> None:
        unknown = sorted(set(range(1, 119)) - supported_elements(settings))
        if not unknown:
            return
        other = replace(task, numbers=np.array([unknown[0], *task.numbers[1:]]))
        outcome = module.calculate(other, settings, make_workdir(tmp_path, self.timeout_s))
        assert isinstance(outcome, Failed), "returned, not raised"
        assert outcome.reason not in TRANSIENT, "another attempt will not help"
        assert outcome.detail

    def test_no_time_is_a_failure_that_leaves_no_process_behind(
        self, module: Any, settings: Any, task: Task, tmp_path: Path
    ) -> None:
        outcome = module.calculate(task, settings, make_workdir(tmp_path, 0.05))
        if self.program:
            assert isinstance(outcome, Failed), outcome
            assert outcome.reason == FailureReason.TIMEOUT
        assert alive(tmp_path) == []

    def test_another_structure_than_was_asked_for_is_found_out(
        self, module: Any, settings: Any, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.calculate_another_structure(module, monkeypatch)
        outcome = module.calculate(task, settings, make_workdir(tmp_path, self.timeout_s))
        assert isinstance(outcome, Failed), outcome
        assert outcome.reason == FailureReason.WRONG_STRUCTURE
