"""The search that runs where the structures are finds what vesin finds, and pads what it finds harmlessly."""

import gzip
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms

from pesatlas.potentials import device, neighbours
from pesatlas.potentials.graph import Graph, build_graph, build_padded_graph
from pesatlas.potentials.potential import Batch
from pesatlas.structures.sources.demo import CRYSTALS
from pesatlas.testing.crystals import rattled
from small_potentials import rattled_salts, to_batch

DFT = Path(__file__).parents[3] / "shared" / "data" / "dft"


@pytest.fixture
def ahead(monkeypatch):
    """Take the way of a GPU, on the CPU."""
    monkeypatch.setattr(device, "runs_ahead", lambda _: True)


def both(crystals: list[Atoms], cutoff: float, *, both_ways: bool, monkeypatch) -> tuple[Graph, Graph]:
    by_vesin = build_graph(to_batch(crystals), cutoff, both_ways=both_ways)
    monkeypatch.setattr(device, "runs_ahead", lambda _: True)
    found = build_graph(to_batch(crystals), cutoff, both_ways=both_ways)
    monkeypatch.undo()
    return by_vesin, found


def sorted_edges(graph: Graph, cutoff: float, *, both_ways: bool) -> tuple[np.ndarray, ...]:
    """Return ends and vectors in one order; edges as long as the cutoff, but for rounding, are left out."""
    ends = np.stack([graph.sources.numpy(), graph.targets.numpy()], 1)
    vectors = graph.vectors.numpy()
    inside = np.linalg.norm(vectors, axis=1) < cutoff - 1e-9
    ends, vectors = ends[inside], vectors[inside]
    if not both_ways:  # from which end does not matter
        rounded = np.round(vectors, 6)
        leading = np.where(rounded[:, 0] != 0, rounded[:, 0], np.where(rounded[:, 1] != 0, *rounded.T[1:]))
        turned = (ends[:, 0] > ends[:, 1]) | ((ends[:, 0] == ends[:, 1]) & (leading < 0))
        ends[turned] = ends[turned][:, ::-1]
        vectors = np.where(turned[:, None], -vectors, vectors)
    rounded = np.round(vectors, 5) + 0.0
    order = np.lexsort((*rounded.T[::-1], ends[:, 1], ends[:, 0]))
    return ends[order], vectors[order]


def assert_same(crystals: list[Atoms], cutoff: float, *, both_ways: bool, monkeypatch) -> int:
    by_vesin, found = both(crystals, cutoff, both_ways=both_ways, monkeypatch=monkeypatch)
    ends, vectors = sorted_edges(by_vesin, cutoff, both_ways=both_ways)
    own_ends, own_vectors = sorted_edges(found, cutoff, both_ways=both_ways)
    np.testing.assert_array_equal(own_ends, ends)
    np.testing.assert_allclose(own_vectors, vectors, atol=1e-10)
    assert (found.owners[found.sources] == found.owners[found.targets]).all()
    assert (found.sources.diff() >= 0).all()
    assert (found.lost == by_vesin.lost).all()
    return len(ends)


def made_up(count: int, seed: int) -> list[Atoms]:
    """Return cells of 1 to 24 atoms: as they come, sheared, thin; atoms far outside of the cell too."""
    rng = np.random.default_rng(seed)
    found: list[Atoms] = []
    while len(found) < count:
        atoms = 1 if len(found) % 5 == 0 else int(rng.integers(2, 25))
        cell = np.eye(3) + rng.uniform(-0.9, 0.9, (3, 3)) * (len(found) % 3 > 0)
        if len(found) % 3 == 2:
            cell[int(rng.integers(3))] *= rng.uniform(0.15, 0.4)
        volume = np.linalg.det(cell)
        if abs(volume) < 0.05:
            continue
        cell *= (atoms * rng.uniform(8, 25) / abs(volume)) ** (1 / 3)
        scaled = rng.uniform(-2, 3, (atoms, 3))
        found.append(Atoms(f"Na{atoms}", scaled_positions=scaled, cell=cell, pbc=True))
    return found


@pytest.mark.parametrize("both_ways", [True, False])
@pytest.mark.parametrize(("cutoff", "seed"), [(4.0, 1), (5.0, 2), (6.0, 3)])
def test_edges_of_a_thousand_cells_are_vesins(both_ways, cutoff, seed, monkeypatch):
    cells = made_up(340, seed)
    assert assert_same(cells, cutoff, both_ways=both_ways, monkeypatch=monkeypatch) > 10_000


@pytest.mark.parametrize("both_ways", [True, False])
def test_edges_of_crystals_are_vesins(both_ways, monkeypatch):
    crystals = [
        Atoms(each.species, scaled_positions=each.fractional, cell=np.array(each.vectors), pbc=True)
        for each in CRYSTALS.values()
    ]
    many = [*crystals, *[c * (2, 1, 1) for c in crystals], *[rattled(c * (2, 2, 2), 5) for c in crystals]]
    for cutoff in (5.0, 6.0):
        assert_same(many, cutoff, both_ways=both_ways, monkeypatch=monkeypatch)


@pytest.mark.skipif(not DFT.is_dir(), reason="../shared/data/dft is not beside the checkout")
def test_edges_of_computed_frames_are_vesins(monkeypatch):
    frames = []
    for path in sorted(DFT.glob("*.extxyz.gz")):
        with gzip.open(path, "rt") as lines:
            frames += ase.io.read(lines, index="0:60", format="extxyz")
    assert assert_same(frames, 5.0, both_ways=True, monkeypatch=monkeypatch) > 100_000


def test_wreckage_has_no_neighbours_and_harms_nobody(monkeypatch):
    crystals = rattled_salts()
    crystals[0].positions[2] = np.nan
    crystals[2].set_cell(crystals[2].cell[:] * 0.1, scale_atoms=True)
    crystals[3].set_cell(np.diag([3.0, 0.0, 3.0]))
    by_vesin, found = both(crystals, 5.0, both_ways=True, monkeypatch=monkeypatch)
    assert found.lost.tolist() == by_vesin.lost.tolist() == [True, False, True, True]
    assert len(found.sources) == len(by_vesin.sources) > 0


def test_too_many_candidates_are_left_to_vesin(ahead, monkeypatch):
    crystals = rattled_salts()
    as_found = build_graph(to_batch(crystals), 5.0)
    monkeypatch.setattr(neighbours, "MOST_CANDIDATES", 1)
    assert len(build_graph(to_batch(crystals), 5.0).sources) == len(as_found.sources)
    padded = build_padded_graph(steady(to_batch(crystals)), 5.0)
    assert (padded.n_structures, padded.sound) == (len(crystals) + 1, None)


def steady(batch: Batch) -> Batch:
    batch.layout.steady = True
    return batch


def moved(batch: Batch, by: float, strain: float = 0.0) -> Batch:
    """Return the batch with displaced atoms and strained cells, of the same layout."""
    rng = np.random.default_rng(3)
    stretch = torch.as_tensor(np.eye(3) * (1 + strain))
    positions = batch.positions @ stretch + torch.as_tensor(by * rng.normal(size=batch.positions.shape))
    return Batch(batch.numbers, positions, batch.cells @ stretch, batch.n_atoms, batch.layout)


@pytest.mark.parametrize("name", ["m3gnet", "tensornet", "chgnet"])
def test_padding_changes_no_prediction(name, potentials, ahead):
    potential = potentials[name]
    batch = steady(to_batch(rattled_salts()))
    for step in range(3):
        now = moved(batch, 0.03 * step, 0.002 * step)
        exact = potential.evaluate(Batch(now.numbers, now.positions, now.cells, now.n_atoms))
        padded = potential.evaluate(now)
        assert bool(padded.sound)
        for one in ("energies", "forces", "stresses"):
            assert getattr(padded, one).shape == getattr(exact, one).shape
            torch.testing.assert_close(getattr(padded, one), getattr(exact, one), rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(("strain", "enough"), [(0.0, True), (-0.03, False), (-0.12, False)])
def test_says_when_there_was_no_room(strain, enough, potentials, ahead):
    batch = steady(to_batch([each * (2, 2, 2) for each in rattled_salts()]))
    assert bool(potentials["tensornet"].evaluate(batch).sound)
    assert bool(potentials["tensornet"].evaluate(moved(batch, 0.0, strain)).sound) is enough


def test_says_when_images_are_wanting(ahead):
    # so sparse that all edges have room in any case
    batch = steady(to_batch([Atoms("Na", cell=np.diag([11.0, 11.0, 4.2]), pbc=True)]))
    assert bool(build_padded_graph(batch, 5.0).sound)
    found = build_padded_graph(moved(batch, 0.0, -0.1), 5.0)
    assert not bool(found.sound)
