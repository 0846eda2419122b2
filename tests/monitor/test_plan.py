"""The plan: sums that can be done by hand, and every number with its source."""

import json
import os
import re
import subprocess
import sys

import dag
import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.build import bulk

from exploring import structure_row
from pesatlas.campaign.load import read_campaign
from pesatlas.campaign.rules import RULES
from pesatlas.config.presets import preset
from pesatlas.errors import UserError
from pesatlas.monitor.format import size as words
from pesatlas.monitor.plan import Machine, _wall_s, count, plan
from pesatlas.monitor.rates import UNITS, Rate, assumed, measured, measured_cells, sampled_cells
from pesatlas.tables import SCHEMAS, write_table
from pesatlas.testing.blank import value_of
from small_campaign import SmallCampaign


@pytest.fixture
def matpes():
    return preset("matpes")[0]


def test_amounts_and_hours_can_be_done_by_hand(matpes, tmp_path):
    given = {
        "atoms": 20.0,
        "md": 1e5,
        "encode": 1e5,
        "label_pbe": 100.0,
        "label_r2scan": 300.0,
        "label_bytes": 0.0,
    }
    rates = assumed(matpes) | {name: Rate(value, "given") for name, value in given.items()}
    amounts = count(matpes, tmp_path, 100_000, rates)
    # a unit cell and a supercell of each, one condition, 1000 frames a trajectory and the crystal as given
    assert (amounts.cells, amounts.trajectories, amounts.snapshots) == (200_000, 200_000, 200_100_000)
    _, explore, encode, select, atoms, label, _ = plan(matpes, amounts, rates)
    assert explore.jobs * matpes.explore.structures_per_job == amounts.cells
    # 200,000 trajectories of 50,000 steps of 20 atoms at 1e5 a second
    assert explore.hours == pytest.approx(200_000 * 50_000 * 20 / 1e5 / 3600)
    assert (explore.gpus, label.gpus) == (1, 0)
    assert encode.hours == pytest.approx(200_100_000 * 20 / 1e5 / 3600)
    per_job = matpes.label.structures_per_job
    assert label.jobs == -(-509_799 // per_job)
    assert label.job_s == pytest.approx(400 * per_job, rel=0.01)
    assert label.hours * 3600 == pytest.approx(400 * 509_799, rel=0.01)
    assert label.disk == pytest.approx(2 * 509_799 * 100_000)
    # those of MatPES, each at both levels
    assert (atoms.jobs, atoms.job_s) == (1, 89 * 400.0)
    # however many cores: components, grid, clusters, grid, clusters, candidates, picks, measures
    assert select.wall_s(Machine(1, 10_000)) == pytest.approx(8 * select.job_s)
    waves = -(-explore.jobs // 16)
    assert explore.wall_s(Machine(16, 1)) == pytest.approx(waves * explore.job_s)


def test_calculations_side_by_side_make_jobs_shorter_and_wider(matpes, tmp_path):
    raw = matpes.model_dump(mode="json")
    raw["label"] |= {"parallel": 4, "cores": 8, "structures_per_job": 10}
    campaign = type(matpes).model_validate(raw)
    rates = assumed(campaign) | dict.fromkeys(("label_pbe", "label_r2scan"), Rate(100.0, "given"))
    label = plan(campaign, count(campaign, tmp_path, 100_000, rates), rates)[5]
    assert (label.cores, label.job_s) == (32, 3 * 200.0)  # ten geometries, four at a time
    assert label.wall_s(Machine(1, 320)) == pytest.approx(label.wall_s(Machine(1, 32)) / 10, rel=0.001)


def test_the_jobs_are_those_of_the_workflow(tmp_path):
    size = dag.Size(cells=17, labels=30, cells_per_job=1, labels_per_job=7)
    dag.build(tmp_path, size)
    campaign = read_campaign(tmp_path / "config.yaml", extensions=False)
    rates = assumed(campaign) | {"cells": Rate(1.0, "given")}
    amounts = count(campaign, tmp_path / "results", size.cells, rates)
    planned = {need.stage: need.jobs for need in plan(campaign, amounts, rates)}
    assert sum(planned.values()) + 1 == dag.jobs_in_all(size)  # and the target
    # the table of crystals is there: what is left of the stages after it is all of them
    left = dag.advance(tmp_path, size, "before")
    output, _, _ = dag.call(dag.DRY_RUN, tmp_path)
    jobs = {rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", output, re.MULTILINE)}
    assert jobs.pop("total") == left
    found = {stage: sum(jobs.get(rule, 0) for rule in rules) for stage, rules in RULES.items()}
    found["dataset"] += found.pop("report")
    assert [found.pop(stage) for stage in ("train", "compare", "benchmark", "round")] == [
        0
    ] * 4  # nobody asked for them
    del found["structures"], planned["structures"]
    assert planned == found


def test_time_of_isolated_atoms_counts_only_if_they_take_longest(matpes, tmp_path):
    given = {"md": 1e6, "encode": 1e6, "label_pbe": 100.0, "label_r2scan": 100.0, "select": 0.0}
    rates = assumed(matpes) | {name: Rate(value, "given") for name, value in given.items()}
    needs = plan(matpes, count(matpes, tmp_path, 1000, rates), rates)
    atoms, others = needs[4].job_s, sum(n.wall_s(Machine(1, 64)) for n in needs if n.stage != "atoms")
    assert others > atoms
    assert _wall_s(needs, Machine(1, 64)) == pytest.approx(others)
    assert _wall_s([needs[0], needs[4]], Machine(1, 64)) == atoms


def test_exports_take_room(matpes, tmp_path):
    raw = matpes.model_dump(mode="json")
    sizes = {}
    for formats in ([], ["mace"], ["mace", "extxyz"]):
        raw["dataset"]["exports"]["formats"] = formats
        campaign = type(matpes).model_validate(raw)
        rates = assumed(campaign)
        sizes[len(formats)] = plan(campaign, count(campaign, tmp_path, 1000, rates), rates)[6].disk
    labels = 2 * min(matpes.select.target, 1000 * 2 * 1000 + 1000)
    assert sizes[2] - sizes[1] == pytest.approx(sizes[1] - sizes[0]) == pytest.approx(140 * 57 * labels)


def test_what_is_not_known_stays_unknown(matpes, tmp_path):
    rates = assumed(matpes)
    needs = {need.stage: need for need in plan(matpes, count(matpes, tmp_path, 1000, rates), rates)}
    assert needs["explore"].hours is needs["label"].hours is needs["label"].wall_s(Machine(1, 1)) is None
    with pytest.raises(UserError, match="--structures 150000"):
        count(matpes, tmp_path, None, rates)


def test_crystals_of_small_files_are_counted_before_they_are_prepared(tmp_path):
    for name in ("Cu", "Al"):
        bulk(name).write(tmp_path / f"{name}.cif")
    settings = {
        "campaign": {"name": "small"},
        "structures": {"sources": [{"kind": "files", "paths": ["*.cif"]}]},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "pesatlas.cli.main", "plan", "--json"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    amounts = json.loads(told)["amounts"]
    assert (amounts["structures"], amounts["elements"], amounts["source"]) == (2, 2, "structures.sources")


def test_structures_that_are_there_are_counted(matpes, halfway):
    rates = assumed(matpes)
    amounts = count(matpes, halfway.results, None, rates)
    assert amounts.structures == 6
    assert "structures.parquet" in amounts.source


def test_where_nothing_was_run_nothing_is_measured(matpes, tmp_path):
    with pytest.raises(UserError, match="no campaign was run there"):
        measured(tmp_path, matpes)


def test_sizes_in_words():
    assert [words(n) for n in (0, 999, 1000, 2.5e9, 3e15)] == ["0 B", "999 B", "1 kB", "2.5 GB", "3e+03 TB"]


def test_the_command_says_where_each_number_comes_from(tmp_path):
    (tmp_path / "config.yaml").write_text("")
    arguments = ["--structures", "1000", "--md-rate", "2e5", "--label-seconds", "600"]
    config = [sys.executable, "-m", "pesatlas.cli.main", "config", "new", "--preset", "matpes"]
    (tmp_path / "config.yaml").write_text(
        subprocess.run(config, capture_output=True, text=True, check=True).stdout
    )
    command = [sys.executable, "-m", "pesatlas.cli.main", "plan", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    lines = {line.split("  ")[0].strip(): line for line in done.stdout.splitlines()}
    assert "given" in lines["200000"]
    assert "longer than 24 h" in " ".join(done.stdout.split())
    # the hours that `pesatlas init` assumes, and which they are
    assert "not known" not in done.stdout
    assert "Assumed, not measured: encode. They may be off" in " ".join(done.stdout.split())
    for unit in UNITS.values():
        assert unit.split()[0] in done.stdout


def campaign_with(domains, **explore):
    from pesatlas.config.campaign import Campaign

    return Campaign.model_validate(
        {
            "structures": {"sources": [{"kind": "demo"}], "domains": domains},
            "explore": explore,
            "encode": {},
            "select": {},
            "label": {},
        }
    )


def test_cells_of_other_domains_are_counted_on_examples_and_what_does_not_move_takes_no_time():
    domains = [
        {"kind": "bulk", "supercell": None},
        {"kind": "strained", "modes": ["xx"], "magnitudes": [0.1]},
        {"kind": "compressed", "pressures_GPa": [10, 20]},
        # of two examples one has layers
        {"kind": "monolayer"},
    ]
    rates = assumed(campaign_with(domains))
    assert rates["cells"].value == 1 + 1 + 2 + 1
    assert rates["trajectories"].value * rates["cells"].value == pytest.approx(1 + 0 + 2 + 1)
    assert rates["lengths"].value == 1
    assert "NaCl or MoS2" in rates["cells"].source


def test_ramps_take_time_and_give_snapshots(tmp_path):
    melt = {"kind": "liquid", "temperatures_K": [1000], "melt_ps": 50, "cool_ps": 100}
    campaign = campaign_with([{"kind": "bulk", "supercell": None}, melt])
    rates = assumed(campaign)
    # 100 ps of bulk; of the liquid 50 ps molten, 100 ps of cooling, and 100 ps
    assert rates["lengths"].value * 2 * campaign.explore.length_ps == pytest.approx(100 + 250)
    amounts = count(campaign, tmp_path, 10, rates)
    assert amounts.snapshots == 10 * (350 / campaign.explore.frame_interval_ps + 1)
    rates |= {"md": Rate(1e5, "given"), "encode": Rate(1e5, "given"), "atoms": Rate(20, "given")}
    explore = plan(campaign, amounts, rates)[1]
    # steps of 2 fs, and of 1 and 0.5 fs for some of the crystals
    assert explore.hours == pytest.approx(1.2 * 10 * 350_000 / 2 * 20 / 1e5 / 3600)


def test_steps_are_counted_in_the_time_steps_of_the_cells(tmp_path):
    light = structure_row("light", ([1, 17], np.eye(3) * 4, [[0, 0, 0], [2, 2, 2]]))
    heavy = structure_row("heavy", ([11, 17], np.eye(3) * 4, [[0, 0, 0], [2, 2, 2]]))
    counts = {"cells": 2, "accepted": 2, "trajectories": 2}
    write_table(tmp_path / "structures.parquet", "structures", [light, heavy], "test", counts)
    for step, pace in (("auto", (4 + 1) / 2), (2.0, 1)):
        campaign = campaign_with([{"kind": "bulk", "supercell": None}], timestep_fs=step)
        rates = assumed(campaign) | measured_cells(tmp_path, campaign.explore)
        assert (rates["pace"].value, rates["lengths"].value) == (pace, 1)
        amounts = count(campaign, tmp_path, None, rates)
        assert amounts.steps == 2 * 50_000 * pace
        # frames are as many
        assert amounts.snapshots == 2 * 1000 + 2


def planned_atoms(folder, *arguments):
    command = [sys.executable, "-m", "pesatlas.cli.main", "plan", "--structures", "100", *arguments]
    wide = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, env=wide)
    (line,) = [line for line in done.stdout.splitlines() if "atoms in a frame" in line]
    return float(line.split()[0]), line.partition("atoms in a frame")[2].strip()


def test_atoms_of_frames_come_from_the_table_else_from_the_sources_else_are_assumed(tmp_path):
    cells = tmp_path / "cells"
    cells.mkdir()
    config = {
        "structures": {
            "sources": [{"kind": "files", "paths": ["cells"]}],
            "domains": [{"kind": "bulk", "supercell": {"min_length_A": 7.0, "max_atoms": 20}}],
        },
        "explore": {},
        "encode": {},
        "select": {},
        "label": {},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    atoms, source = planned_atoms(tmp_path)
    assert (atoms, source) == (57, "assumed: those of MatPES, 16e9 atoms in 281e6 frames")
    # 2 atoms, and 16 in a supercell; 3 in a cell that is large enough; one that is too large for a campaign
    bulk("CsCl", "cesiumchloride", 4.0).write(cells / "a.cif")
    Atoms("Li2O", [[0, 0, 0], [2, 2, 2], [4, 4, 4]], cell=[8, 8, 8], pbc=True).write(cells / "b.cif")
    Atoms("Ar216", bulk("Ar", "sc", 4.0).repeat(6).positions, cell=[24] * 3, pbc=True).write(cells / "c.cif")
    assert planned_atoms(tmp_path) == (7, "counted on 2 crystals of structures.sources")
    assert planned_atoms(tmp_path, "--atoms", "40") == (40, "given")
    write_table(
        tmp_path / "results" / "structures.parquet",
        "structures",
        [structure_row("x", ([11, 17], np.eye(3) * 4, [[0, 0, 0], [2, 2, 2]]))],
        "test",
        {"cells": 1, "accepted": 1, "trajectories": 1},
    )
    assert planned_atoms(tmp_path) == (2, "counted in results/structures.parquet")


def test_atoms_are_those_of_frames_and_not_of_cells(tmp_path):
    crystal = ([11, 17], np.eye(3) * 4, [[0, 0, 0], [2, 2, 2]])
    large = ([11, 17] * 4, np.eye(3) * 8, np.arange(24).reshape(8, 3) / 3)
    moving, static = structure_row("moving", crystal), structure_row("static", large)
    static["conditions"] = [{**each, "static": True} for each in static["conditions"]]
    counts = {"cells": 2, "accepted": 2, "trajectories": 2}
    write_table(tmp_path / "structures.parquet", "structures", [moving, static], "test", counts)
    rates = measured_cells(tmp_path, campaign_with([{"kind": "bulk", "supercell": None}]).explore)
    # a thousand frames of two atoms, and one of eight
    assert rates["atoms"].value == pytest.approx((1000 * 2 + 8) / 1001)


def test_what_sources_have_is_counted_with_the_domains_of_the_campaign():
    campaign = campaign_with([{"kind": "bulk", "supercell": None}, {"kind": "monolayer"}])
    raw = campaign.model_dump(mode="json")
    raw["structures"]["sources"] = [{"kind": "demo", "names": ["Si", "MoS2", "NaCl"]}]
    rates = sampled_cells(type(campaign).model_validate(raw))
    # one of the three has layers, of three atoms, which the domain repeats to 27
    assert rates["cells"].value == pytest.approx(4 / 3)
    assert rates["atoms"].value == pytest.approx((2 + 6 + 2 + 27) / 4)


def test_trajectories_that_may_end_before_are_counted_as_expected_and_at_most(tmp_path):
    stop = {"kind": "saturated", "min_length_ps": 2.0}
    domains = [{"kind": "bulk", "supercell": None}]
    fixed = campaign_with(domains, timestep_fs=2.0)
    campaign = campaign_with(domains, timestep_fs=2.0, stop=stop)
    rates = assumed(campaign) | {"atoms": Rate(20.0, "given"), "md": Rate(1e5, "given")}
    amounts = count(campaign, tmp_path, 1000, rates)
    # 100 ps at most; of 60 crystals, those of a shortest length of 2 ps had 2.8 on average
    assert (amounts.steps, amounts.most_steps) == (1000 * 1400, 1000 * 50_000)
    assert amounts.snapshots == 1000 * 28 + 1000
    explore = plan(campaign, amounts, rates)[1]
    assert explore.amount == "1000 trajectories, 2.8e+07 steps·atoms expected, 1e+09 at most"
    assert explore.hours == pytest.approx(1000 * 1400 * 20 / 1e5 / 3600)
    amounts = count(fixed, tmp_path, 1000, assumed(fixed))
    assert amounts.steps == amounts.most_steps == 1000 * 50_000
    # never longer than they may be
    raw = campaign.model_dump(mode="json")
    raw["explore"]["length_ps"] = 2.5
    assert assumed(type(campaign).model_validate(raw))["stop"].value == 1


def test_how_soon_trajectories_ended_is_measured(matpes, halfway):
    raw = yaml.safe_load((halfway.folder / "config.yaml").read_text())
    assert "stop" not in measured(halfway.folder, matpes)
    raw["explore"]["stop"] = {"kind": "saturated", "min_length_ps": 0.2}
    (halfway.folder / "config.yaml").write_text(yaml.safe_dump(raw))
    row = {field.name: value_of(field.type) for field in SCHEMAS["trajectories"]}
    # four atoms for a tenth of the time, one for all of it
    rows = [row | {"n_atoms": 4, "steps": 100, "longest_steps": 1000}]
    rows += [row | {"n_atoms": 1, "steps": 500, "longest_steps": 500}]
    for batch, each in enumerate(rows):
        path = halfway.results / "explored" / f"{batch:05d}.trajectories.parquet"
        path.parent.mkdir(exist_ok=True)
        write_table(path, "trajectories", [each], "test")
    found = measured(halfway.folder, matpes)["stop"]
    assert found.value == pytest.approx(900 / 4500)
    assert "stop saturated (other length_ps and stop than planned!)" in found.source


def test_crystals_of_files_are_counted_by_the_plan_itself(tmp_path):
    """A refused one is none; before anything is prepared."""
    change = {"structures.sources": [{"kind": "demo", "names": ["NaCl", "Si", "SiC"]}]}
    change |= {"structures.elements": ["Na", "Cl", "Si"]}
    SmallCampaign(tmp_path, change)
    run = [sys.executable, "-m", "pesatlas.cli.main", "plan", str(tmp_path)]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "2 crystals (structures.sources)" in said
    assert "Warning: explore.length_ps: 0.5 ps is not equilibrated" in said
