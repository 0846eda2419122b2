"""Potentials that are trained: the same after a kill, what fine-tuning keeps, what they say of themselves,
who takes them."""

import json
import os
import signal
import subprocess
import sys
import time

import matgl
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from ase.build import bulk
from matgl.ext.ase import PESCalculator

from labelled_campaign import dataset_rows, frames, pair_labels, write_dataset, write_results
from pesatlas.campaign.layout import below, path_of
from pesatlas.errors import UserError
from pesatlas.potentials.kinds import matgl as kind
from pesatlas.potentials.weights import directory_sha256, load_matgl
from pesatlas.tables import read_table
from pesatlas.train import training_state
from small_campaign import ROOT
from small_potentials import rattled, to_batch
from training import campaign_in, train


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A potential that saw its data eight times."""
    folder = tmp_path_factory.mktemp("train")
    return folder, train(folder, epochs=8, learning_rate=3e-3)


def card_of(potential):
    return json.loads((potential / "card.json").read_text())


def score(card, of, split="test", group="all", name=""):
    (found,) = [
        each
        for each in card["scores"]
        if (each["of"], each["split"], each["group"], each["name"]) == (of, split, group, name)
    ]
    return found


PROGRAM = (
    "import sys; from pathlib import Path; from training import train; train(Path(sys.argv[1]), epochs=4, "
    "checkpoint_interval_s=0.0)"
)


@pytest.mark.first
def test_a_killed_training_gives_the_same_weights_to_the_last_bit(tmp_path):
    quiet = train(tmp_path / "quiet", epochs=4)
    disturbed = tmp_path / "disturbed"
    write_results(disturbed / "results")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(disturbed)], env=environment, stderr=subprocess.DEVNULL
    )
    standing, deadline = None, time.monotonic() + 120
    # within an epoch, with a history behind it
    while not (standing and standing.epoch >= 1 and standing.batches >= 2):
        assert process.poll() is None
        assert time.monotonic() < deadline
        path = next((disturbed / "work").glob("*/checkpoint.pt"), None)
        standing = training_state.load(path) if path else None
    process.send_signal(signal.SIGKILL)
    process.wait()
    found = training_state.load(path)
    assert not found.finished
    assert not (disturbed / "results/potentials").exists()
    potential = train(disturbed, epochs=4)
    assert directory_sha256(potential) == directory_sha256(quiet)
    histories = [
        read_table(folder / "history.parquet", "history").drop_columns(["wall_s"])
        for folder in (quiet, potential)
    ]
    assert histories[0].equals(histories[1])
    assert not list((disturbed / "work").glob("*/"))


def test_it_learns_and_says_how_far_it_is_from_simpler_guesses(finished):
    _, potential = finished
    card = card_of(potential)
    assert card["level"] == "pbe"
    assert {each["level"] for each in card["scores"]} == {"pbe"}
    assert card["data"]["rows"] == {"train": 48, "valid": 6, "test": 6}
    trained, untrained, means = (score(card, of) for of in ("trained", "untrained", "means"))
    assert trained["energy_mae_meV_per_atom"] < untrained["energy_mae_meV_per_atom"]
    assert trained["force_mae_meV_per_A"] < 0.9 * means["force_mae_meV_per_A"]
    # the numbers of the card by another way: ASE's calculator of matgl, one by one
    crystals, _ = frames(60)
    test = [crystals[k] for k in range(60) if k % 10 == 9]
    calculator = PESCalculator(matgl.load_model(potential), stress_unit="eV/A3")
    right = pair_labels(test)
    energy, force, stress = [], [], []
    for atoms, e, f, s in zip(test, right.energies, right.forces, right.stresses, strict=True):
        atoms.calc = calculator
        energy.append(abs(atoms.get_potential_energy() - e) / len(atoms))
        force.append(np.abs(atoms.get_forces() - f).ravel())
        stress.append(np.abs(atoms.get_stress() - s))
    assert trained["energy_mae_meV_per_atom"] == pytest.approx(1000 * np.mean(energy), rel=1e-3, abs=0.01)
    assert trained["force_mae_meV_per_A"] == pytest.approx(1000 * np.concatenate(force).mean(), rel=1e-3)
    assert trained["stress_mae_GPa"] == pytest.approx(160.21766208 * np.mean(stress), rel=1e-3)
    text = (potential / "card.md").read_text()
    assert card["weights_sha256"] in text
    assert "isolated atoms at this level" in text


def test_elements_start_from_isolated_atoms_of_the_same_level(finished, tmp_path):
    _, potential = finished
    card = card_of(potential)
    assert card["references"]["energies_eV"] == pytest.approx({"O": -3.2, "Na": -1.3, "Mg": -0.7, "Cl": -2.1})
    results = write_results(tmp_path / "results", fingerprint="f2")
    with pytest.raises(UserError, match="no isolated atom of O, Na, Mg, Cl at level pbe"):
        train(tmp_path)
    assert results.is_dir()
    fitted = card_of(train(tmp_path, references="fit", epochs=1))
    assert fitted["references"]["from"] == "fit"


def test_the_campaign_and_plain_matgl_take_it(finished):
    _, potential = finished
    crystal = rattled(bulk("NaCl", "rocksalt", 5.4), 1)
    ours = kind.load(kind.Options(path=potential, sha256=card_of(potential)["weights_sha256"]), "cpu")
    crystal.calc = PESCalculator(matgl.load_model(potential), stress_unit="eV/A3")
    said = ours.evaluate(to_batch([crystal]))
    assert said.energies[0] == pytest.approx(crystal.get_potential_energy(), abs=1e-5)
    assert np.allclose(said.forces, crystal.get_forces(), atol=1e-5)
    assert kind.elements(kind.Options(path=potential)) == {8, 11, 12, 17}


def test_what_was_trained_once_is_in_the_store(finished, tmp_path, monkeypatch):
    folder, potential = finished
    monkeypatch.setattr("pesatlas.train.training._train", lambda *_: pytest.fail("trained again"))
    again = train(folder, epochs=8, learning_rate=3e-3, name="again")
    for name in ("model.pt", "state.pt"):
        assert (again / name).read_bytes() == (potential / name).read_bytes()


def test_seeds_differ(finished):
    folder, potential = finished
    other = train(folder, seed=4, epochs=1)
    first, second = (load_matgl(each).state_dict() for each in (potential, other))
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_fine_tuning_keeps_elements_scaling_and_references_and_tells_what_was_forgotten(finished, tmp_path):
    folder, base = finished
    # rock salts alone, squeezed; other numbers than the base's dataset has
    squeezed = [rattled(bulk("NaCl", "rocksalt", 4.9), k) for k in range(40)]
    splits = ["valid" if k >= 32 else "train" for k in range(40)]
    write_results(tmp_path / "results")
    part = tmp_path / path_of("dataset", level="pbe")
    write_dataset(part, dataset_rows(squeezed, ["NaCl"] * 40, splits))
    kept = folder / "results/dataset/pbe"
    potential = train(
        tmp_path, base={"path": str(base)}, retention_set=str(kept), epochs=3, learning_rate=3e-3
    )
    before, after = load_matgl(base), load_matgl(potential)
    assert after.model.element_types == before.model.element_types == ("O", "Na", "Mg", "Cl")
    for name in ("data_mean", "data_std"):
        assert torch.equal(getattr(after, name), getattr(before, name))
    assert torch.equal(after.element_refs.property_offset, before.element_refs.property_offset)
    card = card_of(potential)
    assert card["base_sha256"] == directory_sha256(base)
    # it gets better at what it sees, and what it does to the rest is told
    started, ended = (score(card, of, "valid")["energy_mae_meV_per_atom"] for of in ("base", "trained"))
    assert ended < 0.9 * started
    base_card = card_of(base)
    forgotten = [score(card, of, "kept")["force_mae_meV_per_A"] for of in ("base", "trained")]
    assert score(card, "base", "kept")["rows"] == sum(base_card["data"]["rows"].values())
    assert forgotten[0] != forgotten[1]


def test_a_base_or_a_retention_set_of_another_level_are_refused(finished, tmp_path):
    _, base = finished
    results = write_results(tmp_path / "results")
    card = tmp_path / "base" / "card.json"
    card.parent.mkdir()
    for name in ("model.json", "model.pt", "state.pt"):
        (card.parent / name).write_bytes((base / name).read_bytes())
    card.write_text(json.dumps({"level": "r2scan"}))
    with pytest.raises(UserError, match="was trained at level r2scan, and the dataset is of pbe"):
        train(tmp_path, base={"path": str(card.parent)})
    card.unlink()
    crystals, names = frames(4)
    other = tmp_path / "r2scan.parquet"
    write_dataset(other, dataset_rows(crystals, names, ["train"] * 4, "r2scan"))
    with pytest.raises(UserError, match=r"train.retention_set: .* contains labels of level r2scan"):
        train(tmp_path, base={"path": str(card.parent)}, retention_set=str(other))
    assert not (results / "potentials").exists()


def test_it_stops_when_validation_has_not_improved_for_long_enough(tmp_path):
    # so fast that it gets worse soon
    potential = train(tmp_path, epochs=30, patience=2, learning_rate=0.5)
    history = pq.read_table(potential / "history.parquet").to_pylist()
    losses = [row["valid_loss"] for row in history]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 2 < 30
    assert card_of(potential)["training"]["best_epoch"] == best


def test_weights_that_are_not_finite_are_told_at_once(tmp_path):
    results = write_results(tmp_path / "results")
    part = below(results, "dataset", level="pbe")
    rows = read_table(part, "dataset").to_pylist()
    rows[0]["positions_A"][3:6] = rows[0]["positions_A"][:3]  # the derivative of a distance of zero
    write_dataset(part, rows)
    with pytest.raises(UserError, match="not finite after the first epoch"):
        train(tmp_path)


def test_two_processes_train_what_one_does(tmp_path):
    alone = train(tmp_path / "one", epochs=2)
    shared = train(tmp_path / "two", epochs=2, devices=2)
    first, second = (load_matgl(each).state_dict() for each in (alone, shared))
    assert all(torch.allclose(first[name], second[name], atol=1e-4) for name in first)


def test_chgnet_learns_magnetic_moments_and_explores(tmp_path):
    results = write_results(tmp_path / "results", moments=True)
    architecture = {"kind": "chgnet", "features": 8, "blocks": 2}
    changes = {"architecture": architecture, "epochs": 3, "learning_rate": 1e-2}
    potential = train(tmp_path, loss={"magmoms": 1.0}, **changes)
    card = card_of(potential)
    assert score(card, "trained")["magmom_mae_muB"] < 0.7 * score(card, "untrained")["magmom_mae_muB"]
    crystal = rattled(bulk("MgO", "rocksalt", 4.2) * (1, 1, 2), 2)
    said = kind.load(kind.Options(path=potential), "cpu").evaluate(to_batch([crystal]))
    crystal.calc = PESCalculator(matgl.load_model(potential), stress_unit="eV/A3")
    assert said.energies[0] == pytest.approx(crystal.get_potential_energy(), abs=1e-5)
    assert np.allclose(said.forces, crystal.get_forces(), atol=1e-5)
    assert results.is_dir()


def test_moments_that_nobody_has_or_predicts_are_refused(tmp_path):
    with pytest.raises(ValueError, match="tensornet predicts no magnetic moments"):
        campaign_in(tmp_path, loss={"magmoms": 1.0})
    with pytest.raises(UserError, match="no label of level pbe has magnetic moments"):
        train(tmp_path, architecture={"kind": "chgnet"}, loss={"magmoms": 1.0})


@pytest.mark.parametrize(
    ("architecture", "precision"),
    [
        ({"kind": "m3gnet", "units": 8, "features": 8, "blocks": 1}, "float32"),
        ({"kind": "tensornet", "units": 8}, "float64"),
    ],
)
def test_others_train_too(architecture, precision, tmp_path):
    potential = train(tmp_path, architecture=architecture, precision=precision, epochs=1)
    assert matgl.load_model(potential).state_dict()["data_std"].dtype == torch.float32
