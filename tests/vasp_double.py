"""A double of VASP: ``python tests/vasp_double.py`` in a folder with INCAR, POSCAR and POTCAR writes what
VASP would write.

Energies, forces and stress are those of a pair potential and belong together; r2SCAN differs from PBE. It
refuses inputs that VASP would refuse. What it does wrong on demand is in ``vasp_faults``. From the
environment: ``VASP_DOUBLE_VERSION`` (6.4.3), ``VASP_DOUBLE_LAYOUT`` (``vasp6``, ``profile``, ``vasp5``: see
``vasp_files``), ``VASP_DOUBLE_DENSITIES`` (see ``vasp_densities``), ``VASP_DOUBLE_SECONDS`` (how long it
takes; 0), ``VASP_DOUBLE_MB`` (how much memory; 0), ``VASP_DOUBLE_RECORDS`` (a JSON file of energies, forces
and stresses to return, by functional and number of atoms of each element, e.g. ``Al1``), and what
``vasp_faults`` reads.
"""

import json
import os
import re
import sys
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

import vasp_faults
import vasp_files

CUTOFF_A = 5.0
KBAR_PER_EV_PER_A3 = 1602.1766208
NEEDED = ("ENCUT", "EDIFF", "ISMEAR", "SIGMA", "ISPIN", "KSPACING", "NELM", "NSW", "PREC", "LWAVE")
# Final moments (μB), where an atom starts with more than 1.
MOMENTS = {
    "Fe": 4.2,
    "Mn": 4.6,
    "Cr": 3.1,
    "Ni": 1.7,
    "Co": 2.7,
    "V": 1.9,
    "Mo": 0.4,
    "W": 0.2,
    "Eu": 6.9,
    "Ce": 0.9,
}
INSULATING = {"O", "F", "Cl", "Br", "I", "N", "S", "H"}


class RefusedError(Exception):
    """What VASP prints when it does not like its inputs."""


@dataclass
class Inputs:
    incar: dict
    cell: np.ndarray
    fractional: np.ndarray
    symbols: list
    titles: list
    valences: list

    @property
    def positions(self):
        return self.fractional @ self.cell

    @property
    def functional(self):
        return self.incar.get("METAGGA", "PBE").upper()

    @property
    def name(self):
        """The geometry's: the same for every level."""
        wrapped = np.round(self.fractional - np.floor(self.fractional), 6) % 1.0
        text = f"{self.symbols}{np.round(self.cell, 5).tolist()}{wrapped.tolist()}"
        return sha256(text.encode()).hexdigest()[:16]


def read_incar(text):
    incar = {}
    for line in text.splitlines():
        if "=" in line:
            key, value = (part.strip() for part in line.split("=", 1))
            if not re.fullmatch(r"[A-Z_]+", key):
                raise RefusedError(f"Error reading item {key} from file INCAR.")
            incar[key] = value
    return incar


def read_poscar(text):
    lines = text.splitlines()
    cell = float(lines[1]) * np.array([line.split()[:3] for line in lines[2:5]], dtype=float)
    species, counts = lines[5].split(), [int(n) for n in lines[6].split()]
    if not lines[7].strip().lower().startswith("d"):
        raise RefusedError("this double reads direct coordinates only")
    rows = np.array([line.split()[:3] for line in lines[8 : 8 + sum(counts)]], dtype=float)
    return cell, rows, [s for s, n in zip(species, counts, strict=True) for _ in range(n)], species


def read_inputs(folder):
    """Read INCAR, POSCAR and POTCAR; refuse what does not fit together."""
    for name in ("INCAR", "POSCAR", "POTCAR"):
        if not (folder / name).exists():
            raise RefusedError(f"No {name} found, STOPPING")
    if (folder / "KPOINTS").exists():
        raise RefusedError("there is a KPOINTS file beside KSPACING")
    incar = read_incar((folder / "INCAR").read_text())
    if missing := [key for key in NEEDED if key not in incar]:
        raise RefusedError(f"INCAR has no {missing}")
    cell, fractional, symbols, species = read_poscar((folder / "POSCAR").read_text())
    if np.linalg.det(cell) <= 0:
        raise RefusedError("ERROR: the triple product of the basis vectors is negative")
    potcar = (folder / "POTCAR").read_text()
    titles = [title.strip() for title in re.findall(r"TITEL\s*=\s*(.*)", potcar)]
    if [title.split()[1].split("_")[0] for title in titles] != species:
        raise RefusedError(f"POSCAR has {species}, POTCAR has {titles}")
    valences = [float(v) for v in re.findall(r"ZVAL\s*=\s*([\d.]+)", potcar)]
    if incar["ISPIN"] == "2" and len(moments(incar)) != len(symbols):
        raise RefusedError("MAGMOM does not have one number for each atom")
    return Inputs(incar, cell, fractional, symbols, titles, valences)


def moments(incar):
    """The values of MAGMOM, e.g. of ``2*5.0 4*0.6``."""
    words = [word.partition("*") for word in incar.get("MAGMOM", "").split()]
    return [float(b or a) for a, star, b in words for _ in range(int(a) if star else 1)]


def energy_forces_stress(cell, positions, symbols, functional):
    """Pair potential: energy (eV), forces (eV/Å), stress (3, 3) eV/Å³, tension positive."""
    scale, shift = {"PBE": (1.0, -3.0), "R2SCAN": (1.08, -7.5)}[functional]
    size = np.array([0.9 + 0.1 * (sha256(s.encode()).digest()[0] / 255) for s in symbols])
    depth = np.array([0.2 + 0.2 * (sha256(s.encode()).digest()[1] / 255) for s in symbols])
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    reach = [np.arange(-n, n + 1) for n in np.ceil(CUTOFF_A / heights).astype(int) + 1]
    images = np.array(np.meshgrid(*reach)).reshape(3, -1).T @ cell
    energy, forces, virial = shift * len(symbols), np.zeros_like(positions), np.zeros((3, 3))
    for i, position in enumerate(positions):
        apart = (positions[:, None, :] + images[None, :, :]) - position
        distance = np.linalg.norm(apart, axis=2)
        near = (distance < CUTOFF_A) & (distance > 1e-8)
        r, vector, j = distance[near], apart[near], np.nonzero(near)[0]
        strength, radius = scale * np.sqrt(depth[i] * depth[j]), 1.4 * (size[i] + size[j])
        x, fade = np.exp(-1.5 * (r - radius)), 1 - (r / CUTOFF_A) ** 2
        value = strength * (x**2 - 2 * x)
        slope = strength * -3.0 * (x**2 - x)
        derivative = slope * fade**3 - value * 6 * fade**2 * r / CUTOFF_A**2
        energy += 0.5 * float((value * fade**3).sum())
        forces[i] += ((derivative / r)[:, None] * vector).sum(axis=0)
        virial += 0.5 * np.einsum("k,ka,kb->ab", derivative / r, vector, vector)
    return energy, forces, virial / abs(np.linalg.det(cell))


def record_of(inputs, functional):
    """What is to be returned for a crystal, if anything is."""
    path = os.environ.get("VASP_DOUBLE_RECORDS")
    if not path:
        return None
    name = "".join(f"{symbol}{inputs.symbols.count(symbol)}" for symbol in dict.fromkeys(inputs.symbols))
    return json.loads(Path(path).read_text())[functional].get(name)


def calculate(inputs, functional):
    """Everything that the files say, as a dictionary."""
    energy, forces, stress = energy_forces_stress(inputs.cell, inputs.positions, inputs.symbols, functional)
    metal = not INSULATING & set(inputs.symbols)
    record = record_of(inputs, functional)
    if record:
        # energies are those for zero smearing
        energy = record["energy_eV"] - (0.001 * len(inputs.symbols) if metal else 0.0)
        forces, stress = np.array(record["forces_eV_per_A"]), np.array(record["stress_eV_per_A3"])
    spin = inputs.incar["ISPIN"] == "2"
    factor = 1.05 if functional == "R2SCAN" else 1.0
    final = [
        float(np.sign(m) * MOMENTS.get(s, 0.0) * factor) if abs(m) > 1 else 0.0
        for m, s in zip(moments(inputs.incar), inputs.symbols, strict=spin)
    ]
    return {
        "energy": energy,
        "entropy": 0.002 * len(inputs.symbols) if metal else 0.0,  # T*S
        "forces": forces,
        "stress_kbar": -KBAR_PER_EV_PER_A3 * stress,
        "moments": final if spin else None,
        "gap": 0.0 if metal else 2.0 * factor,
        "steps": 9 + int(inputs.name[:4], 16) % 8,
        "converged": True,
        "layout": os.environ.get("VASP_DOUBLE_LAYOUT", "vasp6"),
        "version": os.environ.get("VASP_DOUBLE_VERSION", "6.4.3"),
    }


def main(folder):
    print(" running    1 mpi-ranks, on    1 nodes\n vasp.6.4.3 19Mar24 (double) complex", flush=True)
    try:
        inputs = read_inputs(folder)
    except RefusedError as refused:
        print(f" {refused}", flush=True)
        return 1
    print(" POSCAR, INCAR and KPOINTS ok, starting setup", flush=True)
    fault = vasp_faults.fault_of(inputs.name, inputs.functional)
    taken = b"x" * (int(os.environ.get("VASP_DOUBLE_MB", "0")) << 20)
    time.sleep(float(os.environ.get("VASP_DOUBLE_SECONDS", "0")))
    del taken
    wavecar = folder / "WAVECAR"
    if wavecar.exists() and wavecar.read_text().split()[:2] != ["WAVECAR", inputs.name]:
        print(" ERROR: while reading WAVECAR, plane wave coefficients changed", flush=True)
        return 1
    print(" the WAVECAR file was read successfully" if wavecar.exists() else " WAVECAR not read", flush=True)
    vasp_faults.before(fault, folder)
    run = calculate(inputs, "PBE" if fault in {"pbe_result", "pbe_numbers"} else inputs.functional)
    if wavecar.exists():
        run["steps"] = 5
    vasp_faults.spoil(fault, inputs, run)
    vasp_files.write(folder, inputs, run)
    return vasp_faults.after(fault, folder)


if __name__ == "__main__":
    sys.exit(main(Path()))
