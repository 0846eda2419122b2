"""Batched evaluation equals what the packages say of one structure; test_interface.py has what every
potential keeps."""

import numpy as np
import pytest
import torch

from pesatlas.potentials.fast_m3gnet import SplitM3GNet, can_split
from pesatlas.potentials.graph import build_graph
from pesatlas.potentials.weights import load_matgl
from small_potentials import rattled_salts, to_batch


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
