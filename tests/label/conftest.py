"""A double of a backend: energies of a harmonic crystal, failures on demand, calls counted in a file."""

import json
import types
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from pesatlas.config import plugins
from pesatlas.config.presets import preset
from pesatlas.label.backend import Failed, Result
from pesatlas.tables import FailureReason, write_table

ROW = {
    "structure_id": "a",
    "variant": "unit",
    "domain": "bulk",
    "condition": "300K-0GPa",
    "ensemble": "NpT",
    "temperature_K": 300.0,
    "pressure_GPa": 0.0,
    "n_atoms": 3,
    "numbers": [8, 12, 8],
    "cell_A": [5.0, 0, 0, 0, 5.0, 0, 0, 0, 5.0],
    "policy": "test",
    "reason": "test",
    "structure_cluster": 0,
    "atom_clusters": 1,
    "novelty": 0.0,
    "mlip_energy_eV": 0.0,
    "potential": "p",
    "potential_hash": "h",
    "source": "s",
    "code_version": "0",
}


@dataclass
class Double:
    """Stands for a code: positions of atoms pull on each other, so that forces sum to zero and differ
    between atoms."""

    calls: Path
    fail: dict = field(default_factory=dict)
    quarantine_reasons: tuple[str, ...] = ()
    nap: float = 0.0
    note: str = ""

    def calculate(self, task, options, place):
        with self.calls.open("a") as handle:
            handle.write(json.dumps([task.level.name, task.positions.tolist()]) + "\n")
        (place.keep / "in.txt").write_text(f"{task.level.name} {task.positions.max():.1f}{self.note}")
        reasons = self.fail.get((task.level.name, round(float(task.positions[:, 0].max()), 3)), [])
        if reasons:
            return Failed(reasons.pop(0) if len(reasons) > 1 else reasons[0], "on demand")
        forces = task.positions.mean(axis=0) - task.positions
        energy = 0.5 * float((forces**2).sum()) + (task.level.name == "r2scan")
        return Result(
            energy,
            energy,
            forces.tolist(),
            [0.0] * 6,
            None,
            1.0,
            5,
            True,
            [],
            {},
            {},
            0.1,
            list(self.quarantine_reasons),
        )

    def count(self):
        return len(self.calls.read_text().splitlines()) if self.calls.exists() else 0


@pytest.fixture
def double(tmp_path, monkeypatch):
    made = Double(tmp_path / "calls.txt")
    found = plugins.find
    monkeypatch.setattr(
        plugins,
        "find",
        lambda package, name: (
            types.SimpleNamespace(calculate=made.calculate)
            if package.endswith("label.backends")
            else found(package, name)
        ),
    )
    return made


@pytest.fixture
def campaign(tmp_path):
    demo, _, _ = preset("demo")
    raw = demo.model_dump(mode="json")
    raw["campaign"]["store"] = str(tmp_path / "store")
    return type(demo).model_validate(raw)


@pytest.fixture
def select(tmp_path):
    """Return a function that writes a selection of frames, told apart by the x of their last atom."""

    def write(*xs, name="selection", order=(0, 1, 2), batches=None):
        rows = []
        for i, x in enumerate(xs):
            positions = np.array([[0.1, 0, 0], [2.0, 2, 2], [x, 1, 0]])[list(order)]
            numbers = np.array([8, 12, 8])[list(order)]
            rows.append(
                {
                    **ROW,
                    "snapshot_id": f"a:unit:300K-0GPa:{round(1000 * x):07d}",
                    "step": i,
                    "rank": i,
                    "batch": batches[i] if batches else 0,
                    "positions_A": positions.ravel().tolist(),
                    "numbers": numbers.tolist(),
                }
            )
        path = tmp_path / f"{name}.parquet"
        write_table(path, "selection", rows, "s", {"pool": len(rows), "selected": len(rows)})
        return path

    return write


CRASHED, UNCONVERGED = FailureReason.CRASHED, FailureReason.NOT_CONVERGED
