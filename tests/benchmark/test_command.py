"""`pesatlas benchmark` on chgnet and two salts, without a campaign."""

import gzip
import json

import numpy as np
import pytest
from ase.build import bulk
from typer.testing import CliRunner

from benchmarking import entry
from pesatlas.cli.benchmark import read_potential
from pesatlas.cli.main import app
from pesatlas.errors import UserError
from pesatlas.tables import read_table


def run(*arguments):
    return CliRunner().invoke(app, ["benchmark", *map(str, arguments)], env={"COLUMNS": "200"})


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "sets"
    folder.mkdir()
    entries = []
    for name, a, k, g in (("NaCl", 5.64, 24.0, 14.0), ("MgO", 4.21, 155.0, 125.0)):
        atoms = bulk(name, "rocksalt", a)
        crystal = np.array(atoms.numbers), atoms.cell[:], atoms.positions
        entries.append(entry(name, crystal, bulk_modulus_vrh=k, shear_modulus_vrh=g))
    (folder / "mp-elasticity.json.gz").write_bytes(gzip.compress(json.dumps(entries).encode()))
    return folder


def test_it_benchmarks_and_carries_on(data, tmp_path):
    out = tmp_path / "benchmarked"
    arguments = ("--potential", "chgnet", "--data", data, "--to", out, "--property", "elasticity")
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    assert "bulk modulus" in done.output
    assert "published: of TensorNet-MatPES-PBE" in " ".join(done.output.split())
    rows = {
        (r["structure_id"], r["quantity"]): r["value"]
        for r in read_table(out / "scores.parquet", "scores").to_pylist()
    }
    # chgnet is somewhat soft; DFT and experiment say 24 and 155 GPa
    assert 15 < rows["NaCl", "bulk_modulus"] < 30
    assert 110 < rows["MgO", "bulk_modulus"] < 180
    assert (out / "figure.svg").is_file()
    first = (out / "scores.parquet").read_bytes()
    told = json.loads(run(*arguments, "--json").stdout)
    assert (told["folder"], told["failed"]) == (str(out), 0)
    assert {row["potential"] for row in told["summary"]} == {"chgnet"}
    # the wall times are those of the first time, too: nothing was computed again
    assert (out / "scores.parquet").read_bytes() == first


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--potential", "nothing"], "no 'nothing'"),
        (["--potential", "chgnet:9.9.9"], "version"),
        (["--potential", "matgl:nowhere"], "no model.json"),
        (["--potential", "chgnet", "--suite", "huge"], "Choose quick or full"),
        (["--potential", "chgnet", "--potential", "chgnet"], "occurs twice"),
        (["--potential", "chgnet", "--property", "beauty"], "no 'beauty'"),
        (["--potential", "chgnet", "--property", "relaxation"], "There is mp-elasticity.json.gz"),
        (["--potential", "chgnet", "--property", "softening"], "--dataset"),
        (["--potential", "chgnet", "--device", "cuda:77"], "GPU"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(arguments, said, data, tmp_path):
    done = run(*arguments, "--data", data, "--to", tmp_path / "benchmarked")
    assert done.exit_code == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_potential_says_what_it_was_trained_on_and_may_be_overruled(tmp_path):
    assert read_potential("chgnet").corrected
    assert not read_potential("chgnet:r2scan").corrected
    assert not read_potential("chgnet", corrected=False).corrected
    for name, level, corrected in (
        ("TensorNet-PES-MatPES-PBE-2025.2", "PBE of MatPES", False),
        ("M3GNet-MP-2021.2.8-PES", "PBE(+U) of the Materials Project", True),
        ("mine", "unknown", False),
    ):
        folder = tmp_path / name
        folder.mkdir()
        for file in ("model.json", "model.pt", "state.pt"):
            (folder / file).touch()
        found = read_potential(f"matgl:{folder}")
        assert (found.level, found.corrected, found.own) == (level, corrected, False)
    (folder / "card.json").write_text('{"level": "r2scan"}')
    found = read_potential(f"matgl:{folder}")
    assert (found.level, found.own) == ("r2scan", True)
    (folder / "card.json").write_text("[]")
    with pytest.raises(UserError, match=r"not the card of a trained potential"):
        read_potential(f"matgl:{folder}")


def test_options_of_a_file_are_read_and_checked(tmp_path):
    good = tmp_path / "old.yaml"
    good.write_text("kind: chgnet\nversion: 0.2.0\n")
    assert read_potential(str(good)).name == "old"
    bad = tmp_path / "bad.json"
    bad.write_text('{"kind": "chgnet", "colour": 1}')
    with pytest.raises(UserError, match=r"colour"):
        read_potential(str(bad))
