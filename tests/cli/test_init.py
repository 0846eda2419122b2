"""`pesatlas init`: a short configuration that fits the crystals, and notes where settings do not."""

import io
import json
import re
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from pesatlas.campaign.load import load_campaign, read_campaign
from pesatlas.cli.init import init, with_pseudopotentials
from pesatlas.config.scaled import Wishes, scale
from pesatlas.errors import UserError
from pesatlas.levels import potcars
from pesatlas.monitor.doctor import warnings_of
from pesatlas.monitor.fit import misfits
from pesatlas.monitor.plan import count
from pesatlas.monitor.rates import assumed, sampled_cells
from pesatlas.structures.survey import survey
from qe_files import synthetic_upf

CIF = """data_x
_cell_length_a {a}
_cell_length_b {a}
_cell_length_c {a}
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
A1 {first} 0 0 0 {part}
A2 {second} 0.5 0.5 0.5 1
"""


@pytest.fixture
def cells(tmp_path, monkeypatch):
    """Three usable crystals, one that is disordered, one that is no file of a crystal."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cells").mkdir()
    for name, first, second, a, part in (
        ("CsCl", "Cs", "Cl", 4.12, 1),
        ("NiAl", "Ni", "Al", 2.89, 1),
        ("CuZn", "Cu", "Zn", 2.95, 1),
        ("half", "Mg", "O", 4.2, 0.5),
    ):
        text = CIF.format(a=a, first=first, second=second, part=part)
        (tmp_path / "cells" / f"{name}.cif").write_text(text)
    (tmp_path / "cells" / "torn.cif").write_text("data_x\n_cell_length_a 5\n")
    return tmp_path


def printed(wishes, to):
    console = Console(file=io.StringIO(), width=200)
    init(wishes, to, console)
    return " ".join(console.file.getvalue().split())


def test_it_shows_the_crystals_and_writes_a_short_file_that_is_a_whole_campaign(cells):
    to = cells / "config.yaml"
    told = printed(Wishes(["cells"]), to)
    for expected in (
        "CsCl CsCl Pm-3m (221) 2 yes",
        "half disordered",
        "torn unreadable",
        "5 crystals: 3 usable; half disordered; torn unreadable",
    ):
        assert expected in told
    campaign = read_campaign(to)
    assert campaign.select.target == 30
    assert campaign.label.backend.kind == "gpaw"
    lines = [line for line in to.read_text().splitlines() if not line.startswith("#")]
    assert len(lines) <= 25
    # nothing is noted about a configuration that was scaled to these crystals
    assert warnings_of(campaign, cells / "results") == []


def test_every_number_that_is_chosen_has_its_reason(cells):
    made = scale([2, 2, 8], Wishes(["cells"], core_hours=100.0))
    text = made.as_yaml([])
    for reason in made.reasons.values():
        assert f"# {reason}" in text
    assert yaml.safe_load(text) == made.raw
    chosen = {
        "explore.length_ps",
        "select.target",
        "select.budget",
        "label.structures_per_job",
        "dataset.split",
    }
    assert chosen <= made.reasons.keys()


@pytest.mark.parametrize("count", [1, 3, 12, 500, 20_000])
@pytest.mark.parametrize("backend", ["gpaw", "vasp", "mlip"])
def test_it_is_valid_for_any_number_of_crystals(cells, count, backend):
    made = scale([4] * count, Wishes(["cells"], backend=backend, gpu_hours=10.0 if count > 100 else None))
    campaign = load_campaign(made.raw, "here", extensions=False)
    assert campaign.select.target == 10 * count
    assert campaign.explore.length_ps >= 5
    assert campaign.explore.device == ("cuda" if count > 100 else "cpu")


def test_more_gpu_hours_make_longer_trajectories_and_more_atoms_shorter_ones():
    def length(atoms, hours):
        return scale(atoms, Wishes(["x"], gpu_hours=hours)).raw["explore"]["length_ps"]

    assert length([8] * 1000, 1.0) < length([8] * 1000, 100.0)
    assert length([8] * 10_000, 20.0) < length([8] * 1000, 20.0)


def test_a_budget_and_domains_are_in_the_file(cells):
    printed(Wishes(["cells"], core_hours=50.0, domains=["strained"]), cells / "config.yaml")
    campaign = read_campaign(cells / "config.yaml", extensions=False)
    assert campaign.select.budget.core_hours == 50
    assert [each.kind for each in campaign.structures.domains] == ["bulk", "strained"]


def test_a_file_that_is_there_stays(cells):
    (cells / "config.yaml").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        printed(Wishes(["cells"]), cells / "config.yaml")
    assert (cells / "config.yaml").read_text() == "mine"


def test_without_a_usable_crystal_nothing_is_written(cells):
    with pytest.raises(UserError, match="none of these crystals can be explored"):
        printed(Wishes(["cells/torn.cif"]), cells / "config.yaml")
    with pytest.raises(UserError, match="'nowhere' does not exist"):
        printed(Wishes(["nowhere"]), cells / "config.yaml")
    assert not (cells / "config.yaml").exists()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"select": {"target": 4}}, "75% of the 4 labels would be the 3 crystals at rest"),
        ({"explore": {"length_ps": 0.2, "frame_interval_ps": 0.1}}, "0.2 ps is not equilibrated"),
        ({"dataset": {"split": {"valid": 0.1}}}, "0.1 of 3 crystals is less than one"),
        (
            {"structures": {"domains": [{"kind": "bulk", "supercell": {"min_length_A": 9, "max_atoms": 3}}]}},
            "3 of 3 crystals (CsCl, CuZn, NiAl) get no supercell with max_atoms: 3",
        ),
    ],
)
def test_settings_that_do_not_fit_the_crystals_are_named(cells, change, expected):
    raw = scale([2, 2, 2], Wishes(["cells"])).raw
    for section, values in change.items():
        raw[section] = raw.get(section, {}) | values
    campaign = load_campaign(raw, "here", extensions=False)
    found = survey(campaign.structures, campaign.explore, campaign.label.backend)
    assert any(expected in sentence for sentence in misfits(campaign, found.accepted))


@pytest.mark.parametrize(
    "name", ["yes", "null", "12e3", "a b", "it's", 'a "b"', "[x]", "#a", "b: c", "ü", "tab\there"]
)
def test_any_name_of_a_folder_is_written_as_it_is(cells, name):
    (cells / "cells").rename(cells / name)
    printed(Wishes([name]), cells / "config.yaml")
    assert read_campaign(cells / "config.yaml").structures.sources[0].paths == [name]


def test_a_file_in_another_folder_is_refused(cells):
    with pytest.raises(UserError, match="relative to its folder"):
        printed(Wishes(["cells"]), cells / "sub" / "config.yaml")


def test_hours_are_those_of_the_plan_of_the_written_file(cells):
    told = printed(Wishes(["cells"], domains=["hot", "strained"]), cells / "config.yaml")
    hours = float(re.search(r"about ([\d.]+) core hours", told)[1])
    campaign = read_campaign(cells / "config.yaml", extensions=False)
    rates = assumed(campaign) | sampled_cells(campaign)
    amounts = count(campaign, cells / "results", 3, rates)
    assert hours == pytest.approx(amounts.steps * rates["atoms"].value / 1000 / 3600, rel=0.05)
    # a few jobs, however many cells the domains make
    assert amounts.cells / campaign.explore.structures_per_job <= 4
    assert amounts.cells > 60


def test_light_atoms_take_shorter_steps_and_so_more_hours(cells):
    def hours(first):
        text = CIF.format(a=4.08, first=first, second="Cl", part=1)
        (cells / "cells" / "CsCl.cif").write_text(text)
        told = printed(Wishes(["cells/CsCl.cif"]), cells / f"{first}.yaml")
        return float(re.search(r"about ([\d.]+) core hours", told)[1])

    assert hours("H") > 2 * hours("Cs")


def test_vasp_needs_no_potcars_yet_and_is_told_which(cells, monkeypatch):
    monkeypatch.delenv("PMG_VASP_PSP_DIR", raising=False)
    monkeypatch.setattr(potcars, "_pymatgen_settings", dict)
    told = printed(Wishes(["cells"], backend="vasp"), cells / "config.yaml")
    assert "5 crystals: 3 usable" in told
    assert "Not here: Al, Cl, Ni_pv, Cu_pv, Zn, Cs_sv." in told
    assert "PMG_VASP_PSP_DIR" in told
    # one core is right for no crystal: what must be set is in the file
    assert "of each calculation: write those of your nodes" in (cells / "config.yaml").read_text()
    label = read_campaign(cells / "config.yaml", extensions=False).label
    assert label.backend.command == type(label.backend).model_fields["command"].default
    # what doctor looks at is in the file, too
    written = yaml.safe_load((cells / "config.yaml").read_text())["label"]
    assert written.keys() >= {"cores", "timeout_min", "scratch"}
    assert label.timeout_min == type(label).model_fields["timeout_min"].default


def test_quantum_espresso_labels_the_elements_of_its_folder(cells):
    folder = cells / "set"
    for element in ("Cs", "Cl", "Ni"):
        synthetic_upf(folder, element)
    with pytest.raises(UserError, match="needs --pseudopotentials FOLDER"):
        with_pseudopotentials(Wishes(["cells"], backend="qe"), None)
    with pytest.raises(UserError, match="needs --pseudopotentials FOLDER"):
        with_pseudopotentials(Wishes(["cells"], backend="vasp"), folder)
    wishes = with_pseudopotentials(Wishes(["cells"], backend="qe"), Path("set"))
    told = printed(wishes, cells / "config.yaml")
    assert "5 crystals: 1 usable" in told  # NiAl and CuZn have elements without a file
    assert "cutoffs_Ry" in told  # nothing recommends any
    backend = read_campaign(cells / "config.yaml", extensions=False).label.backend
    assert (backend.kind, backend.pseudopotentials) == ("qe", Path("set"))
    assert backend.command == type(backend).model_fields["command"].default
    # recommendations that lie with the set are taken
    told = {"Cs": "Cs.UPF", "Cl": "Cl.UPF", "Ni": "Ni.UPF"}
    (cells / "set.json").write_text(json.dumps({name: {} for name in told}))
    assert with_pseudopotentials(Wishes(["cells"], backend="qe"), Path("set")).recommendations == "set.json"


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        (0.001, "do not pay for one label: of the smallest crystal it takes about 0.0012"),
        (0.005, "are little more than the 3 crystals at rest take"),
        (50.0, None),
    ],
)
def test_a_budget_too_small_for_the_crystals_is_noted(cells, hours, expected):
    raw = scale([2, 2, 2], Wishes(["cells"], core_hours=hours)).raw
    campaign = load_campaign(raw, "here", extensions=False)
    found = survey(campaign.structures, campaign.explore, campaign.label.backend)
    said = [sentence for sentence in misfits(campaign, found.accepted) if "select.budget" in sentence]
    assert [expected in sentence for sentence in said] == ([True] if expected else [])
