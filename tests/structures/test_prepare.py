import json
import logging
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pesatlas.campaign.load import load_campaign
from pesatlas.config.campaign import Campaign
from pesatlas.errors import UserError
from pesatlas.structures.prepare import prepare_structures, rules_of
from pesatlas.structures.source_caches import fetch_structures, sources_fingerprint
from pesatlas.tables import check_entry, read_table

SHARED = Path(__file__).parents[2].parent / "shared"


def campaign(*sources, structures_per_job=3, **structures):
    return Campaign.model_validate(
        {
            "structures": {"sources": list(sources) or [{"kind": "demo"}], **structures},
            "explore": {"structures_per_job": structures_per_job},
            "encode": {},
            "select": {},
            "label": {},
        }
    )


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def prepare(what, where="results"):
    structures, failures = Path(where) / "structures.parquet", Path(where) / "failures" / "structures.parquet"
    prepare_structures(what.structures, what.explore, what.label.backend, structures, failures)
    return structures, failures


def write_xyz(path, *names):
    """Write builtin crystals as frames with their ids."""
    from ase import Atoms
    from ase.io import write

    from pesatlas.structures.sources import demo

    frames = []
    for crystal in demo.load(demo.Options(names=list(names))):
        atoms = Atoms(crystal.numbers, cell=crystal.cell, positions=crystal.positions, pbc=True)
        atoms.info["structure_id"] = f"mine-{len(frames)}"
        frames.append(atoms)
    write(path, frames, format="extxyz")
    return frames


def test_the_demo(caplog):
    caplog.set_level(logging.INFO, logger="pesatlas")
    structures, failures = prepare(
        campaign(domains=[{"kind": "bulk", "supercell": {"min_length_A": 5, "max_atoms": 16}}])
    )
    rows = read_table(structures, "structures").to_pylist()
    entry = check_entry(structures)
    assert read_table(failures, "failures").num_rows == 0
    assert entry.counts == {
        "sources_read": 8,
        "accepted": 8,
        "failed": 0,
        "cells_refused": 0,
        "cells": 16,
        "trajectories": 16,
        "batches": 6,
    }
    assert check_entry(failures).counts == entry.counts
    assert [(row["structure_id"], row["variant"]) for row in rows] == sorted(
        (row["structure_id"], row["variant"]) for row in rows
    )
    assert [row["batch"] for row in rows] == [i // 3 for i in range(16)]
    for row in rows:
        assert len(row["numbers"]) * 3 == len(row["positions_A"]) == 3 * row["n_atoms"]
        assert row["domain"] == "bulk"
        assert row["source"].startswith("demo pesatlas-")
        (condition,) = row["conditions"]
        # whatever else a domain may say of a condition is null for bulk
        assert {k: v for k, v in condition.items() if v is not None} == {
            "condition": "300K-0.000101325GPa",
            "temperature_K": 300.0,
            "pressure_GPa": 0.000101325,
        }
    silicon = [row for row in rows if row["structure_id"] == "demo-Si"]
    assert [(row["variant"], row["n_atoms"], row["formula"]) for row in silicon] == [
        ("supercell-2x2x2", 16, "Si"),
        ("unit", 2, "Si"),
    ]
    volumes = [abs(np.linalg.det(np.reshape(row["cell_A"], (3, 3)))) for row in silicon]
    assert volumes == pytest.approx([8 * 5.431**3 / 4, 5.431**3 / 4])
    assert "8 crystals read: 8 accepted, 0 failed" in caplog.text


def test_the_same_input_gives_the_same_bytes():
    write_xyz("mine.xyz", "Si", "NiAl", "TiO2", "Si")
    what = campaign({"kind": "demo"}, {"kind": "files", "paths": ["mine.xyz"]})
    once, twice = prepare(what, "once"), prepare(what, "twice")
    assert [p.read_bytes() for p in once] == [p.read_bytes() for p in twice]


def test_what_is_read_is_accepted_or_failed_with_its_reason():
    from ase.io import read, write
    from pymatgen.core import Lattice, Structure

    frames = write_xyz("mine.xyz", "Si", "NaCl", "TiO2", "GaAs", "Al", "MgO")
    frames[1].positions[1] = frames[1].positions[0] + 0.2
    frames[3].pbc = False
    frames[4].numbers[:] = 43
    frames[5].info["structure_id"] = "///"
    write("mine.xyz", frames, format="extxyz")
    assert len(read("mine.xyz", ":")) == 6
    Path("torn.cif").write_text("data_torn\n_cell_length_a")
    Structure(Lattice.cubic(3.6), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]]).to(filename="alloy.cif")
    sources = [{"kind": "demo", "names": ["Si"]}, {"kind": "files", "paths": ["mine.xyz", "*.cif"]}]
    structures, failures = prepare(
        campaign(*sources, {"kind": "demo", "names": ["Si-BC8", "Si"]}, max_atoms=5)
    )
    failed = {row["key"]: row for row in read_table(failures, "failures").to_pylist()}
    assert {key: row["reason"] for key, row in failed.items()} == {
        "mine-0": "duplicate",
        "mine-1": "overlapping_atoms",
        "mine-2": "too_many_atoms",
        "mine-3": "not_periodic",
        "mine-4": "unsupported_element",
        "///": "bad_id",
        "torn": "unreadable",
        "alloy": "disordered",
        "demo-Si-BC8": "too_many_atoms",
        "demo-Si": "duplicate",
    }
    assert all(
        row["stage"] == "structures" and row["detail"] and row["attempts"] == 1 for row in failed.values()
    )
    assert "Tc not known to the" in failed["mine-4"]["detail"]
    counts = check_entry(structures).counts
    assert counts["sources_read"] == 11 == counts["accepted"] + counts["failed"]
    assert {row["structure_id"] for row in read_table(structures, "structures").to_pylist()} == {"demo-Si"}


def test_nothing_left_is_an_error_that_says_why():
    with pytest.raises(
        UserError,
        match=r"(?s)no crystal is left of the 8 .*8 unsupported_element.*demo-AlP: unsupported_element: Al, "
        r"P "
        r"not known to structures.elements",
    ) as caught:
        prepare(campaign(elements=["Xe"]))
    assert not Path("results").exists(), caught.value


def test_elements_are_those_of_potential_backend_and_user():
    what = campaign(elements=["Si", "O"])
    known = rules_of(what.structures, what.explore.potential, what.label.backend).known
    potential, backend, user = known.values()
    assert user == {14, 8}
    assert 14 in potential
    assert 14 in backend
    # technetium has no PAW data set, radium neither
    assert not {43, 88} & backend


def test_missing_files_are_found_when_the_configuration_is_read():
    raw = {
        "structures": {"sources": [{"kind": "demo"}, {"kind": "files", "paths": ["cells/*.cif"]}]},
        "explore": {},
        "encode": {},
        "select": {},
        "label": {},
    }
    with pytest.raises(
        UserError, match=r"structures.sources \(files\): paths: 'cells/\*.cif' matches 0 files"
    ):
        load_campaign(raw)


def test_fetching_where_nothing_needs_it():
    before = sorted(Path().rglob("*"))
    fetch_structures(campaign().structures)
    assert sorted(Path().rglob("*")) == before


def test_fetching_needs_a_key(monkeypatch):
    monkeypatch.delenv("MP_API_KEY", raising=False)
    with pytest.raises(UserError, match="MP_API_KEY is not set"):
        fetch_structures(campaign({"kind": "materials_project"}).structures)


def test_the_state_of_sources_follows_their_files():
    Path("a.cif").write_text("one")
    what = campaign({"kind": "demo"}, {"kind": "files", "paths": ["*.cif"]})
    first = sources_fingerprint(what.structures)
    assert sources_fingerprint(what.structures) == first
    Path("b.cif").write_text("two")
    second = sources_fingerprint(what.structures)
    Path("b.cif").write_text("three")
    third = sources_fingerprint(what.structures)
    assert len({first, second, third}) == 3
    Path("b.cif").unlink()
    assert sources_fingerprint(what.structures) == first


def test_a_cache_that_appears_during_the_first_run_is_no_change():
    what = campaign({"kind": "materials_project", "cache": "mp.parquet"})
    before = sources_fingerprint(what.structures)
    Path("mp.parquet").write_bytes(b"fetched")
    assert sources_fingerprint(what.structures) == before


def test_an_earlier_campaign_is_a_source():
    structures, _ = prepare(campaign(), "first")
    again, failures = prepare(campaign({"kind": "files", "paths": [str(structures)]}), "second")
    before = read_table(structures, "structures").to_pylist()
    after = read_table(again, "structures").to_pylist()
    units = {row["structure_id"]: row["positions_A"] for row in before if row["variant"] == "unit"}
    assert {row["structure_id"]: row["positions_A"] for row in after if row["variant"] == "unit"} == units
    reasons = [row["reason"] for row in read_table(failures, "failures").to_pylist()]
    assert reasons == ["duplicate"] * len([row for row in before if row["variant"] != "unit"])


@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="needs ../shared/data")
def test_1584_cells_of_the_materials_project():
    path = SHARED / "data" / "mp-elasticity.json.gz"
    structures, failures = prepare(campaign({"kind": "files", "paths": [str(path)]}, structures_per_job=200))
    counts = check_entry(structures).counts
    assert counts["sources_read"] == 1584
    assert counts["failed"] == read_table(failures, "failures").num_rows
    table = read_table(structures, "structures", columns=["structure_id", "variant", "n_atoms"]).to_pylist()
    assert len({row["structure_id"] for row in table}) == counts["accepted"] > 1400
    assert all(row["structure_id"].startswith("mp-") for row in table)
    assert max(row["n_atoms"] for row in table) <= 200
    reasons = {row["reason"] for row in read_table(failures, "failures").to_pylist()}
    assert reasons <= {"unsupported_element", "duplicate"}, json.dumps(sorted(reasons))


def test_what_a_domain_cannot_make_has_a_row_with_its_reason():
    domains = [
        {"kind": "bulk", "supercell": None},
        {"kind": "monolayer"},
        {"kind": "surface", "miller": [[1, 1, 1]], "supercell": {"min_length_A": 3}},
        {"kind": "hot", "supercell": {"min_length_A": 8, "max_atoms": 500}},
        {"kind": "substitution", "replace": {"Mg": ["Fm"]}},
    ]
    structures, failures = prepare(
        campaign({"kind": "demo", "names": ["MgO"]}, domains=domains, max_atoms=20)
    )
    assert [row["variant"] for row in read_table(structures, "structures").to_pylist()] == ["unit"]
    rows = read_table(failures, "failures").to_pylist()
    assert {row["key"]: row["reason"] for row in rows} == {
        "demo-MgO:hot": "too_many_atoms",
        "demo-MgO:monolayer": "not_applicable",
        "demo-MgO:substitution-Fm-on-Mg0": "unsupported_element",
        "demo-MgO:surface-111-t0": "polar_surface",
    }
    assert {row["structure_id"] for row in rows} == {"demo-MgO"}
    counts = check_entry(structures).counts
    # the crystal was accepted; its cells were not
    assert (counts["accepted"], counts["failed"], counts["cells"], counts["cells_refused"]) == (1, 0, 1, 4)


def test_a_campaign_without_a_single_cell_says_why():
    with pytest.raises(
        UserError, match=r"(?s)no cell could be made.*demo-MgO:layered: not_applicable"
    ) as error:
        prepare(campaign({"kind": "demo", "names": ["MgO"]}, domains=[{"kind": "layered"}]))
    assert "bonded in 3D" in str(error.value)


def test_a_ramp_longer_than_names_of_snapshots_have_room_for_is_refused_before_anything_runs():
    melt = {
        "kind": "liquid",
        "melt_ps": 15000,
        "cool_ps": 15000,
        "supercell": {"min_length_A": 5, "max_atoms": 16},
    }
    with pytest.raises(UserError, match=r"liquid.*\d{8} steps with its ramps.*9999999.*shorter"):
        prepare(campaign(domains=[melt]))
    assert not Path("results/structures.parquet").exists()


def test_two_atoms_of_an_element_at_nearly_one_place_are_one_site_rounded(tmp_path):
    lines = [
        "own",
        "1",
        "4 0 0",
        "0 4 0",
        "0 0 4",
        "Al Ni",
        "2 1",
        "Direct",
        "0.333 0 0",
        "0.3335 0 0",
        "0.8 0.5 0.5",
    ]
    (tmp_path / "a.vasp").write_text("\n".join(lines))
    _, failures = prepare(campaign({"kind": "demo"}, {"kind": "files", "paths": ["a.vasp"]}))
    (failed,) = read_table(failures, "failures").to_pylist()
    assert failed["reason"] == "overlapping_atoms"
    assert "(Al-Al) are 0.002 Å apart" in failed["detail"]
    assert "the same site, rounded" in failed["detail"]


def test_warnings_of_files_are_a_column_of_the_table(tmp_path):
    from cif_files import block, cell, operations, sites

    cube = cell("a 4.1 b 4.1 c 4.1 alpha 90 beta 90 gamma 90")
    sound = block(cube, operations(), sites(["Al1 Al 0 0 0", "Ni1 Ni .5 .5 .5"]), formula="Al Ni", Z=1)
    unsure = block(cube, sites(["Fe1 Fe 0 0 0", "Al1 Al .5 .5 .5"]), formula="Al Fe")
    broken = block(cube, operations(), sites(["Ti1 Ti 0 0 0", "Al1 Al .5 .5 .5"]), formula="Al Ti O3")
    for name, text in (("sound", sound), ("unsure", unsure), ("broken", broken)):
        (tmp_path / f"{name}.cif").write_text(text)
    structures, failures = prepare(campaign({"kind": "files", "paths": ["*.cif"]}))
    warned = {
        row["structure_id"]: row["warnings"] for row in read_table(structures, "structures").to_pylist()
    }
    assert warned == {"sound": [], "unsure": ["unsure.cif: the file gives no symmetry; read as P 1"]}
    (failed,) = read_table(failures, "failures").to_pylist()
    assert (failed["structure_id"], failed["reason"]) == ("broken", "incomplete")
    assert "the file's formula is AlO3Ti, its sites give AlTi" in failed["detail"]


def test_the_table_says_under_which_licences_its_sources_are():
    from pesatlas.tables.schemas import SOURCES

    write_xyz("mine.xyz", "TiO2", "Si")
    write_xyz("other.xyz", "Al")
    sources = [
        {"kind": "demo"},
        {"kind": "files", "paths": ["mine.xyz"], "licence": "CC-BY-4.0"},
        {"kind": "files", "paths": ["other.xyz"]},
    ]
    structures, _ = prepare(campaign(*sources))
    stored = json.loads(pq.read_schema(structures).metadata[SOURCES.encode()])
    assert [(each["kind"], each["read"]) for each in stored] == [("demo", 8), ("files", 3)]
    assert "literature" in stored[0]["licences"][0]
    assert stored[1]["licences"] == ["CC-BY-4.0", "not stated: that of the user's files"]
    # what is said of a licence decides nothing
    assert campaign(sources[1]).identity() == campaign({"kind": "files", "paths": ["mine.xyz"]}).identity()
