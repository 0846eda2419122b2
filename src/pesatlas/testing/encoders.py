"""Tests of an encoder: batches, and invariances of its vectors."""

from typing import Any

import numpy as np
import pytest
from ase import Atoms

from pesatlas.potentials.encoder import Frame
from pesatlas.testing.crystals import crystals_of
from pesatlas.testing.extension import ExtensionTests


def frame_of(atoms: Atoms) -> Frame:
    """Return an ASE structure as encoders are given it."""
    return Frame(atoms.numbers, atoms.positions.copy(), np.array(atoms.cell))


class EncoderTests(ExtensionTests):
    """Tests of an encoder (``pesatlas.encoders``).

    Fixtures
    --------
    crystals : ASE structures without symmetry, the first of more atoms than one; made for its elements if not
        given
    """

    package = "pesatlas.encode.encoders"

    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls, module: Any, settings: Any) -> Any:
        """Load it."""
        return module.load(settings, "cpu")

    @pytest.fixture(scope="class")
    @classmethod
    def crystals(cls, encoder: Any) -> list[Atoms]:
        """Crystals to ask it about."""
        return crystals_of(encoder.elements)

    def test_it_says_whose_features_they_are(self, encoder: Any) -> None:
        assert "/" in encoder.name, "kind and name"
        assert len(encoder.weights_hash) == 64
        assert encoder.elements <= set(range(1, 119))
        assert encoder.elements
        assert min(encoder.structure_dim, encoder.atom_dim) >= 1

    def test_shapes_order_and_batches(self, encoder: Any, crystals: list[Atoms]) -> None:
        structures, atoms = encoder.encode([frame_of(each) for each in crystals])
        assert structures.dtype == atoms.dtype == np.float32
        assert structures.shape == (len(crystals), encoder.structure_dim)
        assert atoms.shape == (sum(map(len, crystals)), encoder.atom_dim)
        start = 0
        for i, crystal in enumerate(crystals):
            alone, its_atoms = encoder.encode([frame_of(crystal)])
            np.testing.assert_allclose(alone[0], structures[i], atol=2e-5, rtol=1e-4)
            np.testing.assert_allclose(its_atoms, atoms[start : start + len(crystal)], atol=2e-5, rtol=1e-4)
            start += len(crystal)

    def test_different_structures_have_different_vectors(self, encoder: Any, crystals: list[Atoms]) -> None:
        crystal, other = crystals[0], crystals[0].copy()
        other.rattle(0.05, seed=9)
        structures, atoms = encoder.encode([frame_of(crystal), frame_of(other)])
        assert np.abs(structures[0] - structures[1]).max() > 1e-4
        assert np.abs(atoms[: len(crystal)] - atoms[len(crystal) :]).max() > 1e-4

    def test_a_supercell_has_the_vector_of_its_unit_cell(self, encoder: Any, crystals: list[Atoms]) -> None:
        from ase.build import make_supercell

        crystal = crystals[-1]
        large = make_supercell(crystal, [[1, 1, 0], [0, 2, 0], [0, 0, 2]])
        structures, atoms = encoder.encode([frame_of(crystal), frame_of(large)])
        np.testing.assert_allclose(structures[1], structures[0], atol=1e-5 * np.abs(structures[0]).max())
        # atoms too, whatever the order in which the supercell lists them
        n = len(crystal)
        spread = np.abs(atoms[n:, None] - atoms[None, :n]).max(axis=2).min(axis=1)
        assert spread.max() < 1e-4 * np.abs(atoms).max()

    def test_translation_rotation_and_wrapping_change_nothing(
        self, encoder: Any, crystals: list[Atoms]
    ) -> None:
        crystal = crystals[0]
        turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
        turn *= np.sign(np.linalg.det(turn))
        given = frame_of(crystal)
        moved = Frame(
            given.numbers, (given.positions + np.array([0.3, -1.7, 40.0])) @ turn, given.cell @ turn
        )
        wrapped = crystal.copy()
        wrapped.positions += crystal.cell[0] * (np.arange(len(crystal)) % 5 - 2)[:, None]
        structures, atoms = encoder.encode([given, moved, frame_of(wrapped)])
        n = len(crystal)
        for i in (1, 2):
            np.testing.assert_allclose(structures[i], structures[0], atol=1e-5 * np.abs(structures[0]).max())
            np.testing.assert_allclose(
                atoms[n * i : n * (i + 1)], atoms[:n], atol=1e-4 * np.abs(atoms[:n]).max()
            )

    def test_permutation_permutes_atoms_only(self, encoder: Any, crystals: list[Atoms]) -> None:
        crystal = crystals[0]
        n, order = len(crystal), np.random.default_rng(5).permutation(len(crystal))
        structures, atoms = encoder.encode([frame_of(crystal), frame_of(crystal[order])])
        np.testing.assert_allclose(structures[1], structures[0], atol=1e-5 * np.abs(structures[0]).max())
        np.testing.assert_allclose(atoms[n:], atoms[:n][order], atol=1e-4 * np.abs(atoms[:n]).max())

    def test_an_atom_alone_is_described_without_harm_to_others(
        self, encoder: Any, crystals: list[Atoms]
    ) -> None:
        alone = Frame(crystals[0].numbers[:1], np.zeros((1, 3)), np.eye(3) * 20.0)
        assert np.isfinite(encoder.encode([alone])[0]).all()
        structures, _ = encoder.encode([alone, frame_of(crystals[0])])
        expected, _ = encoder.encode([frame_of(crystals[0])])
        assert np.isfinite(structures).all()
        np.testing.assert_allclose(structures[1], expected[0], atol=1e-5 * np.abs(expected).max())

    def test_wreckage_is_marked_and_harms_no_neighbour(self, encoder: Any, crystals: list[Atoms]) -> None:
        wreck = Frame(np.repeat(crystals[0].numbers[:1], 60), np.zeros((60, 3)), np.eye(3) * 3.0)
        structures, atoms = encoder.encode([wreck, frame_of(crystals[0])])
        assert np.isnan(structures[0]).all(), "NaN, and no error: the frame is never picked"
        assert np.isnan(atoms[:60]).all()
        expected, _ = encoder.encode([frame_of(crystals[0])])
        np.testing.assert_allclose(structures[1], expected[0], atol=1e-5)

    def test_other_options_that_give_other_vectors_are_another_encoder(
        self, encoder: Any, module: Any, settings: Any, other_settings: Any
    ) -> None:
        other = module.load(other_settings, "cpu")
        mine = settings.identity(), encoder.weights_hash
        assert mine != (other_settings.identity(), other.weights_hash)
