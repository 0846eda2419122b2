"""Every backend keeps what is promised of all."""

import json

import numpy as np
import pytest

import synthetic_potcars
from pesatlas import testing
from pesatlas.config.plugins import available
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


def test_every_backend_is_tested():
    assert {each.kind for each in (TestMlip, TestGpaw, TestVasp)} == set(available("pesatlas.label.backends"))
