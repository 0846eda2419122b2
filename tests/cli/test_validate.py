"""`pesatlas validate` finds the deviation that was put into a potential, and says whether to trust it."""

import json

import numpy as np
import pytest
import yaml
from ase.build import bulk
from ase.io import write
from typer.testing import CliRunner

from existing_runs import make_run, potcars_called_as_vasps
from pesatlas.cli import validation
from pesatlas.cli.main import app
from pesatlas.cli.run_frames import geometries, read_frames
from pesatlas.label.backend import Failed
from pesatlas.label.backends import mlip
from pesatlas.potentials.loading import load_potential
from pesatlas.potentials.potential import Evaluation
from pesatlas.tables import FailureReason, read_table
from vasp_cases import crystal

CONFIGURATION = {
    "campaign": {"name": "trust"},
    "structures": {"sources": [{"kind": "demo", "names": ["Si"]}]},
    "label": {
        "backend": {"kind": "mlip", "potential": {"kind": "chgnet", "version": "0.3.0"}},
        "levels": ["mlip"],
    },
}


def run(*arguments):
    return CliRunner().invoke(app, ["validate", *map(str, arguments)])


def salts(count=40):
    """Cells of NaCl that expand and are rattled more and more."""
    frames = []
    for i in range(count):
        atoms = bulk("NaCl", "rocksalt", 5.6 + 0.004 * i)
        atoms.rattle(0.02 + 0.002 * i, rng=np.random.default_rng(i))
        frames.append(atoms)
    return frames


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIGURATION))
    write(tmp_path / "run.extxyz", salts())
    return tmp_path


class Soft:
    """A potential that is ``factor`` times another one, and knows neither Na nor Cl if it is told so."""

    def __init__(self, potential, factor, without=()):
        self.potential, self.factor = potential, factor
        self.name, self.weights_hash = "soft", potential.weights_hash
        self.device, self.elements = potential.device, potential.elements - set(without)

    def evaluate(self, batch):
        found = self.potential.evaluate(batch)
        return Evaluation(*(self.factor * x for x in (found.energies, found.forces, found.stresses)))


@pytest.fixture
def soft(monkeypatch):
    """Make the validated potential a multiple of chgnet, which labels."""

    def install(factor=0.8, without=()):
        monkeypatch.setattr(
            validation,
            "load_potential",
            lambda options, device: Soft(load_potential(options, device), factor, without),
        )

    return install


def facts_of(done):
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout[done.stdout.index("{") :])


def table(folder, name):
    path = folder / "results" / "validation" / "chgnet-mlip" / f"{name}.parquet"
    return read_table(path, "validation" if name == "frames" else "validation_summary").to_pylist()


def test_forces_that_are_a_fifth_too_weak_are_found_and_a_second_run_calculates_nothing(folder, soft):
    soft(0.8)
    first = facts_of(run("chgnet", "run.extxyz", "--level", "mlip", "--budget", "10", "--json"))
    assert (first["plan"]["frames"], first["plan"]["chosen"], first["calculated"]) == (40, 10, 10)
    rows = table(folder, "frames")
    assert len({row["snapshot_id"] for row in rows}) == 10
    assert all(row["force_slope"] == pytest.approx(0.8, abs=1e-5) for row in rows)
    summary = {(row["of"], row["name"], row["quantity"]): row for row in table(folder, "summary")}
    slope = summary["all", "", "force_slope"]
    assert (slope["value"], slope["verdict"]) == (pytest.approx(0.8, abs=1e-5), "beyond")
    assert summary["element", "Cl", "force_slope"]["value"] == pytest.approx(0.8, abs=1e-5)
    assert ("condition", "run.extxyz, last third", "stress_mae") in summary
    # one zero of energy for the salt: what is left is a fifth of how far energies differ
    per_atom = np.array([row["energy_eV"] / 2 for row in rows])
    left = -200 * (per_atom - per_atom.mean()) * np.sqrt(10 / 9)
    np.testing.assert_allclose([row["energy_error_meV_per_atom"] for row in rows], left, atol=1e-3)
    again = run("chgnet", "run.extxyz", "--level", "mlip", "--budget", "10")
    said = " ".join(again.output.split())
    assert "40 frames, 10 chosen by DIRECT; 0 labels to calculate at mlip" in said
    assert "No: chgnet may not be trusted for this run at mlip" in said
    assert "Its forces are 20.0 % too weak: it is soft (slope 0.800" in said
    assert "0 calculated now" in said


def test_the_potential_that_labels_may_be_trusted(folder):
    # all frames are fewer than the budget: nothing has to be chosen
    write("short.extxyz", salts(8))
    facts = facts_of(run("chgnet", "short.extxyz", "--level", "mlip", "--json"))
    assert facts["plan"]["chosen"] == 8
    assert facts["answer"].startswith("Yes: chgnet may be trusted for this run at mlip")


def test_a_dry_run_tells_frames_and_cost_and_labels_nothing(folder):
    done = run("chgnet", "run.extxyz", "--level", "mlip", "--budget", "10", "--dry-run")
    said = " ".join(done.output.split())
    assert "40 frames, 10 chosen by DIRECT; 10 labels to calculate at mlip" in said
    assert "core hours (assumed for this backend, times the cube of the number of atoms)" in said
    assert "chgnet was trained at: PBE(+U) of the Materials Project" in said
    assert not (folder / "results").exists()
    assert not (folder / "store" / "labels").exists()


def test_core_hours_end_the_choice(folder):
    # as assumed for this backend: 0.001 core hours for 64 atoms, so 3e-8 for two
    facts = facts_of(run("chgnet", "run.extxyz", "--level", "mlip", "--budget", "0.0000002h", "-n", "--json"))
    assert facts["chosen"] == 6
    assert 1.7e-7 < facts["core_hours"] < 2e-7
    done = run("chgnet", "run.extxyz", "--level", "mlip", "--budget", "0.00000001h", "-n")
    assert done.exit_code == 1
    assert "not enough for one label" in " ".join(done.output.split())


def test_frames_without_a_label_or_a_prediction_are_rows_with_reasons(folder, soft, monkeypatch):
    soft(1.0, without=[3])
    lithium = bulk("LiF", "rocksalt", 4.03)
    write("mixed.extxyz", [*salts(7), lithium])
    calculate = mlip.calculate

    def fails_once(task, options, place):
        if np.isclose(abs(np.linalg.det(task.cell)), 5.6**3 / 4):
            return Failed(FailureReason.NOT_CONVERGED, "on demand")
        return calculate(task, options, place)

    monkeypatch.setattr(mlip, "calculate", fails_once)
    facts = facts_of(run("chgnet", "mixed.extxyz", "--level", "mlip", "--json"))
    # the potential is asked first: a frame that it does not know costs no label
    assert facts["calculated"] == 7
    failed = {row["formula"]: (row["reason"], row["detail"]) for row in facts["frames"] if row.get("reason")}
    assert failed == {
        "ClNa": ("not_converged", "on demand"),
        "FLi": ("unsupported_element", "chgnet does not know Li"),
    }
    assert {row["frames"] for row in facts["summary"] if row["of"] == "all"} == {6}
    assert "no errors for" in run("chgnet", "mixed.extxyz", "--level", "mlip").output


def test_conditions_are_those_that_the_file_states(folder):
    frames = salts(6)
    for i, atoms in enumerate(frames):
        atoms.info |= {"temperature_K": 300.0 if i < 3 else 900.0, "pressure_GPa": 0.0}
    write("told.extxyz", frames)
    found = read_frames(["told.extxyz", "run.extxyz"], folder / "pool.parquet")
    assert [frame.condition for frame in found][:6] == ["300 K, 0 GPa"] * 3 + ["900 K, 0 GPa"] * 3
    assert found[6].condition == "run.extxyz, first third"
    assert found[-1].condition == "run.extxyz, last third"
    assert (found[-1].file, found[-1].place) == ("run.extxyz", 39)


@pytest.mark.parametrize(("name", "kind"), [("md.traj", "traj"), ("XDATCAR", "vasp-xdatcar")])
def test_trajectories_of_ase_and_of_vasp_are_read(folder, name, kind):
    # XDATCAR sorts nothing and knows no labels
    frames = [atoms[[0, 1]] for atoms in salts(3)]
    write(name, frames, format=kind)
    found = read_frames([name], folder / "pool.parquet")
    assert [frame.file for frame in found] == [name] * 3
    assert found[2].row["structure_id"].endswith("00002")
    (row,) = geometries(found[2:], folder / "pool.parquet")
    np.testing.assert_allclose(np.reshape(row["cell_A"], (3, 3)), frames[2].cell[:], atol=1e-5)
    assert row["numbers"] == [11, 17]


def test_a_vasprun_is_read(folder):
    with potcars_called_as_vasps(folder / "potcars"):
        made = make_run(folder / "static", "metal")
    (frame,) = read_frames([str(made / "vasprun.xml")], folder / "pool.parquet")
    numbers, cell, _ = crystal("metal")
    (row,) = geometries([frame], folder / "pool.parquet")
    assert row["numbers"] == numbers.tolist()
    np.testing.assert_allclose(np.reshape(row["cell_A"], (3, 3)), cell, atol=1e-6)
    assert frame.condition == "vasprun.xml"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chgnet", "run.extxyz", "--level", "pbe"], "the campaign has mlip"),
        (["chgnet", "run.extxyz", "--level", "mlip", "--budget", "1"], "a number of labels from 2 on"),
        (["chgnet", "run.extxyz", "--level", "mlip", "--budget", "soon"], "--budget soon"),
        (["chgnet", "nothing.traj", "--level", "mlip"], "nothing.traj: no such file"),
        (["chgnet", "run.extxyz", "--level", "mlip", "--backend", "gpaw"], "write levels: [pbe, r2scan]"),
        (
            ["chgnet", "run.extxyz", "--level", "pbe", "--backend", "gpaw", "--config", "config.yaml"],
            "give either",
        ),
        (["chgnte", "run.extxyz", "--level", "mlip"], "chgnte"),
    ],
)
def test_a_wrong_call_gets_one_message(folder, arguments, message):
    done = run(*arguments)
    assert done.exit_code == 1
    assert message in " ".join(done.output.split())
