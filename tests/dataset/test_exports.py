"""Every export is read back by the library that people use for it; units and signs are checked by finite
strain."""

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

import pesatlas
from collecting import collect
from export_readers import READERS, TOLERANCES, read_extxyz
from pesatlas import testing
from pesatlas.campaign.layout import below
from pesatlas.dataset.convert import to_ase, to_pymatgen
from pesatlas.dataset.export import export_dataset, formats
from pesatlas.dataset.imported import import_dataset
from pesatlas.errors import UserError
from pesatlas.tables import TableWriter, read_entry, read_table, write_table
from pesatlas.testing.labelled_dataset import labelled_rows

DOCS = Path(__file__).parents[2] / "docs" / "dataset.md"

for reader, read in READERS.items():
    globals()[f"Test_{reader}"] = type(
        f"Test_{reader}",
        (testing.ExporterTests,),
        {"kind": reader, "read": staticmethod(read), "__module__": __name__, **TOLERANCES.get(reader, {})},
    )


def test_every_form_has_a_reader():
    assert set(READERS) == set(formats())


@pytest.fixture
def emt(finished, tmp_path, monkeypatch):
    """Put labels of EMT, which obey physics to machine precision, in place of the dataset; return the
    results."""
    monkeypatch.chdir(tmp_path)  # matgl makes folders where it is
    for level in ("pbe", "r2scan"):
        path = finished / f"dataset/{level}/part-00000.parquet"
        example, *_ = read_table(path, "dataset").to_pylist()
        rows = labelled_rows(level, example)
        with TableWriter(path, "dataset", "s") as writer:
            writer.write(rows)
    return finished


def rows_of(results, level="pbe", verdicts=("accepted", "flagged")):
    rows = read_table(below(results, "dataset", level=level), "dataset").to_pylist()
    return {row["snapshot_id"].split(":")[-1]: row for row in rows if row["verdict"] in verdicts}


def short(snapshot_id):
    return snapshot_id.split(":")[-1]


def test_only_accepted_rows_are_exported_unless_asked(emt, tmp_path):
    for verdicts, count in ((["accepted"], 12), (["accepted", "flagged"], 13), (["flagged"], 1)):
        export_dataset(emt, "extxyz", tmp_path / "x", verdicts=verdicts)
        assert len(read_extxyz(tmp_path / "x", "pbe", [])) == count
        record = json.loads((tmp_path / "x/export.json").read_text())
        assert sum(record["rows"]["pbe"].values()) == count
        assert record["made_from"]["pbe"] == read_entry(emt / "dataset/pbe/part-00000.parquet").sha256


def test_a_folder_that_is_no_export_is_left_alone(emt, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("years")
    with pytest.raises(UserError, match="not an export in the format matpes"):
        export_dataset(emt, "matpes", tmp_path / "mine", verdicts=["accepted"])
    assert (tmp_path / "mine/thesis.tex").exists()


def test_an_export_whose_mark_is_damaged_is_known_by_its_record(emt, tmp_path):
    export_dataset(emt, "extxyz", tmp_path / "x", verdicts=["accepted"])
    (tmp_path / "x/.pesatlas-export").write_bytes(b"ex\xf4xyz")
    with pytest.raises(UserError, match="not an export in the format matpes"):
        export_dataset(emt, "matpes", tmp_path / "x", verdicts=["accepted"])
    assert export_dataset(emt, "extxyz", tmp_path / "x", verdicts=["accepted"])


def test_matgl_trains_on_its_export(emt, tmp_path):
    """A real epoch with energies, forces and stresses."""
    from matgl.models import TensorNet
    from matgl.utils.training import MGLDatasetLoader, MGLPotentialTrainer

    export_dataset(emt, "matgl", tmp_path / "x", verdicts=["accepted"])
    dataset = MGLDatasetLoader.from_json(tmp_path / "x/test-PBE.json.gz", save_cache=False)
    model = TensorNet(element_types=dataset.element_types, units=8, nblocks=1, num_rbf=4, is_intensive=False)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = MGLPotentialTrainer(
        model,
        max_epochs=1,
        batch_size=4,
        accelerator="cpu",
        trainer_kwargs=quiet,
        loader_kwargs={"frac_list": (0.6, 0.2, 0.2), "num_workers": 0},
    )
    trainer.fit(dataset=dataset)
    assert np.isfinite(float(trainer.trainer.callback_metrics["test_Stress_MAE"]))
    atoms = json.loads((tmp_path / "x/test-PBE-atoms.json").read_text())
    assert atoms == {"Cl": -2.0, "Na": -1.0}


@pytest.mark.parametrize(("kind", "name"), [("matpes", "test-PBE.json.gz"), ("extxyz", "test-PBE.extxyz")])
def test_what_was_exported_is_imported_with_the_same_numbers(emt, tmp_path, kind, name):
    export_dataset(emt, kind, tmp_path / "export", verdicts=["accepted"])
    rows = rows_of(emt, verdicts=("accepted",))
    assert import_dataset(tmp_path / "export" / name, "pbe", tmp_path / "imported.parquet") == len(rows)
    for row in read_table(tmp_path / "imported.parquet", "imported").to_pylist():
        mine = rows[short(row["snapshot_id"])]
        assert (row["structure_id"], row["chemical_system"]) == ("CuAg", "Ag-Cu")
        assert row["energy_eV"] == pytest.approx(mine["energy_eV"], abs=1e-9)
        for column in (
            "numbers",
            "cell_A",
            "positions_A",
            "forces_eV_per_A",
            "stress_eV_per_A3",
            "magmoms_muB",
        ):
            assert np.abs(np.array(row[column]) - mine[column]).max() < 1e-7
        assert row["level_fingerprint"].startswith("imported-")


def test_files_of_mace_and_lines_of_json_are_imported_too(emt, tmp_path):
    export_dataset(emt, "mace", tmp_path / "mace", verdicts=["accepted"])
    assert import_dataset(tmp_path / "mace/test-PBE-train.extxyz", "pbe", tmp_path / "a.parquet") == 9
    export_dataset(emt, "matpes", tmp_path / "matpes", verdicts=["accepted"])
    documents = json.loads(gzip.decompress((tmp_path / "matpes/test-PBE.json.gz").read_bytes()))
    (tmp_path / "lines.jsonl").write_text("\n".join(json.dumps(d) for d in documents))
    assert import_dataset(tmp_path / "lines.jsonl", "pbe", tmp_path / "b.parquet") == 12


def test_an_imported_set_is_compared_with_the_dataset_as_documented(emt, tmp_path):
    export_dataset(emt, "matpes", tmp_path / "x", verdicts=["accepted"])
    import_dataset(tmp_path / "x/test-PBE.json.gz", "pbe", tmp_path / "theirs.parquet")
    rows = read_table(tmp_path / "theirs.parquet", "imported").to_pylist()
    for i, row in enumerate(rows):
        row["snapshot_id"] = f"theirs-{i}"
        row["energy_eV"] += 0.08 * (-1) ** i  # of 8 atoms
        row["forces_eV_per_A"] = [force + 0.03 for force in row["forces_eV_per_A"]]
        row["stress_eV_per_A3"][3] -= 0.001
    rows[0]["positions_A"][4] += 0.01  # another structure
    write_table(emt / "imported/theirs.parquet", "imported", rows, "s")
    (sql,) = re.findall(r'pesatlas query "(.* FROM imported theirs JOIN .*)"', DOCS.read_text())
    (found,) = pesatlas.open(emt).query(sql).to_pylist()
    expected = {"both": 11, "energy_eV_per_atom": 0.01, "force_eV_per_A": 0.03, "stress_eV_per_A3": 0.001}
    assert found.pop("level") == "pbe"
    assert found == pytest.approx(expected)


def test_an_import_is_a_source_of_structures(emt, tmp_path):
    from pesatlas.structures.sources.files import Options, load

    export_dataset(emt, "matpes", tmp_path / "x", verdicts=["accepted"])
    import_dataset(tmp_path / "x/test-PBE.json.gz", "pbe", tmp_path / "other.parquet")
    crystals = list(load(Options(paths=[str(tmp_path / "other.parquet")])))
    assert len(crystals) == 12
    assert {len(crystal.numbers) for crystal in crystals} == {8}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("data.cif", "", "unknown format"),
        ("data.json", '[{"matpes_id": "a"}]', "a: unreadable: data.json: entry 1: no pymatgen structure"),
        ("data.json", '[{"matpes_id": ', "entry 1: no JSON"),
        ("data.xyz", "1\nLattice='1 0 0 0 1 0 0 0 1'\nH 0 0 0\n", "incomplete: .* no energy and no forces"),
    ],
)
def test_what_cannot_be_imported_is_said_with_its_row(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        import_dataset(tmp_path / name, "pbe", tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_a_row_is_an_object_of_ase_and_of_pymatgen(finished):
    row = read_table(finished / "dataset/pbe/part-00000.parquet", "dataset").to_pylist()[0]
    atoms, structure = to_ase(row), to_pymatgen(row)
    assert isinstance(atoms, Atoms)
    assert atoms.get_potential_energy() == row["energy_eV"]
    assert atoms.get_potential_energy(force_consistent=True) == row["free_energy_eV"]
    assert np.allclose(structure.cart_coords, atoms.positions)
    assert structure.lattice.volume == pytest.approx(atoms.get_volume())


def test_every_format_writes_a_campaign_as_it_comes(campaign, tables, tmp_path):
    results, files, _ = tables
    collect(campaign, results, files)
    for kind in formats():
        export_dataset(results, kind, tmp_path / kind, verdicts=["accepted"])
        record = json.loads((tmp_path / kind / "export.json").read_text())
        assert {level: sum(n.values()) for level, n in record["rows"].items()} == {"pbe": 4, "r2scan": 4}


def elements_in(folder, *splits):
    """Symbols in the frames of some splits of an export for MACE, and those of its isolated atoms."""
    from ase.io import read

    frames = [a for s in splits for p in folder.glob(f"*-PBE-{s}.extxyz") for a in read(p, ":")]
    isolated = {a.symbols[0] for a in frames if a.info["config_type"] == "IsolatedAtom"}
    return {s for a in frames if a.info["config_type"] == "Default" for s in a.symbols}, isolated


@pytest.fixture
def three_crystals(emt):
    """Put Ni into the split valid, and Pd into test alone; energies of isolated atoms are given for these,
    and for Pt."""
    path = emt / "dataset/pbe/part-00000.parquet"
    rows = read_table(path, "dataset").to_pylist()
    for row in rows:
        other = {"valid": 28, "test": 46}.get(row["split"])
        if other:
            row["numbers"] = [other if n == 47 else n for n in row["numbers"]]
    with TableWriter(path, "dataset", "s") as writer:
        writer.write(rows)
    isolated_energies(emt, Cu=-1.0, Ag=-2.0, Ni=-3.0, Pd=-4.0, Pt=-5.0)
    return emt


def isolated_energies(results, **energies):
    manifest = json.loads(below(results, "manifest").read_text())
    manifest["references"]["atoms_eV"]["pbe"] = energies
    below(results, "manifest").write_text(json.dumps(manifest))


def test_mace_is_given_the_isolated_atoms_that_it_takes_and_no_frame_that_it_stops_at(
    three_crystals, tmp_path
):
    export_dataset(three_crystals, "mace", tmp_path / "x", verdicts=["accepted"])
    learned, isolated = elements_in(tmp_path / "x", "train", "valid")
    # MACE 0.3.16 stops if these differ
    assert learned == isolated == {"Cu", "Ag", "Ni"}
    assert elements_in(tmp_path / "x", "test") == (set(), set())
    assert elements_in(tmp_path / "x", "test-unseen")[0] == {"Cu", "Pd"}
    readme = (tmp_path / "x/README.md").read_text()
    assert "Isolated atoms of Pd, Pt are left out" in readme
    assert "Frames of the split test with elements that no frame of train or valid has: 1." in readme
    record = json.loads((tmp_path / "x/export.json").read_text())
    assert sum("Pd, Pt" in remark for remark in record["remarks"]) == 1


def test_mace_is_given_all_isolated_atoms_or_none(three_crystals, tmp_path):
    isolated_energies(three_crystals, Cu=-1.0, Ni=-3.0)
    export_dataset(three_crystals, "mace", tmp_path / "x", verdicts=["accepted"])
    assert elements_in(tmp_path / "x", "train", "valid") == ({"Cu", "Ag", "Ni"}, set())
    readme = (tmp_path / "x/README.md").read_text()
    assert "there is no energy for Ag" in readme
    assert "--E0s average" in readme


def test_bader_charges_are_exported_by_the_names_of_matpes(finished, tmp_path):
    for kind in ("matpes", "extxyz", "pymatgen"):
        export_dataset(finished, kind, tmp_path / kind, verdicts=["accepted"])
    documents = {
        level: json.loads(gzip.decompress((tmp_path / f"matpes/test-{level}.json.gz").read_bytes()))
        for level in ("PBE", "r2SCAN")
    }
    assert all(each["bader_charges"] == [6.14, 7.86] for each in documents["PBE"])
    assert all(each["bader_magmoms"] == [0.25, -0.5] for each in documents["PBE"])
    assert all(each["bader_charges"] is each["bader_magmoms"] is None for each in documents["r2SCAN"])
    for atoms, *_ in read_extxyz(tmp_path / "extxyz", "pbe", []).values():
        assert atoms.arrays["bader_charges"].tolist() == [6.14, 7.86]
        assert atoms.arrays["bader_net_charges"].tolist() == [0.86, -0.86]
        assert atoms.arrays["bader_magmoms"].tolist() == [0.25, -0.5]
    for atoms, *_ in read_extxyz(tmp_path / "extxyz", "r2scan", []).values():
        assert "bader_charges" not in atoms.arrays
    entries = json.loads(gzip.decompress((tmp_path / "pymatgen/test-PBE-entries.json.gz").read_bytes()))
    assert entries[0]["data"]["bader_net_charges_e"] == [0.86, -0.86]


def test_a_dataset_of_an_older_version_is_exported_without_charges(tmp_path):
    for kind in ("matpes", "extxyz", "huggingface"):
        export_dataset(Path(__file__).parent / "schema_5", kind, tmp_path / kind, verdicts=["accepted"])
    (document, *_) = json.loads(gzip.decompress((tmp_path / "matpes/test-PBE.json.gz").read_bytes()))
    assert document["bader_charges"] is None
