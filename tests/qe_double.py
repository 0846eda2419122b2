"""A double of pw.x for its faults: ``python tests/qe_double.py -in pw.in`` writes what pw.x 6.7 would write.

Numbers are those of the pair potential of ``vasp_double``. ``QE_DOUBLE_FAULT`` names what goes wrong, as
``unconverged`` or, for the first two runs only, ``unconverged:2``; ``QE_DOUBLE_MEMORY`` is a file that has a
line for each run: the namelist ``electrons`` that it was given.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
from ase.io.espresso import read_espresso_in, read_fortran_namelist

from vasp_double import energy_forces_stress

BOHR, RYDBERG, HARTREE = 0.529177210903, 13.605693122994, 27.211386245988
ENTROPY_EV = -0.02

XML = """<?xml version="1.0" encoding="UTF-8"?>
<qes:espresso xmlns:qes="http://www.quantum-espresso.org/ns/qes/qes-1.0" Units="Hartree atomic units">
  <general_info><creator NAME="PWSCF" VERSION="{version}">double</creator></general_info>
  <input>
    <control_variables><calculation>scf</calculation></control_variables>
    <bands><smearing degauss="{degauss}">{smearing}</smearing><tot_charge>0.0</tot_charge></bands>
    <k_points_IBZ><monkhorst_pack {mesh}>Monkhorst-Pack</monkhorst_pack></k_points_IBZ>
  </input>
  <output>
    <convergence_info><scf_conv><convergence_achieved>{converged}</convergence_achieved>
      <n_scf_steps>9</n_scf_steps></scf_conv></convergence_info>
    <atomic_species>{species}</atomic_species>
    <atomic_structure nat="{n}">
      <atomic_positions>{atoms}</atomic_positions>
      <cell><a1>{a1}</a1><a2>{a2}</a2><a3>{a3}</a3></cell>
    </atomic_structure>
    <basis_set><ecutwfc>{ecutwfc}</ecutwfc><ecutrho>{ecutrho}</ecutrho></basis_set>
    <dft><functional>{functional}</functional></dft>
    <total_energy><etot>{etot}</etot><demet>{demet}</demet></total_energy>
    <band_structure>
      <lsda>true</lsda><noncolin>{noncolin}</noncolin><nbnd_up>2</nbnd_up><nbnd_dw>2</nbnd_dw>
      <ks_energies><eigenvalues size="4">-0.1 0.1 -0.1 0.2</eigenvalues>
        <occupations size="4">1.0 0.0 1.0 0.0</occupations></ks_energies>
    </band_structure>
    <forces rank="2">{forces}</forces>
    <stress rank="2">{stress}</stress>
  </output>
  <status>0</status>
</qes:espresso>
"""

ERRORS = {
    "diagonalisation": ("cdiaghg", 159, "S matrix not positive definite"),
    "no_upf": ("readpp", 1, "file /nowhere/Si.UPF not found"),
    "memory": ("allocate_wfc", 1, "Cannot allocate memory"),
    "symmetry": ("checkallsym", 1, "not orthogonal operation"),
}


def text_of(values):
    """Numbers with all their digits."""
    return " ".join(f"{value:.15e}" for value in np.ravel(values))


def fault_of(runs):
    """The fault of this run, the number ``runs``; empty if there is none."""
    name, _, times = os.environ.get("QE_DOUBLE_FAULT", "").partition(":")
    return "" if times and runs > int(times) else name


def fields(atoms, keys, fault):
    """The values of the XML file."""
    symbols, cell = atoms.get_chemical_symbols(), atoms.cell.array
    positions = atoms.positions + (0.1 if fault == "wrong_structure" else 0.0) * np.eye(len(atoms), 3)
    energy, forces, stress = energy_forces_stress(cell, positions, symbols, "PBE")
    system = keys["system"]
    rows = [f'<atom name="{s}">{text_of(p / BOHR)}</atom>' for s, p in zip(symbols, positions, strict=True)]
    mesh = [line.split() for line in Path("pw.in").read_text().splitlines()]
    mesh = mesh[1 + next(i for i, words in enumerate(mesh) if words[:1] == ["K_POINTS"])]
    files = dict(line.split()[::2] for line in Path("pw.in").read_text().splitlines() if ".UPF" in line)
    if fault == "nan":
        forces = forces * np.nan
    if fault == "wrong_stress":
        stress = stress + 0.05 * np.eye(3)
    if fault == "wrong_sign":
        stress = -stress
    if fault == "kbar":
        stress = 10 * stress
    if fault == "scaled":
        stress = 3 * stress
    if fault == "wrong_shear":
        stress = stress - 0.05 * (1 - np.eye(3))
    return energy, {
        "version": "6.6" if fault == "wrong_version" else "6.7MaX",
        "degauss": system["degauss"] / 2 * (2 if fault == "other_smearing" else 1),
        "smearing": system["smearing"],
        "mesh": " ".join(f'nk{i}="{mesh[i - 1]}" k{i}="0"' for i in (1, 2, 3)),
        "converged": "false" if fault in {"unconverged", "silently_unconverged"} else "true",
        "species": "".join(
            f'<species name="{s}"><pseudo_file>{f}</pseudo_file></species>' for s, f in files.items()
        ),
        "n": len(atoms),
        "atoms": "".join(rows),
        **{f"a{i + 1}": text_of(cell[i] / BOHR) for i in range(3)},
        "ecutwfc": system["ecutwfc"] / 2,
        "ecutrho": system["ecutrho"] / 2,
        "functional": "PBESOL" if fault == "other_functional" else "PBE",
        "noncolin": "true" if fault == "noncollinear" else "false",
        "etot": (energy + (0.001 if fault == "other_run" else 0.0)) / HARTREE,
        "demet": ENTROPY_EV / HARTREE,
        "forces": text_of(forces * BOHR / HARTREE),
        "stress": text_of(-stress * BOHR**3 / HARTREE),
    }


def print_run(energy, n_atoms, fault):
    """What pw.x prints of a run that ends."""
    if fault != "no_moments":
        print("     Magnetic moment per site:")
        for i in range(n_atoms):
            print(f"     atom:  {i + 1:3d}    charge:    2.0    magn:   {0.1 * i:7.4f}    constr:    0.0000")
    for _ in range(2 if fault == "two_runs" else 1):
        print(f"!    total energy              = {energy / RYDBERG:16.8f} Ry")
    print(f"     smearing contrib. (-TS)   = {ENTROPY_EV / RYDBERG:16.8f} Ry")
    if fault != "torn_output":
        print("   JOB DONE.")


def stop(fault):
    """End as pw.x does without results; return its status, or None where it goes on."""
    if fault == "sleep":
        time.sleep(600)
    if fault in {"sigkill", "segfault"}:
        os.kill(os.getpid(), signal.SIGKILL if fault == "sigkill" else signal.SIGSEGV)
    if fault in ERRORS:
        routine, code, message = ERRORS[fault]
        print(f" %%%%\n     Error in routine {routine} ({code}):\n     {message}\n %%%%\n     stopping ...")
        return 1
    return None


def write_schema(values, fault):
    """Write the XML file of a run."""
    folder = Path("out/pwscf.save")
    folder.mkdir(parents=True)
    text = XML.format(**values)
    if fault == "torn_xml":
        text = text[: len(text) // 2]
    if fault == "no_stress":
        text = text[: text.index("<stress")] + text[text.index("</stress>") + 9 :]
    if fault == "binary":
        text = text.replace("<output>", "<output>\0<<")
    if fault != "no_xml":
        (folder / "data-file-schema.xml").write_text(text)


def main():
    """Run once."""
    with Path("pw.in").open() as handle:
        keys = read_fortran_namelist(handle)[0]
    with Path("pw.in").open() as handle:
        atoms = read_espresso_in(handle)
    memory = Path(os.environ["QE_DOUBLE_MEMORY"])
    with memory.open("a") as handle:
        handle.write(json.dumps(dict(keys["electrons"])) + "\n")
    fault = fault_of(len(memory.read_text().splitlines()))
    print("     Program PWSCF v.6.7MaX starts on 29Nov2026 at 12: 0: 0", flush=True)
    if (status := stop(fault)) is not None:
        return status
    energy, values = fields(atoms, keys, fault)
    write_schema(values, fault)
    if fault == "unconverged":
        print("     convergence NOT achieved after 200 iterations: stopping")
        return 2
    print_run(energy, len(atoms), fault)
    return 3 if fault == "late_exit" else 0


if __name__ == "__main__":
    sys.exit(main())
