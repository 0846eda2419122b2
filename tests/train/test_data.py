"""Model inputs: units, signs, neighbours; every row once, in an order that can be resumed."""

import itertools

import numpy as np
import pytest
import torch
from ase.build import bulk

from labelled_campaign import dataset_rows, frames, write_dataset
from pesatlas.atoms.units import EV_PER_A3_TO_GPA
from pesatlas.errors import UserError
from pesatlas.potentials.kinds import matgl
from pesatlas.potentials.potential import VOIGT
from pesatlas.potentials.weights import load_matgl
from pesatlas.train import data
from pesatlas.train.data import Batches, Converter, stream
from pesatlas.train.loss import predict
from pesatlas.train.scan import scan
from small_potentials import rattled, save_m3gnet, save_tensornet, to_batch

ELEMENTS = (8, 11, 12, 17)


def rows_of(tmp_path, crystals, splits=None, **changes):
    """The rows as they come back from Parquet, and what was found in the file."""
    path = tmp_path / "part-00000.parquet"
    names = [f"c{k}" for k in range(len(crystals))]
    write_dataset(path, dataset_rows(crystals, names, splits or ["train"] * len(crystals), **changes))
    found = scan([path], "pbe")
    return found, list(stream(found.pieces["train"]))


@pytest.mark.physics
def test_stress_of_a_batch_is_what_its_energies_have_as_derivative(tmp_path):
    crystal, step = rattled(bulk("NaCl", "rocksalt", 5.2), 5), 1e-4
    crystals = [crystal]
    strains = []
    for i, j in zip(*VOIGT, strict=True):
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[i, j] += sign * step / 2
            strain[j, i] += sign * step / 2
            strains.append(strain)
            copy = crystal.copy()
            copy.set_cell(crystal.cell[:] @ (np.eye(3) + strain), scale_atoms=True)
            crystals.append(copy)
    _, rows = rows_of(tmp_path, crystals)
    batch = Converter(ELEMENTS, 5.0)(rows)
    energies = batch.energies.numpy()[1:].reshape(6, 2)
    slopes = (energies[:, 0] - energies[:, 1]) / (2 * step) / crystal.get_volume()
    # a shear e_ij = e_ji = step / 2 does the work of the component once
    assert np.allclose(batch.stresses[0][VOIGT].numpy(), slopes * EV_PER_A3_TO_GPA, rtol=1e-3, atol=1e-4)
    # GPa, and pulled back when it is stretched: far from its minimum it is tens of them
    stretched, squeezed = bulk("NaCl", "rocksalt", 6.0), bulk("NaCl", "rocksalt", 4.0)
    _, (pulled, pressed) = rows_of(tmp_path, [stretched, squeezed])
    assert np.trace(pulled.stress) > 0 > np.trace(pressed.stress)


@pytest.mark.parametrize("save", [save_tensornet, save_m3gnet])
def test_matgl_says_of_a_batch_what_this_project_says_of_the_rows(save, tmp_path):
    folder = save(tmp_path / "model")
    crystals, _ = frames(6)
    crystals[0].positions += 1.3 * crystals[0].cell[0]  # an atom outside of its cell
    _, rows = rows_of(tmp_path, crystals)
    ours = matgl.load(matgl.Options(path=folder), "cpu")
    mine = ours.evaluate(to_batch(crystals))
    saved = load_matgl(folder).double()
    predicted = predict(saved, Converter(ELEMENTS_OF[save], float(saved.model.cutoff))(rows))
    counts = torch.tensor([len(a) for a in crystals])
    assert torch.allclose(predicted.energies, mine.energies / counts, atol=1e-4)
    assert torch.allclose(predicted.forces, mine.forces, atol=1e-3)
    assert torch.allclose(predicted.stresses, mine.stresses[:, *VOIGT] * EV_PER_A3_TO_GPA, atol=1e-2)
    assert predicted.stresses.abs().max() > 1  # it is no comparison of zeros


ELEMENTS_OF = dict.fromkeys((save_tensornet, save_m3gnet), ELEMENTS)


def keys(rows):
    return [row.energy for row in rows]


def energies_of(batches):
    return sorted(energy for batch in batches for energy in batch.energies.tolist())


def test_every_row_comes_once_in_an_order_of_seed_and_epoch(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "WINDOW", 2)
    crystals, _ = frames(70)
    splits = ["valid" if k % 7 == 3 else "train" for k in range(70)]
    found, in_order = rows_of(tmp_path, crystals, splits)
    assert len(in_order) == 60
    pieces = found.pieces["train"]
    assert len(pieces) == 5  # of sixteen rows, so there are several windows
    first, again, other, later = (keys(stream(pieces, order)) for order in ((1, 0), (1, 0), (2, 0), (1, 1)))
    assert first == again
    assert sorted(first) == sorted(other) == sorted(later) == sorted(keys(in_order))
    assert len({tuple(first), tuple(other), tuple(later), tuple(keys(in_order))}) == 4
    for done in (1, 31, 32, 59, 60):
        assert keys(stream(pieces, (1, 0), done)) == first[done:]


def test_devices_and_loaders_share_the_batches_of_one(tmp_path):
    crystals, _ = frames(30)
    found, _ = rows_of(tmp_path, crystals)
    pieces, converter = found.pieces["train"], Converter(ELEMENTS, 4.0)
    alone = [batch.energies.tolist() for batch in Batches(pieces, converter, 8, order=(1, 0))]
    assert [len(each) for each in alone] == [8, 8, 8, 6]
    shares = [list(Batches(pieces, converter, 8, order=(1, 0), share=(k, 2))) for k in range(2)]
    for k, batches in enumerate(zip(*shares, strict=True)):
        assert energies_of(batches) == sorted(alone[k])
        assert {b.total[0] for b in batches} == {len(alone[k])}
    whole = [list(Batches(pieces, converter, 8, share=(k, 3), whole=True)) for k in range(3)]
    assert energies_of(batch for batches in whole for batch in batches) == sorted(itertools.chain(*alone))
    loader = torch.utils.data.DataLoader(
        Batches(pieces, converter, 8, order=(1, 0)), batch_size=None, num_workers=2
    )
    assert [batch.energies.tolist() for batch in loader] == alone


def test_rows_of_another_level_or_surface_are_refused(tmp_path):
    crystals, names = frames(8)
    path = tmp_path / "part-00000.parquet"
    rows = dataset_rows(crystals, names, ["train"] * 8)
    write_dataset(path, rows)
    with pytest.raises(
        UserError, match=r"contains labels of level pbe, and the potential is trained at r2scan"
    ):
        scan([path], "r2scan")
    write_dataset(path, rows[:5] + [row | {"level_fingerprint": "f2"} for row in rows[5:]])
    with pytest.raises(
        UserError, match=r"different settings: level_fingerprint is f1 \(5 rows\), f2 \(3 rows\)"
    ):
        scan([path], "pbe")
    assert scan([path], "pbe", ["f1", "f2"]).fingerprints == ("f1", "f2")


def test_only_accepted_rows_of_known_elements_are_used(tmp_path):
    crystals, names = frames(12)  # NaCl and MgO in turn
    path = tmp_path / "part-00000.parquet"
    splits = ["train" if "NaCl" in name else "test" for name in names]
    splits[0] = "test"
    rows = dataset_rows(crystals, names, splits)
    rows[2] |= {"verdict": "flagged"}
    write_dataset(path, rows)
    found = scan([path], "pbe")
    assert found.elements == (11, 17)
    assert found.rows("train") == sum(split == "train" for split in splits) - 1
    assert (found.rows("test"), found.left_out["test"]) == (1, splits.count("test") - 1)
    write_dataset(path, [row | {"split": "valid"} for row in rows])
    with pytest.raises(UserError, match="nothing to train on"):
        scan([path], "pbe")
