"""Disagreement of a committee of real potentials: equal to the spread of its predictions, never lost."""

import numpy as np
import pytest
from ase.build import bulk

from pesatlas.config.round import Round
from pesatlas.potentials.committee import MeanPrediction, load_committee, predict
from pesatlas.potentials.potential import VOIGT
from pesatlas.select.disagreement import measure_disagreement
from pesatlas.select.expected_errors import Committee
from pesatlas.tables import FailureReason, read_entry, read_table, write_table
from small_potentials import rattled_salts, save_tensornet, to_batch


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Three small TensorNets that differ by their seed and know where NaCl and MgO have their minimum."""
    folder = tmp_path_factory.mktemp("committee")
    return [save_tensornet(folder / f"mlip-{seed}", steps=150, seed=seed) for seed in (1, 2, 3)]


@pytest.fixture
def options(weights):
    return Round.model_validate(
        {
            "number": 2,
            "previous": "nowhere",
            "committee": [{"kind": "matgl", "path": str(path)} for path in weights],
        }
    )


def row_of(atoms):
    return {
        "n_atoms": len(atoms),
        "numbers": atoms.numbers.tolist(),
        "cell_A": atoms.cell.array.ravel().tolist(),
        "positions_A": atoms.positions.ravel().tolist(),
    }


def test_means_and_standard_deviations_are_those_of_the_members_answers(options, monkeypatch):
    monkeypatch.setattr("pesatlas.potentials.committee.ATOMS_PER_CHUNK", 10)  # several passes
    crystals = rattled_salts()
    members = load_committee(options.committee, "cpu")
    said = list(predict(members, [row_of(atoms) for atoms in crystals]))
    for atoms, opinion in zip(crystals, said, strict=True):
        assert isinstance(opinion, MeanPrediction)
        alone = [member.evaluate(to_batch([atoms])) for member in members]
        energies = np.array([float(each.energies[0]) / len(atoms) for each in alone])
        forces = np.stack([each.forces.numpy() for each in alone])
        stresses = np.stack([each.stresses[0].numpy()[VOIGT] for each in alone])
        assert opinion.energy_eV_per_atom == pytest.approx(energies.mean(), abs=1e-6)
        assert opinion.energy_std_eV_per_atom == pytest.approx(energies.std(ddof=1), rel=1e-3)
        np.testing.assert_allclose(opinion.forces_eV_per_A, forces.mean(axis=0), atol=1e-5)
        by_hand = np.sqrt(((forces - forces.mean(axis=0)) ** 2).sum(axis=(0, 2)) / (len(members) - 1))
        np.testing.assert_allclose(opinion.force_std_eV_per_A, by_hand, atol=1e-5)
        assert opinion.stress_std_eV_per_A3 == pytest.approx(
            np.sqrt(stresses.var(axis=0, ddof=1).mean()), rel=1e-3
        )


def test_turning_a_structure_changes_nothing_that_is_said_of_it(options):
    """Standard deviations are of vectors and tensors, so they do not depend on the axes; that of six
    components does, by nature."""
    atoms = rattled_salts()[0]
    turned = atoms.copy()
    turned.rotate(37, (1, 2, 3), rotate_cell=True)
    members = load_committee(options.committee, "cpu")
    one, other = predict(members, [row_of(atoms), row_of(turned)])
    np.testing.assert_allclose(one.force_std_eV_per_A, other.force_std_eV_per_A, rtol=1e-3, atol=1e-5)
    assert one.energy_std_eV_per_atom == pytest.approx(other.energy_std_eV_per_atom, rel=1e-3)


def test_every_candidate_has_a_row_with_the_clusters_of_its_atoms(options, snapshot, tmp_path):
    """Two shards of a group; one candidate of an element that the committee does not know; frames that are
    no candidates."""
    salts = [*rattled_salts(), bulk("Si", "diamond", 5.43)]
    rows = []
    for i, atoms in enumerate(salts):
        changes = row_of(atoms)
        rows.append(snapshot(f"s-{i}:unit:300K:{i}", atoms.positions, **changes))
    shards = [tmp_path / "00000.parquet", tmp_path / "00001.parquet"]
    for path, part in zip(shards, (rows[:2], rows[2:]), strict=True):
        write_table(path, "snapshots", part, "test")
    clusters = [np.arange(len(atoms)) % 5 + 10 * i for i, atoms in enumerate(salts)]
    table = [
        {
            "snapshot_id": row["snapshot_id"],
            "structure_cluster": 0,
            "atom_clusters": mine,
            "structure_pcs": [0.0],
            "centre_distance": 0.0,
        }
        for row, mine in zip(rows, clusters, strict=True)
    ]
    write_table(tmp_path / "clusters.parquet", "clusters", table, "test")
    kept = [0, 3, 4]
    candidates = [
        {
            "snapshot_id": rows[i]["snapshot_id"],
            "structure_id": rows[i]["structure_id"],
            "domain": "bulk",
            "equilibrium": False,
            "n_atoms": len(salts[i]),
            "geometry": bytes(16),
            "structure_cluster": 0,
            "atom_clusters": np.unique(clusters[i]),
            "structure_pcs": [0.0],
            "centre_distance": 0.0,
            "shard": shards[int(i >= 2)].name,
            "row": i if i < 2 else i - 2,
        }
        for i in kept
    ]
    write_table(tmp_path / "candidates.parquet", "candidates", candidates, "test")
    out = tmp_path / "disagreement.parquet"
    measure_disagreement(options, shards, tmp_path / "clusters.parquet", tmp_path / "candidates.parquet", out)
    said = read_table(out, "disagreement").to_pylist()
    assert [row["snapshot_id"] for row in said] == [rows[i]["snapshot_id"] for i in kept]
    assert read_entry(out).counts == {"asked": 3, "evaluated": 2, "unsupported_element": 1}
    expected = list(predict(load_committee(options.committee, "cpu"), [row_of(salts[i]) for i in kept]))
    for row, i, opinion in zip(said, kept, expected, strict=True):
        assert row["atom_clusters"] == clusters[i].tolist()
        if opinion is FailureReason.UNSUPPORTED_ELEMENT:
            assert (row["reason"], row["force_std_eV_per_A"]) == ("unsupported_element", None)
        else:
            np.testing.assert_allclose(row["force_std_eV_per_A"], opinion.force_std_eV_per_A, rtol=1e-4)
            assert row["force_std_max_eV_per_A"] == pytest.approx(opinion.force_std_eV_per_A.max(), rel=1e-4)
    # what it means for the clusters: root mean square of their atoms, times the factor; the unknown ones get
    # the largest
    numbers = ("values", "std", "expected", "error", "error_low", "error_high")
    whole = dict.fromkeys(numbers, 1.0) | {"quantity": "forces", "bin": 0, "factor": 3.0, "values": 1}
    calibration = tmp_path / "calibration.parquet"
    write_table(calibration, "calibration", [whole | {"held_out": True, "code_version": "test"}], "test")
    ids = read_table(tmp_path / "candidates.parquet", "candidates")["snapshot_id"]
    errors = Committee([out], calibration).expected_errors(ids, 45)
    mine = expected[0].force_std_eV_per_A[clusters[0] == 2]
    assert errors[2] == pytest.approx(3 * np.sqrt((mine**2).mean()), rel=1e-4)
    assert errors[44] == errors.max() == errors[42]
