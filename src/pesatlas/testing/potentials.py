"""Tests of a potential: mechanics, invariances, batches, the gate, and its identity."""

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from ase import Atoms

from pesatlas.errors import UserError
from pesatlas.potentials.gate import pass_gate
from pesatlas.potentials.potential import Evaluation, unknown_elements
from pesatlas.tables import FailureReason
from pesatlas.testing.crystals import crystals_of, rattled, to_batch
from pesatlas.testing.extension import ExtensionTests

_STENCIL = np.array([1, -8, 8, -1]) / 12
_STEPS = (-2, -1, 1, 2)


class PotentialTests(ExtensionTests):
    """Tests of a potential (``pesatlas.potentials``).

    Attributes
    ----------
    device : where it is loaded
    trained : whether it knows crystals, and so has to pass the gate; one with random weights has to be
        refused by it
    energy_eV, force_eV_per_A, stress_eV_per_A3 : by how much answers to the same question may differ; those
        of a float32 model
    slope_eV_per_A, slope_eV_per_A3 : by how much forces and stress may differ from difference quotients of
        the energy

    Fixtures
    --------
    crystals : four or more ASE structures without symmetry, in which atoms feel forces and cells stress; made
        for its elements if not given
    """

    package = "pesatlas.potentials.kinds"
    device: ClassVar[str] = "cpu"
    trained: ClassVar[bool] = True
    energy_eV: ClassVar[float] = 2e-5
    force_eV_per_A: ClassVar[float] = 1e-4
    stress_eV_per_A3: ClassVar[float] = 1e-5
    # float32: 1e-5 eV in the energies is 2e-3 eV/Å in a difference quotient
    slope_eV_per_A: ClassVar[float] = 5e-3
    slope_eV_per_A3: ClassVar[float] = 2e-4

    @pytest.fixture(scope="class")
    @classmethod
    def potential(cls, module: Any, settings: Any) -> Any:
        """Load it."""
        return module.load(settings, cls.device)

    @pytest.fixture(scope="class")
    @classmethod
    def crystals(cls, potential: Any) -> list[Atoms]:
        """Crystals to ask it about."""
        return crystals_of(potential.elements)

    def _same(self, one: Evaluation, other: Evaluation, times: float = 1.0) -> None:
        for name, allowed in (
            ("energies", self.energy_eV),
            ("forces", self.force_eV_per_A),
            ("stresses", self.stress_eV_per_A3),
        ):
            torch.testing.assert_close(
                getattr(one, name),
                getattr(other, name),
                rtol=1e-5,
                atol=allowed * times,
                msg=lambda message, name=name: f"{name}: {message}",  # type: ignore[misc]
            )

    def test_it_says_what_it_is(self, potential: Any, module: Any, settings: Any) -> None:
        assert "/" in potential.name, "kind and name"
        assert len(potential.weights_hash) == 64
        assert int(potential.weights_hash, 16)
        assert hash(settings) == hash(settings.model_copy()), "it is kept by its options: tuples, no lists"
        known = module.elements(settings)
        assert frozenset(known) == potential.elements, "as known before it is loaded, and after"
        assert known
        assert known <= set(range(1, 119))
        if hasattr(module, "identify"):
            told = module.identify(settings)
            assert (told.name, told.weights_hash) == (potential.name, potential.weights_hash)
            assert all(told.versions.values())

    def test_units_shapes_and_types(self, potential: Any, crystals: list[Atoms]) -> None:
        found = potential.evaluate(to_batch(crystals))
        atoms = sum(map(len, crystals))
        shapes = [tuple(each.shape) for each in (found.energies, found.forces, found.stresses)]
        assert shapes == [(len(crystals),), (atoms, 3), (len(crystals), 3, 3)]
        for each in (found.energies, found.forces, found.stresses):
            assert each.dtype == torch.float64
            assert not each.requires_grad
            assert each.device == potential.device
            assert torch.isfinite(each).all()
        assert torch.equal(found.stresses, found.stresses.mT), "a stress is symmetric"

    def test_forces_are_the_slope_of_the_energy(self, potential: Any, crystals: list[Atoms]) -> None:
        crystal = max(crystals, key=len)
        forces = potential.evaluate(to_batch([crystal])).forces.cpu().numpy()
        places, step, moved = [(0, 0), (len(crystal) // 2, 1), (len(crystal) - 1, 2)], 0.01, []
        for atom, axis in places:
            for steps in _STEPS:
                copy = crystal.copy()
                copy.positions[atom, axis] += steps * step
                moved.append(copy)
        energies = potential.evaluate(to_batch(moved)).energies.cpu().numpy().reshape(-1, 4)
        assert np.abs(forces).max() > 5 * self.slope_eV_per_A, "there is nothing to compare"
        np.testing.assert_allclose(
            -energies @ _STENCIL / step,
            [forces[place] for place in places],
            rtol=0.01,
            atol=self.slope_eV_per_A,
        )

    def test_stress_is_the_slope_of_the_energy_along_strain_and_tension_is_positive(
        self, potential: Any, crystals: list[Atoms]
    ) -> None:
        crystal = crystals[0]
        found = potential.evaluate(to_batch([crystal])).stresses[0].cpu().numpy()
        components, step, strained = [(0, 0), (2, 2), (0, 1), (1, 2)], 0.002, []
        for row, column in components:
            for steps in _STEPS:
                deformation = np.eye(3)
                deformation[row, column] += steps * step / 2
                deformation[column, row] += steps * step / 2
                copy = crystal.copy()
                copy.set_cell(crystal.cell[:] @ deformation, scale_atoms=True)
                strained.append(copy)
        energies = potential.evaluate(to_batch(strained)).energies.cpu().numpy().reshape(-1, 4)
        slopes = energies @ _STENCIL / step / crystal.get_volume()
        assert np.abs(slopes).max() > 5 * self.slope_eV_per_A3, "there is nothing to compare, nor its sign"
        np.testing.assert_allclose(
            slopes, [found[place] for place in components], rtol=0.02, atol=self.slope_eV_per_A3
        )

    def test_a_batch_is_its_structures_one_by_one(self, potential: Any, crystals: list[Atoms]) -> None:
        together = potential.evaluate(to_batch(crystals))
        alone = [potential.evaluate(to_batch([crystal])) for crystal in crystals]
        self._same(together, _joined(alone))

    def test_a_batch_larger_than_one_pass(self, potential: Any, crystals: list[Atoms]) -> None:
        times = -(-400 // sum(map(len, crystals)))
        found = potential.evaluate(to_batch(crystals * times))
        self._same(found, _joined([potential.evaluate(to_batch(crystals))] * times))

    def test_the_same_question_has_the_same_answer_to_the_last_bit(
        self, potential: Any, crystals: list[Atoms]
    ) -> None:
        batch = to_batch(crystals * 3)
        threads = torch.get_num_threads()
        torch.set_num_threads(8)  # more than cores, so that they come in another order each time
        try:
            one, *others = (potential.evaluate(batch) for _ in range(5))
        finally:
            torch.set_num_threads(threads)
        for other in others:
            for name in ("energies", "forces", "stresses"):
                assert torch.equal(getattr(one, name), getattr(other, name)), name

    def test_loaded_again_it_is_the_same(
        self, potential: Any, module: Any, settings: Any, crystals: list[Atoms]
    ) -> None:
        again = module.load(settings, self.device)
        assert (again.name, again.weights_hash) == (potential.name, potential.weights_hash)
        batch = to_batch(crystals)
        self._same(again.evaluate(batch), potential.evaluate(batch))

    def test_order_of_atoms_is_of_no_consequence(self, potential: Any, crystals: list[Atoms]) -> None:
        crystal = max(crystals, key=len)
        order = np.random.default_rng(5).permutation(len(crystal))
        found, shuffled = (potential.evaluate(to_batch([each])) for each in (crystal, crystal[order]))
        self._same(shuffled, Evaluation(found.energies, found.forces[order], found.stresses))

    def test_translation_and_images_are_of_no_consequence(
        self, potential: Any, crystals: list[Atoms]
    ) -> None:
        crystal = crystals[0]
        moved = crystal.copy()
        moved.positions += [0.37, -5.1, 11.3]
        moved.positions[-1] += 2 * crystal.cell[1] - crystal.cell[2]
        found, other = (potential.evaluate(to_batch([each])) for each in (crystal, moved))
        self._same(found, other, times=3)

    def test_rotation_turns_forces_and_stress(self, potential: Any, crystals: list[Atoms]) -> None:
        crystal = crystals[0]
        turn, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))
        turned = crystal.copy()
        turned.set_cell(crystal.cell[:] @ turn)
        turned.positions = crystal.positions @ turn
        found, other = (potential.evaluate(to_batch([each])) for each in (crystal, turned))
        matrix = torch.tensor(turn, device=potential.device)
        expected = Evaluation(found.energies, found.forces @ matrix, matrix.T @ found.stresses @ matrix)
        self._same(other, expected, times=3)

    def test_a_supercell_has_twice_the_energy(self, potential: Any, crystals: list[Atoms]) -> None:
        crystal = min(crystals, key=len)
        found = potential.evaluate(to_batch([crystal]))
        doubled = potential.evaluate(to_batch([crystal * (1, 2, 1)]))
        expected = Evaluation(2 * found.energies, found.forces.repeat(2, 1), found.stresses)
        self._same(doubled, expected, times=3)

    def test_forces_sum_to_zero(self, potential: Any, crystals: list[Atoms]) -> None:
        found = potential.evaluate(to_batch([max(crystals, key=len)]))
        assert found.forces.sum(0).abs().max() < 1e-10

    def test_wreckage_harms_no_neighbour(self, potential: Any, crystals: list[Atoms]) -> None:
        sound = potential.evaluate(to_batch(crystals))
        wrecks = [rattled(crystals[i], 9) for i in (0, 1)]
        wrecks[0].positions[-1, 1] = np.nan
        # hundreds of atoms/Å³: no memory holds the neighbours
        wrecks[1].set_cell(wrecks[1].cell[:] * 0.1, scale_atoms=True)
        found = potential.evaluate(to_batch([crystals[0], wrecks[0], *crystals[1:], wrecks[1]]))
        first, last = len(crystals[0]), len(wrecks[1])
        assert torch.isnan(found.energies[[1, -1]]).all(), "NaN, and no error: dynamics ends these alone"
        assert torch.isnan(found.stresses[[1, -1]]).all()
        assert torch.isnan(found.forces[first : 2 * first]).all()
        kept = [0, *range(2, len(crystals) + 1)]
        forces = torch.cat([found.forces[:first], found.forces[2 * first : -last]])
        self._same(Evaluation(found.energies[kept], forces, found.stresses[kept]), sound)

    def test_atoms_without_neighbours_feel_nothing(self, potential: Any, crystals: list[Atoms]) -> None:
        lonely = Atoms(
            min(crystals, key=len).numbers[:2], [[0, 0, 0], [20, 20, 20]], cell=np.eye(3) * 40, pbc=True
        )
        found = potential.evaluate(to_batch([lonely]))
        assert torch.isfinite(found.energies).all()
        assert torch.equal(found.forces, torch.zeros_like(found.forces))
        assert torch.equal(found.stresses, torch.zeros_like(found.stresses))

    def test_an_element_that_it_does_not_know_is_a_failure(self, potential: Any) -> None:
        unknown = sorted(set(range(1, 119)) - potential.elements)
        for number in unknown[:1]:
            failure = unknown_elements(potential, [number, *potential.elements])
            assert failure is not None
            assert failure.reason == FailureReason.UNSUPPORTED_ELEMENT
        assert unknown_elements(potential, potential.elements) is None

    def test_the_gate_knows_whether_it_may_explore(self, potential: Any) -> None:
        if self.trained:
            pass_gate(potential)
        else:
            with pytest.raises(UserError):
                pass_gate(potential)

    def test_other_options_that_give_other_forces_are_another_potential(
        self, potential: Any, module: Any, settings: Any, other_settings: Any, crystals: list[Atoms]
    ) -> None:
        other = module.load(other_settings, self.device)
        if other.elements == potential.elements:
            batch = to_batch(crystals)
            assert not torch.equal(other.evaluate(batch).forces, potential.evaluate(batch).forces)
        of_both = [
            (settings.identity(), potential.weights_hash),
            (other_settings.identity(), other.weights_hash),
        ]
        assert of_both[0] != of_both[1]


def _joined(many: list[Evaluation]) -> Evaluation:
    return Evaluation(
        *(torch.cat([getattr(each, name) for each in many]) for name in ("energies", "forces", "stresses"))
    )
