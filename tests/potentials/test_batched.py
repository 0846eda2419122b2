"""Batched evaluation equals what the packages say of one structure, and respects what physics is indifferent to."""

import numpy as np
import pytest
import torch

from pesatlas.potentials.graph import build_graph
from pesatlas.potentials.m3gnet import SplitM3GNet, can_split
from pesatlas.potentials.weights import load_matgl
from small_potentials import rattled, rattled_salts, to_batch

# float32 models: energies of tens of eV, forces of eV/Å
ENERGY_eV, FORCE_eV_per_A, STRESS_eV_per_A3 = 2e-5, 1e-4, 1e-5


def assert_same(one, other, scale=1.0):
    torch.testing.assert_close(one.energies, other.energies, rtol=1e-6, atol=ENERGY_eV * scale)
    torch.testing.assert_close(one.forces, other.forces, rtol=1e-5, atol=FORCE_eV_per_A * scale)
    torch.testing.assert_close(one.stresses, other.stresses, rtol=1e-5, atol=STRESS_eV_per_A3 * scale)


@pytest.mark.parametrize("name", ["m3gnet", "m3gnet-kinked", "tensornet"])
def test_equals_matgls_calculator(name, folders, potentials):
    from matgl.ext.ase import PESCalculator

    crystals = rattled_salts()
    found = potentials[name].evaluate(to_batch(crystals))
    assert found.forces.abs().max() > 0.1  # there is something to compare
    calculator = PESCalculator(load_matgl(folders[name]), stress_unit="eV/A3")
    start = 0
    for k, crystal in enumerate(crystals):
        crystal.calc = calculator
        assert crystal.get_potential_energy() == pytest.approx(found.energies[k].item(), abs=1e-4)
        np.testing.assert_allclose(
            crystal.get_forces(), found.forces[start : start + len(crystal)], atol=2e-4
        )
        np.testing.assert_allclose(calculator.results["stress"], found.stresses[k], atol=2e-5)
        start += len(crystal)


@pytest.mark.parametrize("version", ["0.3.0", "0.2.0", "r2scan"])
def test_equals_chgnets_own_predictions(version):
    from chgnet.model import CHGNet
    from pymatgen.io.ase import AseAtomsAdaptor

    from pesatlas.potentials.kinds import chgnet

    crystals = rattled_salts()
    found = chgnet.load(chgnet.Options(version=version), "cpu").evaluate(to_batch(crystals))
    model = CHGNet.load(model_name=version, use_device="cpu", verbose=False)
    structures = [AseAtomsAdaptor.get_structure(crystal) for crystal in crystals]
    own = model.predict_structure(structures, task="efs")
    for k, (crystal, said) in enumerate(zip(crystals, own, strict=True)):
        assert float(said["e"]) * len(crystal) == pytest.approx(found.energies[k].item(), abs=1e-4)
        np.testing.assert_allclose(said["s"] / 160.21766208, found.stresses[k], atol=1e-5)
    np.testing.assert_allclose(np.concatenate([said["f"] for said in own]), found.forces, atol=1e-4)


@pytest.mark.parametrize("name", ["m3gnet", "m3gnet-kinked"])
@pytest.mark.parametrize("older", [False, True])
def test_split_m3gnet_is_m3gnet_in_exact_arithmetic(name, older, folders):
    from types import SimpleNamespace

    from pesatlas.potentials.weights import directory_sha256

    folder = folders[name]
    model = (
        load_matgl(folder, older_convention=older, sha256=directory_sha256(folder))
        .model.double()
        .requires_grad_(False)
    )
    assert can_split(model)
    graph = build_graph(to_batch(rattled_salts()), model.cutoff)
    types = graph.numbers % 4  # any elements will do
    energies, slopes = [], []
    for split in (True, False):
        vectors = graph.vectors.clone().requires_grad_()
        if split:
            energy = SplitM3GNet(model).double()(graph, vectors, types).sum()
        else:
            inputs = SimpleNamespace(
                node_type=types,
                pos=torch.zeros(len(types), 3, dtype=torch.float64),
                edge_index=torch.stack([graph.sources, graph.targets]),
                pbc_offshift=vectors,
                batch=graph.owners,
                num_graphs=graph.n_structures,
            )
            energy = model(g=inputs).sum()
        energies.append(energy.item())
        slopes.append(torch.autograd.grad(energy, vectors)[0])
    assert slopes[1].abs().max() > 1e-3
    assert energies[0] == pytest.approx(energies[1], rel=1e-7)  # matgl clamps cosines at 1 - 1e-7
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-6, atol=1e-7)


def test_a_batch_is_its_structures_one_by_one(potential):
    crystals = rattled_salts()
    together = potential.evaluate(to_batch(crystals))
    start = 0
    for k, crystal in enumerate(crystals):
        alone = potential.evaluate(to_batch([crystal]))
        assert alone.energies.item() == pytest.approx(together.energies[k].item(), abs=ENERGY_eV)
        torch.testing.assert_close(
            alone.forces, together.forces[start : start + len(crystal)], rtol=0, atol=FORCE_eV_per_A
        )
        torch.testing.assert_close(alone.stresses[0], together.stresses[k], rtol=0, atol=STRESS_eV_per_A3)
        start += len(crystal)


def test_a_batch_larger_than_one_pass(potential):
    crystals = rattled_salts() * 14
    assert sum(map(len, crystals)) > 2 * 192  # more than two passes on a CPU
    found = potential.evaluate(to_batch(crystals))
    once = potential.evaluate(to_batch(crystals[:4]))
    torch.testing.assert_close(found.energies, once.energies.repeat(14), rtol=0, atol=ENERGY_eV)
    torch.testing.assert_close(found.forces, once.forces.repeat(14, 1), rtol=0, atol=FORCE_eV_per_A)


def test_the_same_question_has_the_same_answer_to_the_last_bit(potential):
    batch = to_batch(rattled_salts() * 3)
    threads = torch.get_num_threads()
    torch.set_num_threads(8)  # more than cores, so that they come in another order each time
    try:
        one, *others = (potential.evaluate(batch) for _ in range(5))
    finally:
        torch.set_num_threads(threads)
    for other in others:
        assert torch.equal(one.energies, other.energies)
        assert torch.equal(one.forces, other.forces)
        assert torch.equal(one.stresses, other.stresses)


def test_order_of_atoms_is_of_no_consequence(potential):
    crystal = rattled_salts()[2]
    order = np.random.default_rng(5).permutation(len(crystal))
    found, shuffled = potential.evaluate(to_batch([crystal])), potential.evaluate(to_batch([crystal[order]]))
    assert shuffled.energies.item() == pytest.approx(found.energies.item(), abs=ENERGY_eV)
    torch.testing.assert_close(shuffled.forces, found.forces[order], rtol=0, atol=FORCE_eV_per_A)


def test_translation_and_images_are_of_no_consequence(potential):
    crystal = rattled_salts()[0]
    moved = crystal.copy()
    moved.positions += [0.37, -5.1, 11.3]
    moved.positions[3] += 2 * crystal.cell[1] - crystal.cell[2]
    assert_same(potential.evaluate(to_batch([crystal])), potential.evaluate(to_batch([moved])), scale=3)


def test_rotation_turns_forces_and_stress(potential):
    crystal = rattled_salts()[0]
    turn, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))
    turned = crystal.copy()
    turned.set_cell(crystal.cell[:] @ turn)
    turned.positions = crystal.positions @ turn
    found, other = potential.evaluate(to_batch([crystal])), potential.evaluate(to_batch([turned]))
    matrix = torch.tensor(turn)
    assert other.energies.item() == pytest.approx(found.energies.item(), abs=3 * ENERGY_eV)
    torch.testing.assert_close(other.forces, found.forces @ matrix, rtol=0, atol=3 * FORCE_eV_per_A)
    torch.testing.assert_close(
        other.stresses[0], matrix.T @ found.stresses[0] @ matrix, rtol=0, atol=3 * STRESS_eV_per_A3
    )


def test_a_supercell_has_twice_the_energy(potential):
    crystal = rattled_salts()[1]
    found, doubled = (
        potential.evaluate(to_batch([crystal])),
        potential.evaluate(to_batch([crystal * (1, 2, 1)])),
    )
    assert doubled.energies.item() == pytest.approx(2 * found.energies.item(), abs=3 * ENERGY_eV)
    torch.testing.assert_close(doubled.stresses, found.stresses, rtol=0, atol=STRESS_eV_per_A3)


def test_forces_sum_to_zero_exactly(potential):
    assert potential.evaluate(to_batch([rattled_salts()[2]])).forces.sum(0).abs().max() < 1e-10


def test_wreckage_harms_no_neighbour(potential):
    crystals = rattled_salts()
    sound = potential.evaluate(to_batch(crystals))
    wrecks = [rattled(crystals[0], 9), rattled(crystals[1], 9)]
    wrecks[0].positions[2, 1] = np.nan
    wrecks[1].set_cell(
        wrecks[1].cell[:] * 0.1, scale_atoms=True
    )  # hundreds of atoms/Å³: no memory holds the neighbours
    found = potential.evaluate(to_batch([crystals[0], wrecks[0], *crystals[1:], wrecks[1]]))
    assert torch.isnan(found.energies[[1, -1]]).all()
    assert torch.isnan(found.stresses[[1, -1]]).all()
    n = len(crystals[0])
    assert torch.isnan(found.forces[n : 2 * n]).all()
    kept = [0, *range(2, len(crystals) + 1)]
    torch.testing.assert_close(found.energies[kept], sound.energies, rtol=0, atol=ENERGY_eV)
    torch.testing.assert_close(found.forces[2 * n : -2], sound.forces[n:], rtol=0, atol=FORCE_eV_per_A)


def test_atoms_without_neighbours_feel_nothing(potential):
    lonely = rattled_salts()[1]
    lonely.set_cell(np.eye(3) * 40)
    lonely.positions = [[0, 0, 0], [20, 20, 20]]
    found = potential.evaluate(to_batch([lonely]))
    assert torch.isfinite(found.energies).all()
    assert torch.equal(found.forces, torch.zeros(2, 3, dtype=torch.float64))
    assert torch.equal(found.stresses, torch.zeros(1, 3, 3, dtype=torch.float64))
