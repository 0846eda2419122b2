"""Charges beside labels: of VASP from files as it writes them, in the order of the atoms.

They change no level and no label, and cost none when they fail.
"""

from dataclasses import replace

import numpy as np
import pytest

import vasp_densities
from labelling import label_batch_of
from pesatlas.config.campaign import Campaign
from pesatlas.label.backend import Result
from pesatlas.label.backends import vasp
from pesatlas.label.calculate import charges_key, content_key
from pesatlas.levels.lookup import levels_of
from pesatlas.storage.store import stores_at
from pesatlas.tables import read_table
from pesatlas.testing.workdir import make_workdir
from synthetic_potcars import VALENCE
from vasp_cases import crystal, options, runs, set_up, task

COLUMNS = ("bader_charges_e", "bader_net_charges_e", "bader_magmoms_muB", "bader_method", "bader_missing")


@pytest.fixture
def densities(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch)
    monkeypatch.setenv("VASP_DOUBLE_DENSITIES", "32")


def calculate(folder, name="halide", level="pbe", charges=True):
    place = make_workdir(folder)
    return vasp.calculate(replace(task(level, name), charges=charges), options(), place), place


def test_vasps_charges_are_those_of_its_files_in_the_order_of_the_atoms(densities, tmp_path):
    result, _ = calculate(tmp_path / "a")
    found = result.charges
    moved = np.array([vasp_densities.MOVED[symbol] for symbol in ("Cl", "Na", "Cl", "Na")])
    assert found.electrons == pytest.approx(VALENCE["Na"] + moved, abs=0.05)  # chlorine has as many
    assert found.net_e == pytest.approx(-moved, abs=0.05)
    assert sum(found.electrons) == pytest.approx(28, abs=1e-6)
    assert found.magmoms_muB == pytest.approx([0, 0, 0, 0], abs=1e-6)
    assert "AECCAR0 + AECCAR2" in found.method
    oxide, _ = calculate(tmp_path / "b", "magnetic oxide")
    assert oxide.charges.magmoms_muB == pytest.approx(oxide.magmoms_muB, abs=0.05)
    assert oxide.charges.electrons == pytest.approx([7.2, 12.8, 7.2, 12.8], abs=0.1)


def test_a_left_handed_cell_has_the_charges_of_the_right_handed_one(densities, tmp_path):
    _, cell, _ = crystal("halide")
    turned = replace(task("pbe", "halide"), cell=cell[[1, 0, 2]], charges=True)
    found = vasp.calculate(turned, options(), make_workdir(tmp_path / "a")).charges
    right, _ = calculate(tmp_path / "b")
    assert found.electrons == pytest.approx(right.charges.electrons, abs=1e-3)


def test_r2scan_has_charges_of_its_own(densities, tmp_path):
    result, _ = calculate(tmp_path / "a", "magnetic oxide", "r2scan")
    assert result.charges.magmoms_muB == pytest.approx([0, 4.41, 0, 4.41], abs=0.05)
    assert runs(tmp_path, "PBE") == runs(tmp_path, "R2SCAN") == 1


def test_charges_change_neither_inputs_nor_label_and_are_not_there_unless_asked_for(densities, tmp_path):
    with_charges, here = calculate(tmp_path / "a")
    without, there = calculate(tmp_path / "b", charges=False)
    assert without.charges is None
    assert replace(with_charges, charges=None, wall_s=0.0) == replace(without, wall_s=0.0)
    for name in ("INCAR", "POSCAR", "POTCAR"):
        assert (here.scratch / name).read_bytes() == (there.scratch / name).read_bytes()


def test_densities_do_not_leave_scratch(densities, tmp_path):
    _, place = calculate(tmp_path / "a")
    assert {"CHGCAR", "AECCAR0", "AECCAR2"} <= {path.name for path in place.scratch.iterdir()}
    assert not [path for path in place.keep.iterdir() if "CHGCAR" in path.name or "AECCAR" in path.name]
    assert not [path for path in place.handover.iterdir() if path.name not in {"WAVECAR", "pbe.json"}]


def torn(folder, name):
    path = folder / name
    path.write_text(path.read_text()[:3000])


def missing(folder, name):
    (folder / name).unlink()


def stars(folder, name):
    path = folder / name
    path.write_text(path.read_text().replace("E+00", "****", 5))


def other_crystal(folder, name):
    path = folder / name
    path.write_text(path.read_text().replace("0.020000", "0.120000", 1))


def other_electrons(folder, name):
    path = folder / name
    lines = path.read_text().splitlines()
    start = lines.index(" ") + 2
    path.write_text(
        "\n".join([*lines[:start], " 0.90000000000E+07" + lines[start][18:], *lines[start + 1 :], ""])
    )


@pytest.mark.parametrize(
    ("name", "spoil", "reason"),
    [
        ("AECCAR0", missing, "No such file"),
        ("AECCAR2", torn, "Expected 32768 values"),
        ("CHGCAR", stars, "ValueError"),
        ("AECCAR0", other_crystal, "the structure in AECCAR0 is not the requested one"),
        ("CHGCAR", other_electrons, "electrons, the atoms have 28.000"),
    ],
)
def test_a_density_that_is_wrong_costs_the_charges_and_not_the_label(
    densities, tmp_path, monkeypatch, name, spoil, reason
):
    from pesatlas.label.vasp import steps

    calculated = steps.bader_charges

    def spoiled(task, inputs, folder):
        spoil(folder, name)
        return calculated(task, inputs, folder)

    monkeypatch.setattr(steps, "bader_charges", spoiled)
    result, _ = calculate(tmp_path / "a")
    assert isinstance(result, Result)
    assert reason in result.charges.missing
    assert result.charges.electrons is result.charges.net_e is result.charges.method is None


def test_densities_of_an_earlier_attempt_are_not_used(densities, tmp_path, monkeypatch):
    import os

    from pesatlas.label.vasp import steps

    calculated = steps.bader_charges

    def older(task, inputs, folder):
        os.utime(folder / "CHGCAR", (1, 1))
        return calculated(task, inputs, folder)

    monkeypatch.setattr(steps, "bader_charges", older)
    result, _ = calculate(tmp_path / "a")
    assert "CHGCAR is older than the calculation" in result.charges.missing


@pytest.fixture
def campaigns(campaign, tmp_path, densities):
    """Return a campaign on one store, with charges or without."""

    def make(*charges, **label):
        raw = campaign.model_dump(mode="json")
        raw["label"] |= {"backend": options().model_dump(), "charges": list(charges), **label}
        return Campaign.model_validate(raw)

    return make


def test_charges_are_no_part_of_the_level_nor_of_keys_without_them(campaigns, campaign):
    plain, charged = campaigns().label, campaigns("bader").label
    levels = [levels_of(each.backend, each.levels) for each in (plain, charged)]
    assert [a.fingerprint for a in levels[0].values()] == [b.fingerprint for b in levels[1].values()]
    asked = replace(task("pbe"), charges=True)
    assert content_key(asked) == content_key(task("pbe"))
    assert "charges" not in plain.identity()
    assert charged.identity() == plain.identity() | {"charges": ["bader"]}


def rows_of(campaign, selection, folder):
    folder.mkdir()
    paths = [folder / f"{table}.parquet" for table in ("labels", "failures")]
    label_batch_of(campaign, 0, selection, *paths, folder / "work")
    assert not read_table(paths[1], "failures").num_rows
    return read_table(paths[0], "labels").to_pylist()


def test_a_label_without_charges_counts_and_says_why_it_has_none(campaigns, select, tmp_path):
    first = rows_of(campaigns(), select(3.0), tmp_path / "first")
    assert all(row[column] is None for row in first for column in COLUMNS)
    calls = runs(tmp_path)
    second = rows_of(campaigns("bader"), select(3.0), tmp_path / "second")
    assert runs(tmp_path) == calls  # nothing is calculated twice
    assert [row["energy_eV"] for row in second] == [row["energy_eV"] for row in first]
    assert {row["verdict"] for row in second} == {"accepted"}
    assert all("did not ask" in row["bader_missing"] for row in second)


def test_charges_are_kept_with_the_label_and_found_again_in_any_order(campaigns, select, tmp_path):
    asked = campaigns("bader", levels=["pbe"])
    (made,) = rows_of(asked, select(3.0), tmp_path / "made")
    calls = runs(tmp_path)
    (turned,) = rows_of(asked, select(3.0, name="turned", order=(1, 2, 0)), tmp_path / "turned")
    assert runs(tmp_path) == calls
    assert made["bader_missing"] is None
    assert sum(made["bader_charges_e"]) == pytest.approx(6 + 8 + 6, abs=1e-3)
    assert made["bader_charges_e"][1] < made["bader_charges_e"][0]  # magnesium gave electrons to oxygen
    assert turned["bader_charges_e"] == [made["bader_charges_e"][i] for i in (1, 2, 0)]
    assert turned["bader_net_charges_e"] == [made["bader_net_charges_e"][i] for i in (1, 2, 0)]
    (plain,) = rows_of(campaigns(levels=["pbe"]), select(3.0), tmp_path / "plain")
    assert all(plain[column] is None for column in COLUMNS)
    store = stores_at(asked.campaign.store, (), "labels")
    store.refresh()
    assert b"bader" not in store.get(made["label_key"])  # an older pesatlas reads the label as ever
    assert store.get(charges_key(made["label_key"]))


@pytest.mark.parametrize("kind", ["qe", "mlip"])
def test_a_backend_without_an_all_electron_density_is_refused_before_anything_runs(campaign, kind):
    raw = campaign.model_dump(mode="json")
    backends = {
        "qe": {"kind": "qe", "qe_version": "7.5", "pseudopotentials": "upf"},
        "mlip": {"kind": "mlip", "potential": {"kind": "chgnet"}},
    }
    raw["label"] |= {
        "backend": backends[kind],
        "charges": ["bader"],
        "levels": ["pbe" if kind == "qe" else "mlip"],
    }
    with pytest.raises(ValueError, match=f"charges: the backend {kind} has no all-electron density"):
        Campaign.model_validate(raw)
