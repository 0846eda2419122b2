"""Crystals, options and places for tests of the backend ``vasp``, with the double instead of VASP."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

import synthetic_potcars
from pesatlas.atoms.elements import atomic_number
from pesatlas.label.backend import Task
from pesatlas.label.backends import vasp
from pesatlas.levels.vasp import levels
from pesatlas.testing.workdir import make_workdir

DOUBLE = Path(__file__).with_name("vasp_double.py")
ELEMENTS = ("O", "Mg", "Fe", "Al", "Na", "Cl", "Ce", "F", "Co", "Si")

# Atoms of an element are not side by side, cells are not cubic, atoms are off their sites.
CRYSTALS = {
    "magnetic oxide": (["O", "Fe", "O", "Fe"], [[4.3, 0.1, 0], [0, 4.2, 0.2], [0.1, 0, 4.4]]),
    "metal": (["Al", "Al", "Al", "Al"], [[4.0, 0, 0], [0, 4.1, 0], [0, 0.2, 4.05]]),
    "halide": (["Cl", "Na", "Cl", "Na"], [[5.6, 0, 0], [0.2, 5.5, 0], [0, 0, 5.7]]),
    "lanthanide": (["F", "Ce", "O", "F"], [[5.1, 0, 0.3], [0, 5.0, 0], [0, 0, 5.2]]),
    "atom in a box": (["Al"], [[15.0, 0, 0], [0, 15.1, 0], [0, 0, 15.2]]),
}
SITES = np.array([[0.02, 0, 0], [0.5, 0.48, 0.01], [0.01, 0.5, 0.52], [0.49, 0.02, 0.5]])


def options(**changes):
    given = {
        "command": f"{sys.executable} {DOUBLE}",
        "vasp_version": "6.4.3",
        "allow_unknown_potcars": True,
    }
    return vasp.Options(**{**given, **changes})


def crystal(name="magnetic oxide"):
    """Atomic numbers, cell (Å) and positions (Å)."""
    symbols, cell = CRYSTALS[name]
    return (
        np.array([atomic_number(s) for s in symbols]),
        np.array(cell),
        SITES[: len(symbols)] @ np.array(cell),
    )


def task(level, name="magnetic oxide", about=None):
    """The calculation of a crystal at ``pbe`` or ``r2scan``."""
    return Task(*crystal(name), levels(about or options(), [level])[level])


def set_up(tmp_path, monkeypatch, fault=None):
    """Let the backend find synthetic POTCARs, and the double its fault and its memory."""
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(synthetic_potcars.make(tmp_path / "potcars", ELEMENTS)))
    monkeypatch.setenv("VASP_DOUBLE_MEMORY", str(tmp_path / "memory"))
    if fault is not None:
        plan = tmp_path / "faults.json"
        plan.write_text(json.dumps({"structures": {"*": fault}}))
        monkeypatch.setenv("VASP_DOUBLE_FAULTS", str(plan))


def calculate(tmp_path, level, name="magnetic oxide", *, about=None, handover=None, **place):
    """Calculate a crystal in a place of its own; return the outcome and the place."""
    here = make_workdir(tmp_path / f"{level}-{len(list(tmp_path.iterdir()))}", **place)
    if handover is not None:
        here = replace(here, handover=handover)
    about = about or options()
    return vasp.calculate(task(level, name, about), about, here), here


def runs(tmp_path, functional=""):
    """How often the double ran."""
    return sum(len(f.read_text().splitlines()) for f in (tmp_path / "memory").glob(f"*{functional}"))
