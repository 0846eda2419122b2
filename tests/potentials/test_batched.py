"""Batched evaluation equals what the packages say of one structure; test_interface.py has what every
potential keeps."""

import numpy as np
import pytest
import torch
from ase.build import bulk

from pesatlas.potentials.batched import sum_by_structure
from pesatlas.potentials.fast_chgnet import SplitChgnet
from pesatlas.potentials.fast_m3gnet import SplitM3GNet, can_split
from pesatlas.potentials.fast_tensornet import SplitTensorNet, can_split_tensornet
from pesatlas.potentials.graph import build_graph
from pesatlas.potentials.weights import load_matgl
from pesatlas.testing.crystals import rattled
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

    # no two bonds of caesium chloride are short enough for an angle, which must not depend on its company
    crystals = [*rattled_salts(), rattled(bulk("CsCl", "cesiumchloride", 4.12) * (1, 1, 2), 4)]
    found = chgnet.load(chgnet.Options(version=version), "cpu").evaluate(to_batch(crystals))
    model = CHGNet.load(model_name=version, use_device="cpu", verbose=False)
    own = [model.predict_structure(AseAtomsAdaptor.get_structure(c), task="efs") for c in crystals]
    for k, (crystal, said) in enumerate(zip(crystals, own, strict=True)):
        assert float(said["e"]) * len(crystal) == pytest.approx(found.energies[k].item(), abs=1e-4)
        np.testing.assert_allclose(said["s"] / 160.21766208, found.stresses[k], atol=1e-5)
    np.testing.assert_allclose(np.concatenate([said["f"] for said in own]), found.forces, atol=1e-4)


@pytest.mark.parametrize("name", ["m3gnet", "m3gnet-kinked", "tensornet", "tensornet-dgl", "tensornet-so3"])
@pytest.mark.parametrize("older", [False, True])
def test_split_models_of_matgl_are_theirs_in_exact_arithmetic(name, older, folders):
    from types import SimpleNamespace

    from pesatlas.potentials.legacy_matgl import restore_older_convention

    folder = folders[name.removesuffix("-dgl").removesuffix("-so3")]
    model = load_matgl(folder).model.double().requires_grad_(False)
    if older:
        assert restore_older_convention(model, from_dgl=name.endswith("dgl"))
    if name.endswith("so3"):
        for layer in model.layers:
            layer.equivariance_invariance_group = "SO(3)"
    if name.startswith("tensornet"):
        assert can_split_tensornet(model)
        ours = SplitTensorNet(model).double()
    else:
        assert can_split(model)
        ours = SplitM3GNet(model).double()
    graph = build_graph(to_batch(rattled_salts()), model.cutoff)
    types = graph.numbers % 4  # any elements will do
    energies, slopes = [], []
    for split in (True, False):
        vectors = graph.vectors.clone().requires_grad_()
        if split:
            energy = model.final_layer(ours(graph, vectors, types)).sum()
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


@pytest.mark.parametrize("version", ["0.3.0", "0.2.0", "r2scan"])
def test_split_chgnet_is_chgnet_in_exact_arithmetic(version):
    from chgnet.model import CHGNet
    from chgnet.model.model import BatchedGraph

    model = CHGNet.load(model_name=version, use_device="cpu", verbose=False).double().requires_grad_(False)
    graph = build_graph(to_batch(rattled_salts()), model.graph_converter.atom_graph_cutoff, both_ways=False)
    n_edges = len(graph.vectors)
    centres = torch.cat([graph.sources, graph.targets])
    short = [k for k, length in enumerate(graph.vectors.norm(dim=1).repeat(2)) if length < 3]
    angles = torch.tensor([(i, j) for i in short for j in short if i != j and centres[i] == centres[j]])
    assert len(angles) > 300
    sizes = torch.bincount(graph.owners)
    results = []
    for split in (True, False):
        vectors = graph.vectors.clone().requires_grad_()
        if split:
            ours = SplitChgnet(model.state_dict(), model.model_args)
            before_last, last = ours.features(graph, vectors)
            energies = sum_by_structure(graph, ours.energies(last)) / sizes
        else:
            lengths = vectors.norm(dim=1)
            away = torch.tensor([-1.0, 1.0]).double().repeat_interleave(n_edges)[:, None]
            unit = (vectors / lengths[:, None]).repeat(2, 1) * away
            basis = model.bond_basis_expansion
            inputs = BatchedGraph(
                atomic_numbers=graph.numbers,
                bond_bases_ag=basis.rbf_expansion_ag(lengths),
                bond_bases_bg=basis.rbf_expansion_bg(lengths),
                angle_bases=model.angle_basis_expansion(unit[angles[:, 0]], unit[angles[:, 1]]),
                batched_atom_graph=torch.stack([centres, centres.roll(n_edges)], dim=1),
                batched_bond_graph=torch.stack([centres[angles[:, 0]], *(angles % n_edges).T], dim=1),
                atom_owners=graph.owners,
                directed2undirected=torch.arange(n_edges).repeat(2),
                atom_positions=[],
                strains=[],
                volumes=[],
            )
            found = model._compute(inputs, return_atom_feas=True)
            before_last, energies = torch.cat(found["atom_fea"]), found["e"]
        results.append((energies, before_last, torch.autograd.grad(energies.sum(), vectors)[0]))
    assert results[1][2].abs().max() > 1e-3
    # chgnet has a constant, the root of 2, in single precision
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-8)
