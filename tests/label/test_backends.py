"""Every backend keeps what is promised of all."""

import json
from dataclasses import replace

import numpy as np
import pytest

import qe_files
import synthetic_potcars
from pesatlas import testing
from pesatlas.config.plugins import available
from pesatlas.label.qe import pw_run
from vasp_cases import ELEMENTS, crystal, options


class TestMlip(testing.BackendTests):
    kind = "mlip"
    options = {"potential": {"kind": "chgnet", "version": "0.2.0"}}
    other_options = {"potential": {"kind": "chgnet", "version": "0.3.0"}}
    levels = ("mlip",)
    program = False
    energy_eV, force_eV_per_A, stress_eV_per_A3 = 1e-4, 5e-3, 2e-4


class TestGpaw(testing.BackendTests):
    kind = "gpaw"
    options = {"quality": "demo"}
    other_options = {"quality": "standard"}
    levels = ("pbe", "r2scan")
    # at tighter settings: tests/physics/test_gpaw.py
    slopes = atom = False

    def calculate_another_structure(self, module, monkeypatch):
        prepare = module.prepare

        def moved(task, scratch):
            settings = prepare(task, scratch)
            job = json.loads((scratch / "in.json").read_text())
            job["positions"][0][0] += 0.1
            (scratch / "in.json").write_text(json.dumps(job))
            return settings

        monkeypatch.setattr(module, "prepare", moved)


class TestVasp(testing.BackendTests):
    """With the double instead of VASP."""

    kind = "vasp"
    options = options().model_dump(exclude={"kind"})
    other_options = {"vasp_version": "6.4.2"}
    levels = ("pbe", "r2scan")
    numbers, cell_A, positions_A = crystal("metal")
    cell_A = cell_A @ (np.eye(3) + 0.04)
    positions_A = positions_A @ (np.eye(3) + 0.04)
    energy_eV, force_eV_per_A, stress_eV_per_A3 = 1e-6, 1e-3, 1e-4

    @pytest.fixture(autouse=True)
    def ready(self, tmp_path, monkeypatch):
        monkeypatch.setenv("PMG_VASP_PSP_DIR", str(synthetic_potcars.make(tmp_path / "potcars", ELEMENTS)))
        monkeypatch.setenv("VASP_DOUBLE_MEMORY", str(tmp_path / "memory"))
        self.plan = tmp_path / "faults.json"

    def calculate_another_structure(self, module, monkeypatch):
        self.plan.write_text(json.dumps({"structures": {"*": "wrong_structure"}}))
        monkeypatch.setenv("VASP_DOUBLE_FAULTS", str(self.plan))


@qe_files.needs_pw
class TestQe(testing.BackendTests):
    """With Debian's pw.x and pseudopotentials."""

    kind = "qe"
    other_options = {"qe_version": "6.6"}
    numbers, cell_A, positions_A = qe_files.NUMBERS, qe_files.CELL, qe_files.POSITIONS

    @pytest.fixture(scope="class")
    @classmethod
    def given(cls, tmp_path_factory):
        folder = qe_files.make_set(tmp_path_factory.mktemp("upf"), ["C", "Si"])
        return qe_files.options(folder, ["C", "Si"]).model_dump(mode="json", exclude={"kind"})

    def calculate_another_structure(self, module, monkeypatch):
        write = pw_run.write

        def moved(inputs, folder, electrons):
            positions = inputs.task.positions + np.array([[0.1, 0.0, 0.0], [0.0, 0.0, 0.0]])
            write(replace(inputs, task=replace(inputs.task, positions=positions)), folder, electrons)

        monkeypatch.setattr(pw_run, "write", moved)


def test_every_backend_is_tested():
    assert {each.kind for each in (TestMlip, TestGpaw, TestQe, TestVasp)} == set(
        available("pesatlas.label.backends")
    )
