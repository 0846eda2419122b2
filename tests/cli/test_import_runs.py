"""`pesatlas import` of finished VASP calculations, from outside: names that people give them, archives, what
is no label, counts."""

import bz2
import gzip
import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from existing_runs import PLUS_U, archive, make_run, pack, potcars_called_as_vasps
from pesatlas.label.archive import pack as pack_ours
from pesatlas.storage.store import Store
from pesatlas.tables import read_table
from vasp_cases import crystal
from vasp_double import energy_forces_stress
from vasp_outcar import as_vasp_4, with_vdw

CORPUS = Path(__file__).parents[3] / "shared" / "data" / "vasp" / "real"


def imports(*arguments, cwd):
    command = [sys.executable, "-m", "pesatlas.cli.main", "import", *map(str, arguments)]
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"}
    )
    return done.returncode, done.stdout + done.stderr


def tables(path):
    """Rows and failures of an import, by name."""
    beside = path.with_name(path.name.replace(".parquet", ".failures.parquet"))
    rows = read_table(path, "imported").to_pylist() if path.exists() else []
    failures = read_table(beside, "failures").to_pylist()
    return {row["snapshot_id"]: row for row in rows}, {row["key"]: row for row in failures}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Runs as they are found: none of them is like another, and only some are labels of MatPES' PBE."""
    top = tmp_path_factory.mktemp("kept")
    runs = top / "runs"
    with potcars_called_as_vasps(top / "potcars"):
        make_run(runs / "plain")
        pack(make_run(runs / "atomate2" / "static-1", "halide"))
        pack(make_run(runs / "custodian", "magnetic oxide"), ".relax2")
        (runs / "custodian" / "OUTCAR.orig").write_text("put aside")
        (runs / "custodian" / "error.1.tar.gz").write_bytes(b"what custodian corrected")
        archive(make_run(runs / "in a tar", SIGMA="0.04"), runs / "old.tar.gz")
        archive(make_run(runs / "zipped", "lanthanide"), runs / "old.zip")
        make_run(runs / "with U", "magnetic oxide", **PLUS_U)
        make_run(runs / "another POTCAR", "halide", titles={"PAW_PBE Cl 06Sep2000": "PAW_PBE Cl 17Jan2003"})
        make_run(runs / "r2scan", "halide", "R2SCAN")
        make_run(runs / "atom", "atom in a box")
        make_run(runs / "no OUTCAR", "metal", NELM="150")
        (runs / "no OUTCAR" / "OUTCAR").unlink()
        make_run(runs / "no moments", "magnetic oxide", LORBIT=None)
        make_run(runs / "no vasprun")
        (runs / "no vasprun" / "vasprun.xml").unlink()
        torn = make_run(runs / "torn", "halide", NELM="120") / "vasprun.xml"
        torn.write_text(torn.read_text()[:-2000])
        moved = make_run(runs / "moved", "halide", NELM="130") / "vasprun.xml"
        step = moved.read_text()
        inner = step[step.index(" <calculation>") : step.index(" </calculation>") + len(" </calculation>\n")]
        moved.write_text(step.replace(inner, inner + inner))
        shutil.copytree(runs / "plain", runs / "plain copy")
        (runs / "broken.tar.gz").write_bytes(gzip.compress(b"no tar")[:-4])
    return runs


@pytest.fixture(scope="module")
def imported(kept):
    to = kept.parent / "theirs.parquet"
    status, said = imports(kept, "--level", "pbe", "--to", to, cwd=kept.parent)
    return status, said, *tables(to)


def test_every_run_is_a_row_or_a_failure_with_its_reason(imported):
    status, said, rows, failures = imported
    assert status == 0, said
    assert set(rows) == {
        "runs/plain",
        "runs/atomate2/static-1",
        "runs/custodian/relax2",
        "runs/old.zip/zipped",
        "runs/no OUTCAR",
        "runs/no moments",
    }
    assert {name: row["reason"] for name, row in failures.items()} == {
        "runs/old.tar.gz/in a tar": "wrong_level",
        "runs/with U": "wrong_level",
        "runs/another POTCAR": "wrong_level",
        "runs/r2scan": "wrong_level",
        "runs/atom": "not_periodic",
        "runs/no vasprun": "incomplete",
        "runs/torn": "crashed",
        "runs/moved": "not_static",
        "runs/plain copy": "duplicate",
        "runs/broken.tar.gz": "unreadable",
    }
    for line in (
        "16  runs found",
        "6  rows of level pbe",
        "10  failures",
        "4    wrong_level",
        "2 files that were set aside",
    ):
        assert line in said


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("old.tar.gz/in a tar", "SIGMA: SIGMA 0.04 (level: 0.05)"),
        ("with U", "LDAU: LDAU U(Fe) = 5.3 eV (level: no U)"),
        ("another POTCAR", "POTCAR Cl: POTCAR Cl PAW_PBE Cl 17Jan2003 (level: PAW_PBE Cl 06Sep2000)"),
        ("r2scan", "METAGGA: METAGGA R2SCAN (level: PE)"),
    ],
)
def test_a_run_of_another_level_names_every_key_that_differs(imported, name, keys):
    assert imported[3][f"runs/{name}"]["detail"] == keys


def test_numbers_are_those_of_the_run_in_our_units_and_its_order_of_atoms(imported):
    row = imported[2]["runs/custodian/relax2"]
    numbers, cell, _ = crystal("magnetic oxide")
    assert sorted(row["numbers"]) == sorted(numbers)
    positions = np.reshape(row["positions_A"], (-1, 3))
    symbols = [{8: "O", 26: "Fe"}[z] for z in row["numbers"]]
    energy, forces, stress = energy_forces_stress(
        np.reshape(row["cell_A"], (3, 3)), positions, symbols, "PBE"
    )
    assert row["cell_A"] == pytest.approx(cell.ravel())
    assert row["energy_eV"] == pytest.approx(energy, abs=1e-5)
    assert row["forces_eV_per_A"] == pytest.approx(forces.ravel(), abs=1e-5)
    assert row["stress_eV_per_A3"][:3] == pytest.approx(np.diag(stress), abs=1e-6)
    assert [abs(m) > 1 for m in row["magmoms_muB"]] == [z == 26 for z in row["numbers"]]
    assert (row["level"], row["code"]) == ("pbe", "vasp 6.4.3")


@pytest.mark.parametrize(
    ("name", "why"), [("no OUTCAR", "no OUTCAR"), ("no moments", "OUTCAR has no moments of the ions")]
)
def test_moments_that_are_not_told_are_null_and_the_row_says_why(imported, name, why):
    _, said, rows, _ = imported
    row = rows[f"runs/{name}"]
    assert row["magmoms_muB"] is None
    assert why in json.loads(row["settings"])["notes"][0]
    assert f"1 rows: {why}" in said


def test_globs_and_files_and_places_given_twice(kept, tmp_path):
    to = tmp_path / "few.parquet"
    places = ["runs/*/static-1", "runs/plain/vasprun.xml", "runs/plain", "runs/old.zip"]
    status, said = imports(*places, "--level", "pbe", "--to", to, cwd=kept.parent)
    rows, failures = tables(to)
    assert status == 0, said
    assert set(rows) == {"atomate2/static-1", "plain", "old.zip/zipped"}
    assert failures == {}
    # OUTCAR, which lies beside the file that was named, is of the same run
    assert rows["plain"]["magmoms_muB"] is not None


def test_a_set_of_versions_is_told_and_one_can_be_taken(tmp_path):
    with potcars_called_as_vasps(tmp_path / "potcars"):
        make_run(tmp_path / "runs" / "new")
        make_run(tmp_path / "runs" / "old", "halide", version="6.3.2")
    to = tmp_path / "all.parquet"
    _, said = imports("runs", "--level", "pbe", "--to", to, cwd=tmp_path)
    assert "several versions of VASP: 6.4.3 (1 rows), 6.3.2 (1 rows)" in said
    assert len({row["level_fingerprint"] for row in tables(to)[0].values()}) == 2
    _, said = imports("runs", "--level", "pbe", "--vasp-version", "6.4.3", "--to", to, cwd=tmp_path)
    rows, failures = tables(to)
    assert set(rows) == {"runs/new"}
    assert failures["runs/old"]["detail"] == "VASP version: VASP version 6.3.2 (level: 6.4.3)"


def test_a_level_of_ones_own_is_what_the_first_run_has(tmp_path):
    mine = {**PLUS_U, "ENCUT": "520", "ISMEAR": "-5"}
    with potcars_called_as_vasps(tmp_path / "potcars"):
        make_run(tmp_path / "runs" / "1", "magnetic oxide", **mine)
        make_run(
            tmp_path / "runs" / "2",
            "metal",
            ENCUT="520",
            ISMEAR="-5",
            LDAU=".TRUE.",
            LDAUL="-1",
            LDAUU="0",
            LDAUJ="0",
        )
        make_run(tmp_path / "runs" / "3", "magnetic oxide", **{**mine, "LDAUU": "4.0 0"})
        make_run(tmp_path / "runs" / "4", "halide", ENCUT="680", ISMEAR="-5")
    to = tmp_path / "mine.parquet"
    status, said = imports("runs", "--level", "plus-u", "--to", to, cwd=tmp_path)
    rows, failures = tables(to)
    assert status == 0, said
    assert set(rows) == {"runs/1", "runs/2"}
    assert {name: row["detail"].split(":")[0] for name, row in failures.items()} == {
        "runs/3": "LDAU",
        "runs/4": "ENCUT",
    }
    assert "level plus-u has the settings of runs/1" in said


def test_our_own_archives_are_read_from_the_store(tmp_path):
    with potcars_called_as_vasps(tmp_path / "potcars"):
        made = make_run(tmp_path / "made")
    (made / "POTCAR").unlink()
    store = Store(tmp_path / "store" / "outputs")
    with store.writer("job") as ledger:
        ledger.append("a" * 32, pack_ours(made))
        ledger.append("b" * 32, b'{"kind": "a label, no outputs"}')
    to = tmp_path / "t.parquet"
    status, said = imports("store/outputs", "--level", "pbe", "--to", to, cwd=tmp_path)
    assert status == 0, said
    assert set(tables(to)[0]) == {f"outputs/{'a' * 32}"}


def test_an_archive_writes_nothing_outside_its_own_folder(tmp_path):
    with potcars_called_as_vasps(tmp_path / "potcars"):
        made = make_run(tmp_path / "made")
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        for name in ("vasprun.xml", "OUTCAR"):
            tar.add(made / name, f"../../{tmp_path.name}/escaped/{name}")
    to = tmp_path / "t.parquet"
    status, said = imports("bad.tar", "--level", "pbe", "--to", to, cwd=tmp_path)
    assert status == 0, said
    assert not (tmp_path / "escaped").exists()
    assert len(tables(to)[0]) == 1


def packed(run, path):
    """A tar of a run's outputs, one after the other, packed as the name says; the run is removed."""
    plain = path.with_name("plain.tar")
    with tarfile.open(plain, "w") as tar:
        for each in ("vasprun.xml", "OUTCAR"):
            tar.add(run / each, f"runs/{each}")
    shutil.rmtree(run)
    data, kind = plain.read_bytes(), path.suffix.strip(".")
    plain.unlink()
    if kind in {"lzma", "tlz"}:
        # a dictionary of another size than usual begins otherwise
        data = lzma.compress(data, lzma.FORMAT_ALONE, preset=9 if kind == "tlz" else 6)
    elif kind in {"xz", "txz"}:
        data = lzma.compress(data)
    elif kind in {"bz2", "tbz2"}:
        data = bz2.compress(data)
    elif kind == "gz":
        data = gzip.compress(data)
    elif kind == "zst":
        data = pa.compress(data, "zstd", asbytes=True)
    path.write_bytes(data)


ARCHIVES = (
    *(
        "vasprun.xml.tar.bz2",
        "OUTCAR.tar.gz",
        "vaspruns.tar.xz",
        "vasprun.xmls.tar.lzma",
        "vaspruns.tar.lzma",
    ),
    *("a.tlz", "b.txz", "c.tbz2", "vasprun.xml.tar.zst", "OUTCAR.tar"),
)


def test_archives_are_archives_whatever_outputs_their_names_are_of(tmp_path):
    with potcars_called_as_vasps(tmp_path / "potcars"):
        for i, name in enumerate(ARCHIVES):
            folder = tmp_path / "runs" / str(i)
            folder.mkdir(parents=True)
            packed(make_run(tmp_path / "made", NELM=str(150 + i)), folder / name)
    for name in ("7z", "rar", "tar.lz4"):
        (tmp_path / "runs" / f"vaspruns.{name}").write_bytes(b"what nothing here can open")
    to = tmp_path / "t.parquet"
    status, said = imports("runs", "--level", "pbe", "--to", to, cwd=tmp_path)
    rows, failures = tables(to)
    assert status == 0, said
    assert set(rows) == {f"runs/{i}/{name}/runs" for i, name in enumerate(ARCHIVES)}, failures
    assert all(row["magmoms_muB"] is not None for row in rows.values())
    # what cannot be opened may hold runs: it is counted
    assert {name: row["reason"] for name, row in failures.items()} == {
        f"runs/vaspruns.{name}": "unreadable" for name in ("7z", "rar", "tar.lz4")
    }
    assert "pack it again" in failures["runs/vaspruns.7z"]["detail"]
    status, said = imports(
        *(f"runs/{i}/{name}" for i, name in enumerate(ARCHIVES)), "--level", "pbe", "--to", to, cwd=tmp_path
    )
    assert status == 0, said
    assert len(tables(to)[0]) == len(ARCHIVES)


def test_names_that_differ_by_what_joins_them_are_two_names(tmp_path):
    """phonopy's displacements in both directions."""
    with potcars_called_as_vasps(tmp_path / "potcars"):
        (tmp_path / "runs").mkdir()
        for i, name in enumerate(("vasprun.xml-1", "vasprun.xml--1", "1.vasprun.xml")):
            made = make_run(tmp_path / "made", NELM=str(150 + i))
            (made / "vasprun.xml").rename(tmp_path / "runs" / name)
            shutil.rmtree(made)
    to = tmp_path / "t.parquet"
    status, said = imports("runs", "--level", "pbe", "--to", to, cwd=tmp_path)
    assert status == 0, said
    assert set(tables(to)[0]) == {"runs/vasprun.xml-1", "runs/-1", "runs/1.vasprun.xml"}


@pytest.mark.parametrize("packing", ["lzma", "zst"])
def test_outputs_that_are_packed_in_other_ways_are_read(tmp_path, packing):
    with potcars_called_as_vasps(tmp_path / "potcars"):
        run = make_run(tmp_path / "runs" / "1")
    for name in ("vasprun.xml", "OUTCAR"):
        data = (run / name).read_bytes()
        new = (
            lzma.compress(data, lzma.FORMAT_ALONE)
            if packing == "lzma"
            else pa.compress(data, "zstd", asbytes=True)
        )
        (run / f"{name}.{packing}").write_bytes(new)
        (run / name).unlink()
    to = tmp_path / "t.parquet"
    status, said = imports("runs", "--level", "pbe", "--to", to, cwd=tmp_path)
    assert status == 0, said
    assert tables(to)[0]["runs/1"]["magmoms_muB"] is not None


def test_of_two_copies_the_one_with_an_outcar_is_the_row_in_any_order(tmp_path):
    with potcars_called_as_vasps(tmp_path / "potcars"):
        whole = make_run(tmp_path / "runs" / "2")
        make_run(tmp_path / "runs" / "5", "halide")
    for name in ("1", "3"):
        (tmp_path / "runs" / name).mkdir()
        shutil.copy(whole / "vasprun.xml", tmp_path / "runs" / name)
    shutil.copytree(whole, tmp_path / "runs" / "4")
    # whose OUTCAR is of another run has its own reason, whichever is first
    for name in ("0", "6"):
        shutil.copytree(whole, tmp_path / "runs" / name)
        shutil.copy(tmp_path / "runs" / "5" / "OUTCAR", tmp_path / "runs" / name)
    to = tmp_path / "t.parquet"
    status, said = imports("runs", "--level", "pbe", "--to", to, cwd=tmp_path)
    rows, failures = tables(to)
    assert status == 0, said
    assert list(rows) == ["runs/2", "runs/5"]
    assert rows["runs/2"]["magmoms_muB"] is not None
    assert {name: row["reason"] for name, row in failures.items()} == {
        "runs/0": "crashed",
        "runs/1": "duplicate",
        "runs/3": "duplicate",
        "runs/4": "duplicate",
        "runs/6": "crashed",
    }
    assert failures["runs/1"]["detail"].endswith("that of runs/2")


@pytest.mark.parametrize(("told", "vdw", "status"), [("12", 0.25, 1), (None, 0.25, 1), (None, 0.0, 0)])
def test_a_run_with_van_der_waals_is_read_and_of_another_level(tmp_path, told, vdw, status):
    """Builds that write energies and forces twice: with van der Waals, which is the calculation's, and
    without."""
    with potcars_called_as_vasps(tmp_path / "potcars"):
        run = make_run(tmp_path / "runs" / "1", IVDW=told)
    (run / "OUTCAR").write_text(with_vdw((run / "OUTCAR").read_text(), vdw))
    to = tmp_path / "t.parquet"
    found, said = imports("runs", "--level", "pbe", "--to", to, cwd=tmp_path)
    rows, failures = tables(to)
    assert found == status, said
    if status == 0:
        assert set(rows) == {"runs/1"}
        return
    assert failures["runs/1"]["reason"] == "wrong_level"
    word = told or "not told, but OUTCAR has vdW of -0.2500 eV"
    assert failures["runs/1"]["detail"] == f"IVDW: IVDW {word} (level: 0)"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (None, None),
        ("  in kB  ********      1.00      1.00      0.00      0.00      0.00", "written by VASP 4.6.35"),
    ],
)
def test_an_outcar_of_vasp_4_is_read_or_its_version_is_the_reason(tmp_path, monkeypatch, row, said):
    monkeypatch.setenv("VASP_DOUBLE_LAYOUT", "vasp5")
    with potcars_called_as_vasps(tmp_path / "potcars"):
        run = make_run(tmp_path / "runs" / "1", version="4.6.35")
    path = run / "OUTCAR"
    path.write_text(as_vasp_4(path.read_text(), row))
    to = tmp_path / "t.parquet"
    _, output = imports("runs", "--level", "pbe", "--to", to, cwd=tmp_path)
    rows, failures = tables(to)
    assert "Traceback" not in output
    if said is None:
        assert rows["runs/1"]["code"] == "vasp 4.6.35"
        # all digits are vasprun.xml's
        assert any(round(x, 6) != x for x in rows["runs/1"]["stress_eV_per_A3"])
    else:
        assert failures["runs/1"]["reason"] == "bad_output"
        assert said in failures["runs/1"]["detail"]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("empty", "no run of VASP in empty"),
        ("nowhere", "no such file or folder"),
        ("folder.xyz", "no run of VASP in folder.xyz"),
        ("x.cif", "x.cif: a crystal file has no labels to import. Name it as a source of a campaign"),
        ("POSCAR", "POSCAR: a crystal file has no labels to import. Name it as a source of a campaign"),
        ("n*", "matches 1 files, none of them"),
    ],
)
def test_where_there_is_nothing_it_is_said(tmp_path, place, said):
    for name in ("empty", "folder.xyz"):
        (tmp_path / name).mkdir()
    for name in ("notes.txt", "x.cif", "POSCAR"):
        (tmp_path / name).write_text("OUTCAR")
    status, output = imports(place, "--level", "pbe", "--to", "t.parquet", cwd=tmp_path)
    assert status == 1
    assert said in output
    assert "Traceback" not in output
    assert not list(tmp_path.glob("t.*"))


def test_failures_beside_a_table_are_no_imported_rows(kept, imported):
    assert pq.read_schema(kept.parent / "theirs.failures.parquet").metadata[b"pesatlas.table"] == b"failures"


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of real VASP outputs is not beside this checkout")
def test_real_runs_are_rows_or_failures_and_every_sum_closes(tmp_path):
    to = tmp_path / "real.parquet"
    status, said = imports(CORPUS, "--level", "pbe", "--to", to, cwd=tmp_path)
    assert status == 1  # none of them is MatPES
    assert "Traceback" not in said
    assert "Warning" not in said
    rows, failures = tables(to)
    assert len(rows) + len(failures) == len(list(CORPUS.iterdir())) == 117
    reasons = Counter(row["reason"] for row in failures.values())
    assert reasons["not_static"] == 28  # relaxations, dynamics
    assert reasons["incomplete"] == 27  # OUTCAR alone
    assert reasons["duplicate"] == 3
    detail = {name.split("/")[-1]: row["detail"] for name, row in failures.items()}
    # KSPACING says 10x10x10, but a KPOINTS file was there
    assert "k-points 8x8x8" in detail["4fa1a72a55"]
    assert detail["db8597d5b3"].startswith("METAGGA")
    assert "NELECT" in detail["affea9e7be"]
    # a path through the band structure of a fixed density
    assert "ICHARG" in detail["0544a90ce5"]


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of real VASP outputs is not beside this checkout")
def test_real_static_runs_of_one_set_of_settings_become_rows(tmp_path):
    """Displacements of one supercell by one group: the same settings, each with other forces."""
    same = ["210449349b", "2fddde1908", "ed94aae085"]
    to = tmp_path / "real.parquet"
    status, said = imports(*(CORPUS / name for name in same), "--level", "pbesol", "--to", to, cwd=tmp_path)
    assert status == 0, said
    rows, failures = tables(to)
    assert set(rows) == set(same)
    assert failures == {}
    assert {row["formula"] for row in rows.values()} == {"O2Sn"}
    assert len({round(row["energy_eV"], 6) for row in rows.values()}) == 3
