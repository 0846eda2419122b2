"""The exploring potential on labelled rows: what it says, of which rows, and what becomes of those it cannot
evaluate."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from exploring import argon_rows, explore
from known_thermodynamics import LennardJones
from pesatlas.config.explore import Explore
from pesatlas.potentials.loading import load_potential
from pesatlas.potentials.potential import Batch
from pesatlas.report import parity as module
from pesatlas.report.parity import evaluate_potential
from pesatlas.report.sample import read_rows, sample_ids
from pesatlas.report.softness import LABELS, softness
from pesatlas.tables import SCHEMAS, read_entry, read_table, write_table

DATASET = Path(__file__).parents[1] / "dataset" / "schema_2" / "dataset" / "pbe" / "part-00000.parquet"


@pytest.fixture
def write_dataset(tmp_path):
    """Write a dataset of some geometries, everything else as in a row of the campaign that is kept for
    tests."""
    template = pq.read_table(DATASET).to_pylist()[0]

    def write(rows, name="dataset"):
        path = tmp_path / f"{name}.parquet"
        write_table(path, "dataset", [template | row for row in rows], "test")
        return path

    return write


def evaluated(dataset, tmp_path, **settings):
    evaluate_potential(Explore(**settings), 1, dataset, tmp_path / "parity.parquet")
    return read_table(tmp_path / "parity.parquet", "parity").to_pylist()


def test_values_are_those_of_the_potential_asked_about_one_row_alone(tmp_path):
    rows = evaluated(DATASET, tmp_path)
    potential = load_potential(Explore().potential, "cpu")
    labels = {row["snapshot_id"]: row for row in pq.read_table(DATASET).to_pylist()}
    assert len(rows) == len(labels) == 4
    for row in rows:
        label = labels[row["snapshot_id"]]
        alone = potential.evaluate(
            Batch(
                torch.tensor(label["numbers"]),
                torch.tensor(label["positions_A"], dtype=torch.float64).reshape(-1, 3),
                torch.tensor(label["cell_A"], dtype=torch.float64).reshape(1, 3, 3),
                torch.tensor([2]),
            )
        )
        assert row["mlip_energy_eV"] == pytest.approx(float(alone.energies[0]), abs=1e-5)
        assert row["mlip_forces_eV_per_A"] == pytest.approx(alone.forces.ravel().tolist(), abs=1e-5)
        s = alone.stresses[0]
        voigt = [float(s[i, j]) for i, j in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))]
        assert row["mlip_stress_eV_per_A3"] == pytest.approx(voigt, abs=1e-6)
        assert max(map(abs, row["mlip_forces_eV_per_A"])) > 0.01
        assert row["potential_hash"] == potential.weights_hash
        assert row["reason"] is None
        assert {name: row[name] for name in ("structure_id", "domain", "n_atoms", "numbers")} == {
            name: label[name] for name in ("structure_id", "domain", "n_atoms", "numbers")
        }
    assert read_entry(tmp_path / "parity.parquet").counts == {"dataset": 4, "sampled": 4, "evaluated": 4}


def test_of_snapshots_that_it_explored_the_potential_says_the_same_again(
    tmp_path, write_dataset, monkeypatch
):
    snapshots, _ = explore(tmp_path / "explored", LennardJones(), argon_rows()[:1], length_ps=0.12)
    rows = {row["snapshot_id"]: row for row in snapshots.to_pylist()}
    shared = set(SCHEMAS["snapshots"].names) & set(SCHEMAS["dataset"].names)
    dataset = write_dataset([{name: row[name] for name in shared} for row in rows.values()])
    monkeypatch.setattr(module, "load_potential", lambda *_: LennardJones())
    found = evaluated(dataset, tmp_path, max_atoms_in_memory=8)
    assert len(found) == len(rows) > 4
    for row in found:
        snapshot = rows[row["snapshot_id"]]
        forces = np.reshape(row["mlip_forces_eV_per_A"], (-1, 3))
        assert row["mlip_energy_eV"] == pytest.approx(snapshot["mlip_energy_eV"], abs=1e-10)
        assert row["mlip_stress_eV_per_A3"] == pytest.approx(snapshot["mlip_stress_eV_per_A3"], abs=1e-12)
        largest = np.linalg.norm(forces, axis=1).max()
        assert largest == pytest.approx(snapshot["mlip_max_force_eV_per_A"], abs=1e-9)


def names(count):
    return [{"snapshot_id": f"NaCl:unit:300K-0GPa:{i:07d}"} for i in range(count)]


def test_the_sample_is_limited_and_the_same_for_any_order_of_the_rows(write_dataset):
    rows = names(1500)  # three row groups
    shuffled = np.random.default_rng(0).permutation(rows).tolist()
    first, second = write_dataset(rows), write_dataset(shuffled, "shuffled")
    ids, total = sample_ids(first, "dataset", 1, 100)
    assert sample_ids(second, "dataset", 1, 100) == (ids, total)
    assert (len(ids), total) == (100, 1500)
    assert ids != sorted(row["snapshot_id"] for row in rows)[:100]
    assert sample_ids(first, "dataset", 2, 100)[0] != ids
    drawn = read_rows(second, "dataset", ids, ["snapshot_id", "n_atoms"])
    assert drawn["snapshot_id"].to_pylist() == ids
    assert drawn.column_names == ["snapshot_id", "n_atoms"]
    assert set(sample_ids(first, "dataset", 1, 50)[0]) < set(ids)


def test_shuffled_rows_give_the_same_table_to_the_last_bit(tmp_path, write_dataset, monkeypatch):
    rows = pq.read_table(DATASET).to_pylist()
    monkeypatch.setattr(module, "SAMPLE", 3)
    tables = []
    for name, order in (("a", rows), ("b", rows[::-1])):
        (tmp_path / name).mkdir()
        tables.append(evaluated(write_dataset(order, name), tmp_path / name))
    assert len(tables[0]) == 3
    assert tables[0] == tables[1]
    counts = read_entry(tmp_path / "a" / "parity.parquet").counts
    assert counts == {"dataset": 4, "sampled": 3, "evaluated": 3}


class Moody(LennardJones):
    """Knows no helium, stops on three atoms, and has no finite answer for two."""

    elements = frozenset(range(3, 95))

    def evaluate(self, batch):
        if 3 in batch.n_atoms:
            raise RuntimeError("three is too many")
        said = super().evaluate(batch)
        said.forces[torch.repeat_interleave(batch.n_atoms, batch.n_atoms) == 2] = torch.nan
        return said


def test_what_cannot_be_evaluated_keeps_its_row_without_numbers_and_is_counted(
    tmp_path, write_dataset, monkeypatch
):
    wrong = {"1": [18], "2": [18, 18], "3": [18] * 3, "4": [18] * 4, "5": [18, 2, 18, 18]}
    rows = [
        {
            "snapshot_id": f"Ar:unit:300K-0GPa:{name}",
            "n_atoms": len(numbers),
            "numbers": numbers,
            "cell_A": (np.eye(3) * 8).ravel().tolist(),
            "positions_A": (np.array([0.0, 4, 4, 4, 0, 4, 4, 4, 0, 0, 0, 0])[: 3 * len(numbers)]).tolist(),
        }
        for name, numbers in wrong.items()
    ]
    monkeypatch.setattr(module, "load_potential", lambda *_: Moody())
    found = evaluated(write_dataset(rows), tmp_path)
    assert [row["reason"] for row in found] == [None, "not_finite", "crashed", None, "unsupported_element"]
    for row in found:
        values = (row["mlip_energy_eV"], row["mlip_forces_eV_per_A"], row["mlip_stress_eV_per_A3"])
        assert all((value is None) == (row["reason"] is not None) for value in values)
    counts = read_entry(tmp_path / "parity.parquet").counts
    assert counts == {
        "dataset": 5,
        "sampled": 5,
        "evaluated": 2,
        "not_finite": 1,
        "crashed": 1,
        "unsupported_element": 1,
    }


def test_a_dataset_without_rows_gives_a_table_without_rows(tmp_path, write_dataset):
    assert evaluated(write_dataset([]), tmp_path) == []
    assert read_entry(tmp_path / "parity.parquet").counts == {"dataset": 0, "sampled": 0, "evaluated": 0}


def test_softness_of_labels_that_are_stiffer_than_the_potential(tmp_path, write_dataset):
    rows = evaluated(DATASET, tmp_path)
    stiff = [
        {
            **{name: label[name] for name in label if name.startswith(("snapshot", "structure_id", "pos"))},
            "forces_eV_per_A": (np.array(said["mlip_forces_eV_per_A"]) / 0.8).tolist(),
        }
        for label, said in zip(
            sorted(pq.read_table(DATASET).to_pylist(), key=lambda row: row["snapshot_id"]), rows, strict=True
        )
    ]
    labels = read_rows(write_dataset(stiff), "dataset", [row["snapshot_id"] for row in rows], LABELS)
    found = {
        each["name"]: each["force_slope"]
        for each in softness(pa.Table.from_pylist(rows, SCHEMAS["parity"]), labels)
    }
    assert found == pytest.approx(dict.fromkeys(("", "bulk", "Na", "Cl"), 0.8))
