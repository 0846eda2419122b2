"""Crystals in vacuum are told from crystals, layered and porous ones included, and the domain that fits is
named."""

import logging
import time
from pathlib import Path

import numpy as np
import pytest

from pesatlas.config.campaign import Campaign
from pesatlas.structures.crystal import make_crystal, repeated
from pesatlas.structures.domains import monolayer
from pesatlas.structures.prepare import prepare_structures
from pesatlas.structures.sources import demo
from pesatlas.structures.vacuum import find_vacuum, vacuum_warning
from pesatlas.tables import read_table

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def built_in(*names):
    return list(demo.load(demo.Options(names=list(names or demo.CRYSTALS))))


def crystal(numbers, cell, positions, name="x"):
    return make_crystal(name, numbers, cell, positions, "files x.cif")


def graphite(spacing=3.35):
    cell = np.array([[2.46, 0, 0], [-1.23, 2.1304, 0], [0, 0, 2 * spacing]])
    fractional = np.array([[0, 0, 0.25], [0, 0, 0.75], [1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]])
    return crystal([6] * 4, cell, fractional @ cell)


def water_in_a_box(length):
    return crystal([8, 1, 1], np.eye(3) * length, np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]) - 0.3)


def scaffold(length=14.0, step=2.0):
    """Silicon and oxygen along the edges of a cube: a framework whose pores are 10 Å wide."""
    along = np.arange(0, length, step)
    edges = [np.eye(3)[i] * x for i in range(3) for x in along if x or i == 0]
    return crystal([14 if i % 2 else 8 for i in range(len(edges))], np.eye(3) * length, np.array(edges))


def slab(name="MgO", times=(1, 1, 4), vacuum=10.0):
    (start,) = built_in(name)
    large = repeated(start, times)
    normal = np.cross(large.cell[0], large.cell[1])
    cell = large.cell.copy()
    cell[2] += vacuum * normal / np.linalg.norm(normal)
    return crystal(large.numbers, cell, large.positions + 0.4 * cell[2])


def test_crystals_of_all_kinds_are_none():
    for each in built_in():
        assert find_vacuum(each) is None, each.structure_id
    for spacing in (3.3, 3.6, 4.0):
        assert find_vacuum(graphite(spacing)) is None
    assert find_vacuum(scaffold()) is None
    # a large atom by itself, and solid neon, which is all van der Waals
    assert find_vacuum(crystal([55], (np.ones((3, 3)) - np.eye(3)) * 3.07, [[0, 0, 0]])) is None
    assert find_vacuum(crystal([10], (np.ones((3, 3)) - np.eye(3)) * 2.2, [[0, 0, 0]])) is None


@pytest.mark.parametrize("turned", [False, True])
def test_slabs_wires_and_molecules_are_found_however_they_lie(turned):
    wire = crystal([6, 6], np.diag([2.6, 12, 12]), [[0, 0, 11.9], [1.3, 0.1, 0.1]])
    for made, directions in ((slab(), 1), (wire, 2), (water_in_a_box(9.0), 3), (graphite(9.0), 1)):
        cell, positions = made.cell, made.positions
        if turned:
            # another basis of the same lattice, atoms of other cells, and another place
            cell = np.array([[1, 0, 1], [1, 1, 0], [1, 1, 1]]) @ cell
            positions = positions + made.cell[1] * np.arange(len(positions))[:, None] + 2.3
        found = find_vacuum(crystal(made.numbers, cell, positions))
        assert found is not None
        assert found.directions == directions


def test_how_thick_the_vacuum_is():
    found = find_vacuum(slab(vacuum=10.0))
    # eight planes of Mg and O 1.216 Å apart, whose radii are 2.51 and 1.50
    assert found.thickness_A == pytest.approx(7 * 1.2156, abs=0.02)
    assert found.empty_A == pytest.approx(10.0 + 1.2156 - 2.51 - 1.50, abs=0.1)
    box = find_vacuum(water_in_a_box(9.0))
    # out of the plane of the molecule
    assert box.empty_A == pytest.approx(9.0 - 2 * 1.5, abs=0.1)


def test_what_is_said_names_the_file_and_the_domain_that_fits():
    layer = graphite(9.0)
    said = vacuum_warning(layer, ["hot", "bulk", "monolayer"])
    assert said.startswith("files x.cif: a slab of 0.0 Å with")
    assert "given to hot, bulk," in said
    assert "domain monolayer fits" in said
    assert any(cell.variant == "monolayer-0" for cell in monolayer.cells(monolayer.Options(), layer))
    assert "domain surface fits" in vacuum_warning(slab(), ["bulk"])
    assert "No domain is made for it" in vacuum_warning(water_in_a_box(12.0), ["bulk"])
    assert vacuum_warning(layer, ["monolayer", "layered"]) is None
    assert vacuum_warning(graphite(), ["bulk"]) is None


def test_the_table_and_the_log_say_it(tmp_path, caplog, monkeypatch):
    from ase import Atoms
    from ase.io import write

    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO, logger="pesatlas")
    box = water_in_a_box(10.0)
    atoms = Atoms(box.numbers, cell=box.cell, positions=box.positions, pbc=True)
    write("box.vasp", atoms, format="vasp")
    sources = [{"kind": "demo", "names": ["Si"]}, {"kind": "files", "paths": ["box.vasp"]}]
    campaign = Campaign.model_validate(
        {
            "structures": {"sources": sources},
            **{name: {} for name in ("explore", "encode", "select", "label")},
        }
    )
    prepare_structures(
        campaign.structures,
        campaign.explore,
        campaign.label.backend,
        tmp_path / "structures.parquet",
        tmp_path / "failures.parquet",
    )
    rows = read_table(tmp_path / "structures.parquet", "structures").to_pylist()
    warnings = {row["structure_id"]: row["warnings"] for row in rows}
    assert warnings["demo-Si"] == []
    (said,) = warnings["box"]
    assert "box.vasp" in said
    assert "molecule or cluster in a box" in said
    assert "1 crystals are in vacuum" in caplog.text
    assert said in caplog.text


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
def test_of_two_thousand_crystals_those_with_vacuum_are_found():
    """All seven are layers that the database has 5 to 11 Å apart."""
    from pesatlas.structures import readers

    found, seconds, count = [], 0.0, 0
    for path in sorted(SHARED.glob("*.json.gz")):
        for each in readers.read_file(path):
            if hasattr(each, "cell"):
                begun = time.process_time()
                vacuum = find_vacuum(each)
                seconds += time.process_time() - begun
                count += 1
                if vacuum:
                    assert vacuum.directions == 1
                    found.append(each.structure_id)
    assert count > 2400
    assert sorted(found) == [
        "mp-1023934",
        "mp-1023936",
        "mp-1025799",
        "mp-1025874",
        "mp-1028698",
        "mp-568347",
        "mp-849060",
    ]
    assert seconds / count < 1e-3
