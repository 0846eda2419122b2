"""Quantum ESPRESSO as Debian has it: pw.x, and a set of UPF files made of those of quantum-espresso-data."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from pesatlas.label.backends.qe import Options

VERSION = "6.7MaX"
FOLDER = Path("/usr/share/espresso/pseudo")
FILES = {
    "C": "C.pbe-n-kjpaw_psl.0.1.UPF",
    "Si": "Si.pbe-nl-rrkjus_psl.1.0.0.UPF",
    "Ni": "Ni.pbe-nd-rrkjus.UPF",
}
"""PBE, scalar relativistic: one PAW and two ultrasoft ones."""
CUTOFFS_RY = {"C": [40, 320], "Si": [30, 180], "Ni": [30, 240]}

needs_pw = pytest.mark.skipif(
    shutil.which("pw.x") is None or not FOLDER.is_dir(),
    reason="pw.x is not here: apt-get install quantum-espresso quantum-espresso-data",
)

# Silicon carbide, rattled and strained with shear: no symmetry that could hide a wrong sign or order.
NUMBERS = np.array([14, 6])
CELL = 2.18 * (1 - np.eye(3)) @ np.array([[1.02, 0.01, 0.0], [0.0, 0.99, 0.015], [0.005, 0.0, 1.01]])
POSITIONS = np.array([[0.05, -0.03, 0.02], [1.05, 1.14, 1.06]])


def make_set(folder, elements=FILES):
    """A folder with one UPF file for each element."""
    folder.mkdir(parents=True, exist_ok=True)
    for element in elements:
        shutil.copyfile(FOLDER / FILES[element], folder / FILES[element])
    return folder


def options(folder, elements=FILES, **changes):
    """Options of the backend with such a folder, at a low quality."""
    given = {
        "command": "pw.x",
        "qe_version": VERSION,
        "pseudopotentials": folder,
        "cutoffs_Ry": {element: CUTOFFS_RY[element] for element in elements},
        "quality": "coarse",
    }
    return Options.model_validate(given | changes)


def synthetic_upf(folder, element, *, functional="PBE", comment="", name=None, **attributes):
    """A UPF file that has a header alone: enough for levels, and for the double of pw.x."""
    about = {
        "comment": comment,
        "element": element,
        "pseudo_type": "NC",
        "functional": functional,
        "z_valence": "4.0",
        "has_so": "false",
    } | attributes
    listed = "\n".join(f'{key}="{value}"' for key, value in about.items())
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (name or f"{element}.UPF")
    path.write_text(f'<UPF version="2.0.1">\n<PP_HEADER\n{listed}\n/>\n</UPF>\n')
    return path
