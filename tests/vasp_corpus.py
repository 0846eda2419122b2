"""Outputs of VASP 4.6 to 6.6 from public test suites: our readers and pymatgen's say the same, or why not.

Each case is one run as a test suite keeps it: an OUTCAR, a vasprun.xml, or both. What pymatgen does otherwise
is told by rules, which hold for any other file of the same kind; there is no list of exceptions. ``python
tests/vasp_corpus.py [FOLDER]`` prints the table.
"""

import re
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from pymatgen.io.vasp.outputs import Outcar, Vasprun

from pesatlas.label.vasp.check_outputs import difference
from pesatlas.label.vasp.open_files import open_file
from pesatlas.label.vasp.strip_outputs import BadOutputError, TornError, read_outcar, read_run

CORPUS = Path(__file__).parents[1].parent / "shared" / "data" / "vasp"


def cases(corpus=CORPUS):
    """Folders below ``real`` and single files, by name: an OUTCAR and a vasprun.xml, either of which may be
    None."""
    found = {}
    for folder in sorted((corpus / "real").iterdir()):
        files = [folder / f"{name}.gz" for name in ("OUTCAR", "vasprun.xml")]
        found[folder.name] = [path if path.exists() else None for path in files]
    for path in sorted(corpus.glob("*.gz")):
        found[path.name] = [path, None] if "OUTCAR" in path.name else [None, path]
    return found


def read(reader, path):
    """What our reader reads, or its refusal."""
    try:
        return reader(path)
    except BadOutputError as error:
        return error


def text_of(path):
    with open_file(path) as handle:
        return handle.read().decode(errors="replace")


# vasprun.xml


def pymatgens_run(path, tmp_path):
    """What pymatgen reads of a vasprun.xml; integers without room (``******``), at which it stops, as 0."""
    text = re.sub(r'(<i type="int" name="\w+">)\*+<', r"\1 0<", text_of(path))
    (tmp_path / "vasprun.xml").write_text(text)
    try:
        return Vasprun(tmp_path / "vasprun.xml", parse_dos=False, parse_potcar_file=False)
    except Exception as error:  # noqa: BLE001 - pymatgen raises anything
        return error


def compare_run(ours, theirs):
    """A word for what became of a vasprun.xml; an AssertionError is what nobody explained."""
    if isinstance(ours, TornError):
        assert "XMLSyntaxError" in str(ours)
        assert type(theirs).__name__ == "XMLSyntaxError"
        return "vasprun.xml torn"
    if isinstance(ours, BadOutputError):
        return refused_run(str(ours), theirs)
    step = theirs.ionic_steps[-1]
    assert len(theirs.ionic_steps) == 1
    assert ours.free_energy_eV == step["e_fr_energy"]
    assert np.array_equal(ours.forces, step["forces"])
    assert np.array_equal(ours.stress, step["stress"])
    assert ours.structure == step["structure"]
    assert ours.version.lower() == theirs.vasp_version.strip().lower()
    assert ours.potcars == theirs.potcar_symbols
    assert ours.incar.keys() == theirs.incar.keys()
    assert ours.parameters.keys() == theirs.parameters.keys()
    if ours.kpoints:
        assert tuple(ours.kpoints) == tuple(theirs.kpoints.kpts[0])
    bands = [values[:, :, 1].ravel() for values in (theirs.eigenvalues or {}).values()]
    # of bands that are filled in part, pymatgen tells a gap of another kind
    if bands and np.isin(np.concatenate(bands), (0, 1)).all():
        assert abs(ours.band_gap_eV - theirs.eigenvalue_band_properties[0]) < 1e-6
    if ours.scf_steps == len(step["electronic_steps"]):
        assert abs(ours.energy_eV - float(theirs.final_energy)) < 2e-8
        assert ours.converged_electronic == theirs.converged_electronic
        return "vasprun.xml agrees"
    # pymatgen takes steps of linear response, which follow, for those of the ground state
    assert ours.parameters.get("LEPSILON") or ours.parameters["IBRION"] in {7, 8}
    assert ours.scf_steps < len(step["electronic_steps"])
    # the file says the energy for zero smearing itself, under an old name
    assert abs(ours.energy_eV - step["e_wo_entrp"]) < 1e-8
    return "vasprun.xml agrees, but for steps of linear response"


def refused_run(said, theirs):
    """Why there is no label in a whole vasprun.xml, and that pymatgen knows, too."""
    if several := re.search(r"it has (\d+) ionic steps", said):
        # one of them has an element that does not exist
        assert isinstance(theirs, ValueError) or len(theirs.ionic_steps) == int(several[1])
        return "vasprun.xml refused: several ionic steps"
    if "ML_LMLFF" in said:
        assert theirs.incar["ML_LMLFF"]
        return "vasprun.xml refused: energies of a machine-learned force field"
    assert "no SCF steps" in said or "not a self-consistent ground state" in said, said
    assert isinstance(theirs, Exception) or theirs.final_energy == float("inf")
    return "vasprun.xml refused: no self-consistent ground state"


# OUTCAR


def pymatgens_outcar(path):
    try:
        return Outcar(path)
    except Exception as error:  # noqa: BLE001 - pymatgen raises anything
        return error


def compare_outcar(ours, theirs, text):
    """A word for what became of an OUTCAR."""
    ended = "General timing and accounting" in text
    if isinstance(ours, BadOutputError):
        return refused_outcar(ours, text, ended)
    assert ours.finished == ended
    if not ended:
        return "OUTCAR not finished"
    assert ours.ionic_steps == text.count("FREE ENERGIE OF THE ION-ELECTRON SYSTEM")
    numbers = r"\s+(-?\d+\.\d+)"
    zero = re.findall(r"energy  without entropy=.*energy\(sigma->0\) =" + numbers, text)
    free = re.findall(r"free  energy   TOTEN  =" + numbers, text)
    assert (ours.energy_eV, ours.free_energy_eV) == (float(zero[-1]), float(free[-1]))
    compare_tables(ours, text)
    if isinstance(theirs, Exception):
        return "OUTCAR agrees with itself; pymatgen refuses it"
    assert ours.free_energy_eV == theirs.final_fr_energy
    moments = [ion["tot"] for ion in theirs.magnetization]
    if ours.spin == "noncollinear":
        assert np.allclose(ours.moment_vectors_muB, [moment.moment for moment in moments])
    else:
        assert (ours.moments_muB or []) == moments
        assert ours.moments_muB is None or ours.spin == "collinear"
    assert bool(theirs.is_stopped) <= (not ours.converged)
    if re.search(r"- Iteration ", text[text.rindex("FREE ENERGIE") :]):
        # pymatgen takes the energy of the last step of linear response
        return "OUTCAR agrees, but for steps of linear response"
    assert ours.energy_eV == theirs.final_energy
    return "OUTCAR agrees"


def refused_outcar(ours, text, ended):
    """Why there is no label in an OUTCAR."""
    if "machine-learned" in str(ours):
        assert "ML TOTEN" in text
        return "OUTCAR refused: energies of a machine-learned force field"
    if "two runs" in str(ours):
        assert len(re.findall(r"^ vasp\.\d", text, re.MULTILINE)) > 1 or text.count("General timing") > 1
        return "OUTCAR refused: two runs"
    assert "FREE ENERGIE OF THE ION-ELECTRON SYSTEM" not in text, ours
    assert isinstance(ours, TornError) != ended
    return "OUTCAR refused: no energy of a ground state" if ended else "OUTCAR torn"


def compare_tables(ours, text):
    """Forces and stress against words between blanks; columns that touch are not words."""
    start = text.rfind("TOTAL-FORCE (eV/Angst)")
    words = [row.split() for row in text[start:].splitlines()[2 : 2 + ours.n_atoms]]
    if start < 0:
        assert ours.forces is None
    elif all(len(row) == 6 for row in words):
        assert np.array_equal(ours.forces, [[float(word) for word in row[3:]] for row in words])
    pressures = [row.split() for row in re.findall(r"in kB(.*)", text)]
    if not pressures:
        assert ours.stress is None
    elif len(pressures[-1]) == 6:
        xx, yy, zz, xy, yz, zx = (float(word) for word in pressures[-1])
        assert np.array_equal(ours.stress, [[xx, xy, zx], [xy, yy, yz], [zx, yz, zz]])


def compare_convergence(outcar, text):
    """Whether SCF steps of the last ionic step, counted line by line, stay below NELM."""
    steps, last = 0, 0
    for line in text.splitlines():
        if "- Iteration " in line:
            steps += 1
        if "aborting loop" in line:
            steps, last = 0, steps
        if "FREE ENERGIE OF THE ION-ELECTRON SYSTEM" in line:
            counted = last
    assert outcar.scf_steps == counted
    assert outcar.converged == (counted < outcar.nelm and "soft stop" not in text)


def compare(corpus=CORPUS):
    """How many cases there are, what became of their files, and what nobody explained."""
    words, unexplained, found = Counter(), {}, cases(corpus)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        for name, (outcar, vasprun) in found.items():
            try:
                if vasprun is not None:
                    words[compare_run(read(read_run, vasprun), pymatgens_run(vasprun, Path(folder)))] += 1
                if outcar is not None:
                    text, ours = text_of(outcar), read(read_outcar, outcar)
                    words[compare_outcar(ours, pymatgens_outcar(outcar), text)] += 1
                    if not isinstance(ours, BadOutputError) and ours.finished:
                        compare_convergence(ours, text)
            except Exception as error:  # noqa: BLE001 - what nobody explained
                unexplained[name] = f"{type(error).__name__}: {error}"
    return len(found), words, unexplained


def compare_pairs(corpus=CORPUS):
    """What the two files of a case say of each other."""
    words = Counter()
    for outcar, vasprun in cases(corpus).values():
        if outcar is None or vasprun is None:
            continue
        run, other = read(read_run, vasprun), read(read_outcar, outcar)
        if isinstance(run, BadOutputError) or isinstance(other, BadOutputError):
            words["one of the two is refused"] += 1
            continue
        differs = difference(run, other)
        words[f"of two runs: {differs.split(' is ')[0]} differs" if differs else "agree"] += 1
        if differs is None:
            assert other.converged == run.converged_electronic
    return words


def main(corpus=CORPUS):
    count, words, unexplained = compare(corpus)
    print(f"{count} cases")
    for word, number in [*sorted(words.items()), *sorted(compare_pairs(corpus).items())]:
        print(f"{number:5d}  {word}")
    for name, what in unexplained.items():
        print(f"NOT EXPLAINED: {name}: {what}")
    return len(unexplained)


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
