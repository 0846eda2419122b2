"""Outputs: units and signs, gaps, spellings of values, files that are torn."""

import importlib
import re
from dataclasses import replace

import numpy as np
import pytest

from pesatlas.atoms.elements import symbol_of
from pesatlas.label.backend import Task
from pesatlas.label.command import command_line
from pesatlas.label.vasp.check_outputs import difference, same_value, stress
from pesatlas.label.vasp.corrections import changes
from pesatlas.label.vasp.custodian_run import handlers
from pesatlas.label.vasp.strip_outputs import (
    BadOutputError,
    TornError,
    band_gap,
    is_unconverged,
    read_outcar,
    read_run,
    trim,
)
from vasp_cases import calculate, crystal, options, set_up, task
from vasp_double import energy_forces_stress
from vasp_outcar import as_vasp_4, with_vdw


def test_stress_has_ases_unit_sign_and_order():
    kbar = np.array(
        [[1.0, 4, 6], [4, 2, 5], [6, 5, 3]]
    )  # VASP: xx yy zz xy yz zx, positive under compression
    assert stress(kbar) == pytest.approx([-x / 1602.1766208 for x in (1, 2, 3, 5, 6, 4)], rel=1e-9)


@pytest.mark.physics
def test_forces_and_stress_of_the_backend_are_derivatives_of_its_free_energy(tmp_path, monkeypatch):
    # at r2scan; of pbe, test_backends.py tells
    set_up(tmp_path, monkeypatch)
    level = "r2scan"
    base = task(level, "metal")
    sheared = np.eye(3) + 0.04 * np.ones((3, 3))
    base = replace(base, cell=base.cell @ sheared, positions=base.positions @ sheared)

    def outcome(cell, positions):
        changed = Task(base.numbers, cell, positions, base.level)
        monkeypatch.setattr("vasp_cases.task", lambda *_: changed)
        return calculate(tmp_path, level, "metal")[0]

    here = outcome(base.cell, base.positions)
    step, volume = 1e-3, abs(np.linalg.det(base.cell))
    for voigt, (i, j) in ((0, (0, 0)), (5, (0, 1))):
        strain = np.zeros((3, 3))
        strain[i, j] = strain[j, i] = 1.0
        ends = [
            outcome(
                base.cell @ (np.eye(3) + s * step * strain), base.positions @ (np.eye(3) + s * step * strain)
            )
            for s in (1, -1)
        ]
        slope = (ends[0].free_energy_eV - ends[1].free_energy_eV) / (2 * step)
        slope /= volume * (1 if i == j else 2)
        assert here.stress_eV_per_A3[voigt] == pytest.approx(slope, abs=2e-5)
        assert abs(slope) > 1e-4
    moved = [base.positions + s * step * np.eye(4, 3)[[1, 0, 2, 3]] * [[1, 0, 0]] for s in (1, -1)]
    ends = [outcome(base.cell, positions) for positions in moved]
    force = -(ends[0].free_energy_eV - ends[1].free_energy_eV) / (2 * step)
    atom = int(np.abs(moved[0] - base.positions).sum(axis=1).argmax())
    assert here.forces_eV_per_A[atom][0] == pytest.approx(force, abs=1e-4)
    assert abs(force) > 1e-2


@pytest.mark.physics
def test_the_doubles_energy_forces_and_stress_belong_together():
    numbers, cell, positions = crystal("magnetic oxide")
    symbols = [symbol_of(int(z)) for z in numbers]
    _, forces, sigma = energy_forces_stress(cell, positions, symbols, "PBE")
    step = 1e-5

    def energy(c, p):
        return energy_forces_stress(c, p, symbols, "PBE")[0]

    for atom in range(4):
        for axis in range(3):
            move = np.zeros((4, 3))
            move[atom, axis] = step
            slope = (energy(cell, positions + move) - energy(cell, positions - move)) / (2 * step)
            assert forces[atom, axis] == pytest.approx(-slope, abs=1e-8)
    for i in range(3):
        for j in range(3):
            strain = np.zeros((3, 3))
            strain[i, j] = step
            plus, minus = np.eye(3) + strain, np.eye(3) - strain
            slope = (energy(cell @ plus, positions @ plus) - energy(cell @ minus, positions @ minus)) / (
                2 * step
            )
            assert sigma[i, j] == pytest.approx(slope / np.linalg.det(cell), abs=1e-8)
    assert np.abs(forces).max() > 0.01
    assert np.abs(forces.sum(axis=0)).max() < 1e-12


def bands(*rows):
    """(k-points, bands, 2) of pairs of energy and occupation."""
    return np.array(rows, dtype=float)


@pytest.mark.parametrize(
    ("spins", "gap"),
    [
        ([bands([(0, 1), (3, 0)], [(1, 1), (2.5, 0)])], 1.5),
        ([bands([(0, 1), (3, 0)], [(0, 1), (2, 1)])], 0.0),  # more filled bands at the second k-point
        ([bands([(0, 1), (1, 0)], [(2, 1), (3, 0)])], 0.0),  # bands overlap
        ([bands([(0, 1), (3, 0)]), bands([(1, 1), (2, 0)])], 1.0),  # between spins
        ([bands([(0, 0.6), (0.1, 0.4)])], 0.1),
        ([bands([(0, 1)]), bands([(0, 0)])], 0.0),
        ([], 0.0),
    ],
)
def test_band_gaps(spins, gap):
    assert band_gap(spins) == pytest.approx(gap)


def test_gap_and_moments_of_a_run(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch)
    assert calculate(tmp_path, "pbe", "halide")[0].band_gap_eV == pytest.approx(2.0)
    assert calculate(tmp_path, "pbe", "metal")[0].band_gap_eV == 0.0


@pytest.mark.parametrize(
    ("used", "wanted", "same"),
    [
        ("R2scan", "R2SCAN", True),
        ("accura", "Accurate", True),
        ("Normal", "Accurate", False),
        ("", "PE", False),
        (-1, True, True),  # VASP writes LMIXTAU so
        ("F", False, True),
        (".TRUE.", False, False),
        (True, False, False),
        (680.0, 680, True),
        (1e-05, 1e-5, True),
        (0.02, 0.05, False),
        ("0.05", 0.05, False),
    ],
)
def test_values_in_vasps_spellings(used, wanted, same):
    assert same_value(used, wanted) is same


def test_changes_of_the_way_are_none_of_the_label():
    before = {"ALGO": "Normal", "SIGMA": 0.05, "ISYM": 2, "KSPACING": 0.22}
    assert changes(before, {**before, "ALGO": "All", "ISEARCH": 1, "ISYM": 0, "NBANDS": 40}) == []
    assert changes(before, {**before, "SIGMA": 0.02}) == ["SIGMA from 0.05 to 0.02"]
    assert changes(before, {**before, "ISMEAR": 1}) == ["ISMEAR from nothing to 1"]
    assert changes(before, {key: before[key] for key in ("ALGO", "SIGMA")}) == [
        "KSPACING from 0.22 to nothing"
    ]


def test_a_file_torn_anywhere_gives_no_run(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch)
    _, place = calculate(tmp_path, "pbe")
    whole, torn = (place.scratch / "vasprun.xml").read_bytes(), tmp_path / "torn.xml"
    for part in range(20):
        torn.write_bytes(whole[: part * len(whole) // 20])
        assert not is_unconverged(torn)
        with pytest.raises(BadOutputError, match=r"vasprun\.xml"):
            read_run(trim(torn, tmp_path / "trimmed.xml"))
    text = (place.scratch / "OUTCAR").read_text()
    for part in range(20):
        torn.write_text(text[: part * len(text) // 20])
        try:
            assert not read_outcar(torn).finished
        except BadOutputError:
            continue


def test_a_damaged_file_is_read_as_it_was_or_refused(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch)
    _, place = calculate(tmp_path, "pbe")
    rng, damaged = np.random.default_rng(1), tmp_path / "damaged"
    for name, reader in (("OUTCAR", read_outcar), ("vasprun.xml", read_run)):
        whole = (place.scratch / name).read_bytes()
        undamaged = reader(place.scratch / name)
        for _ in range(150):
            data, at, size = bytearray(whole), *(int(n) for n in rng.integers(0, (len(whole), 3000)))
            new = [b"", b"*" * size, bytes(rng.integers(0, 256, 20, dtype=np.uint8)), bytes(whole[:size])]
            data[at : at + size] = new[int(rng.integers(0, 4))]
            damaged.write_bytes(bytes(data))
            try:
                found = reader(damaged)
            except BadOutputError:
                continue
            assert found.energy_eV == undamaged.energy_eV or not getattr(found, "finished", False)


def test_columns_that_touch_are_told_apart_and_asterisks_are_refused(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch)
    _, place = calculate(tmp_path, "pbe")
    text, path = (place.scratch / "OUTCAR").read_text(), tmp_path / "OUTCAR"
    rows = re.compile(r"(TOTAL-FORCE.*\n.*\n).*\n")
    path.write_text(
        rows.sub(
            r"\g<1>      0.00000   -123.12345-12345.54321   -123456.123456-12.000001-100000.000001\n", text
        )
    )
    assert read_outcar(path).forces[0].tolist() == [-123456.123456, -12.000001, -100000.000001]
    path.write_text(
        re.sub(
            r"in kB.*",
            "in kB  -101234.12345-12345.12345     0.00000123456.00000-1234.00000     1.00000",
            text,
        )
    )
    assert read_outcar(path).stress[0].tolist() == [-101234.12345, 123456.0, 1.0]
    for row in (
        "in kB  ************     1.00000     1.00000     1.00000     1.00000     1.00000",
        "in kB  1.00000",
    ):
        path.write_text(re.sub(r"in kB.*", row, text))
        with pytest.raises(BadOutputError, match="cannot be read"):
            read_outcar(path)


def test_energies_and_forces_without_van_der_waals_are_told_from_those_of_the_calculation(
    tmp_path, monkeypatch
):
    set_up(tmp_path, monkeypatch)
    _, place = calculate(tmp_path, "pbe")
    plain = read_outcar(place.scratch / "OUTCAR")
    text, path = (place.scratch / "OUTCAR").read_text(), tmp_path / "OUTCAR"
    path.write_text(with_vdw(text, 0.25))
    found = read_outcar(path)
    assert (found.energy_eV, found.free_energy_eV) == (plain.energy_eV, plain.free_energy_eV)
    assert np.array_equal(found.forces, plain.forces)
    assert found.vdw_eV == pytest.approx(-0.25)
    assert plain.vdw_eV == 0
    # torn in each of its energies
    whole = path.read_text()
    for word in whole[whole.index("FREE ENERGIE OF") :].split("\n")[2:5]:
        at = whole.index(word)
        for cut in range(10, len(word), 5):
            path.write_text(whole[: at + cut])
            with pytest.raises(TornError):
                read_outcar(path)


def test_stress_of_vasp_4_has_two_decimals(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch)
    monkeypatch.setenv("VASP_DOUBLE_LAYOUT", "vasp5")
    monkeypatch.setenv("VASP_DOUBLE_VERSION", "4.6.35")
    _, place = calculate(tmp_path, "pbe", about=options(vasp_version="4.6.35"))
    path = tmp_path / "OUTCAR"
    path.write_text(as_vasp_4((place.scratch / "OUTCAR").read_text()))
    found, run = read_outcar(path), read_run(place.scratch / "vasprun.xml")
    assert np.abs(found.stress - run.stress).max() < 0.006
    assert np.abs(found.stress - run.stress).max() > 0.001
    assert difference(run, found) is None
    assert "stress" in difference(replace(run, stress=run.stress + 0.02), found)
    path.write_text(as_vasp_4(path.read_text(), "  in kB  nothing"))
    with pytest.raises(BadOutputError, match=r"written by VASP 4\.6\.35"):
        read_outcar(path)


@pytest.mark.parametrize("name", ["gzip", "bz2", "lzma"])
def test_compressed_files_are_read_and_torn_ones_are_torn(tmp_path, monkeypatch, name):
    set_up(tmp_path, monkeypatch)
    _, place = calculate(tmp_path, "pbe")
    packed = tmp_path / "packed"
    for file, reader in (("OUTCAR", read_outcar), ("vasprun.xml", read_run)):
        data = importlib.import_module(name).compress((place.scratch / file).read_bytes())
        packed.write_bytes(data)
        assert reader(packed).energy_eV == reader(place.scratch / file).energy_eV
        packed.write_bytes(data[: len(data) // 2])
        with pytest.raises(TornError):
            reader(packed)


def test_algorithms_that_are_no_ground_state_are_refused(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch)
    _, place = calculate(tmp_path, "pbe")
    text, path = (place.scratch / "vasprun.xml").read_text(), tmp_path / "vasprun.xml"
    for algorithm, good in {
        "Normal": True,
        "All": True,
        "Conjugate": True,
        "CHI": False,
        "GW0": False,
        "None": False,
    }.items():
        path.write_text(re.sub(r'(name="ALGO">)[^<]*', rf"\g<1> {algorithm}", text))
        assert f'name="ALGO"> {algorithm}<' in path.read_text()
        if good:
            assert read_run(path).incar["ALGO"] == algorithm
        else:
            with pytest.raises(BadOutputError, match="not a self-consistent ground state"):
                read_run(path)


def test_the_last_energies_of_old_versions_are_those_of_new_ones(tmp_path, monkeypatch):
    """VASP 5 calls the energy for zero smearing e_wo_entrp; a value that is neither old nor new is no
    label."""
    set_up(tmp_path, monkeypatch, "entropy")
    found = []
    for layout in ("vasp6", "vasp5"):
        monkeypatch.setenv("VASP_DOUBLE_LAYOUT", layout)
        outcome, place = calculate(tmp_path, "pbe")
        found.append((outcome.free_energy_eV, outcome.energy_eV))
    assert found[0] == found[1]
    assert found[0][1] - found[0][0] == pytest.approx(0.2)
    text = (place.scratch / "vasprun.xml").read_text()
    path = tmp_path / "vasprun.xml"
    path.write_text(
        re.sub(
            r'(name="e_wo_entrp">)[^<]*(?=[^/]*/i>\s*<i name="e_0_energy">[^<]*</i>\s*</energy>\s*<eig)',
            r"\1 -99.0 ",
            text,
        )
    )
    with pytest.raises(BadOutputError, match="neither e_0_energy nor e_wo_entrp"):
        read_run(path)


def test_trimming_leaves_everything_else(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch)
    _, place = calculate(tmp_path, "pbe")
    whole = (place.scratch / "vasprun.xml").read_text()
    trimmed = trim(place.scratch / "vasprun.xml", tmp_path / "trimmed.xml").read_text()
    for name in ("dos", "projected"):
        assert f"<{name}>" in whole
        start, end = whole.index(f"<{name}>"), whole.index(f"</{name}>") + len(f"</{name}>")
        whole = whole[:start] + whole[end:]
    assert trimmed == whole


def test_the_command_is_words_and_no_shell():
    line = "srun --exact -n {cores} 'my vasp' $HOME;ls"
    assert command_line(line, 8, ()) == ["srun", "--exact", "-n", "8", "my vasp", "$HOME;ls"]


def test_the_command_may_name_its_cores():
    line = "srun -n {cores} --cpu-bind=map_cpu:{cpus} vasp"
    assert command_line(line, 2, (4, 5)) == ["srun", "-n", "2", "--cpu-bind=map_cpu:4,5", "vasp"]
    assert command_line(line, 2, ()) == ["srun", "-n", "2", "vasp"]


def test_each_rank_has_one_thread(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch)
    monkeypatch.setenv("OMP_NUM_THREADS", "16")
    shell = "sh -c 'echo threads $OMP_NUM_THREADS'"
    _, place = calculate(tmp_path, "pbe", about=options(command=shell))
    assert (place.scratch / "vasp.out").read_text() == "threads 1\n"


def test_handlers_that_change_levels_or_loop_are_left_out():
    names = {type(handler).__name__.lstrip("_") for handler in handlers()}
    assert names == {"VaspErrorHandler", "StdErrHandler", "Unconverged"}
    caught = set(handlers()[0].errors_subset_to_catch)
    assert {"edddav", "zbrent", "zpotrf", "brmix"} <= caught
    assert not {"tet", "dentet", "triple_product", "fexcf"} & caught
