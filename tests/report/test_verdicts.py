"""Verdicts of the report: each is found again from rows that were made to deserve it."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from synthetic_campaign import fill

from pesatlas.campaign.account import Account
from pesatlas.campaign.campaign_tables import CampaignTables
from pesatlas.campaign.layout import below
from pesatlas.campaign.strain_test import strain_tests
from pesatlas.config.section import digest
from pesatlas.report.build import _happened
from pesatlas.report.converged import converged
from pesatlas.report.cost import Cost
from pesatlas.report.crystal_summary import AtLevel, Crystal
from pesatlas.report.equilibration import equilibrated
from pesatlas.report.report_verdict import Verdict, within, worst
from pesatlas.report.softness import LABELS, ForcesOfCrystals, forces_of_crystals, softness
from pesatlas.report.strain_verdict import strained
from pesatlas.report.verdicts import covered, electronic, lacking, soft, spent
from pesatlas.tables import SCHEMAS, write_table
from strain_files import store

EDGE_A, ATOMS, KELVIN = 6.0, 20, 300.0
K_B, GPA = 8.617333262e-5, 160.21766208


def tables_of(folder, name, rows, file=None):
    """Queries over one table with these rows; other columns are empty."""
    known = {key: [row[key] for row in rows] for key in rows[0]}
    path = folder / (file or f"{name}.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(path, name, fill(name, len(rows), known), "test")
    entry = {"table": name, "file": path.relative_to(folder).as_posix(), "rows": len(rows), "counts": {}}
    return CampaignTables(folder, {"files": [entry]})


def trajectory(name, *, temperature=KELVIN, pressure=0.0, growth=0.0, frames=40, length_fs=8000.0):
    """Frames at a mean temperature and pressure; the volume grows by a share in all."""
    rng = np.random.default_rng(sum(map(ord, name)))
    found = []
    for i in range(1, frames + 1):
        edge = EDGE_A * (1 + growth * i / frames) ** (1 / 3)
        kinetic = temperature * (1 + 0.01 * rng.normal())
        virial = pressure / GPA - (ATOMS - 1) * K_B * kinetic / edge**3
        found.append(
            {
                "snapshot_id": f"{name}:{i}",
                "structure_id": name,
                "variant": "unit",
                "condition": "300K",
                "ensemble": "NpT",
                "temperature_K": KELVIN,
                "instant_temperature_K": kinetic,
                "n_atoms": ATOMS,
                "time_fs": length_fs * i / frames,
                "cell_A": (edge * np.eye(3)).ravel().tolist(),
                "mlip_stress_eV_per_A3": [-virial] * 3 + [0.0] * 3,
            }
        )
    return found


def dynamics(folder, count=6, **settings):
    rows = [row for i in range(count) for row in trajectory(f"c{i}", **settings)]
    return equilibrated(tables_of(folder, "snapshots", rows), {"barostat_tau_fs": 1000.0})


def test_dynamics_at_their_targets_are_equilibrated(tmp_path):
    found = dynamics(tmp_path)
    assert found.mark == "fine"
    assert found.sentence.startswith("Yes:")
    assert "6 trajectories of 8 ps" in found.sentence
    assert [row[0] for row in found.rows] == ["first", "second", "third", "last"]
    for _, temperature, pressure, volume in found.rows:
        assert float(temperature) == pytest.approx(1, abs=0.01)
        assert float(pressure) == pytest.approx(0, abs=0.01)
        assert float(volume) == 1


@pytest.mark.parametrize(
    ("settings", "what", "number"),
    [
        ({"temperature": 400.0}, "temperature", "+33 ± "),
        ({"pressure": 3.0}, "pressure", "+3 ± "),
        ({"growth": 0.4}, "volume", "+8"),
    ],
)
def test_what_is_off_its_target_is_named(tmp_path, settings, what, number):
    found = dynamics(tmp_path, **settings)
    assert found.mark == "look"
    assert f"Not yet ({what} outside the limits)" in found.sentence
    assert number in found.sentence


def test_dynamics_shorter_than_their_barostat_are_not_equilibrated(tmp_path):
    found = dynamics(tmp_path, length_fs=200.0)
    assert found.mark == "look"
    assert "shorter than the barostat's time constant of 1 ps" in found.sentence


def test_few_trajectories_leave_it_open(tmp_path):
    found = dynamics(tmp_path, count=2)
    assert found.mark == "not known"
    assert "±" not in found.sentence
    assert dynamics(tmp_path, frames=2).mark == "not known"


def test_a_value_is_within_its_limit_as_surely_as_its_error_tells():
    assert within(0.01, 0.02, 0.05) == "fine"
    assert within(-0.10, 0.02, 0.05) == "look"
    assert within(0.04, 0.02, 0.05) == "not known"
    assert within(0.0, None, 0.05) == "not known"


def test_the_mark_of_a_section_is_that_of_its_worst_verdict():
    fine, look, unknown = (Verdict("?", mark, ".") for mark in ("fine", "look", "not known"))
    assert worst([fine, unknown]) == "not known"
    assert worst([fine, look, unknown]) == "look"
    assert worst([]) is None


def quality(of, picks, distance):
    return {"of": of, "picks": picks} | {
        f"fill_{what}_{part}": distance for what in ("mean", "p99", "max") for part in ("structures", "atoms")
    }


def selected(threshold):
    counts = {"pool": 100, "selected": 20, "over_target": 30, "redundant": 50}
    stages = {name: {"threshold": threshold, "clusters": None} for name in ("structure", "atoms")}
    return {
        "files": [{"table": "selection", "rows": 20, "counts": counts, "file": "selection.parquet"}],
        "configuration": {"select": stages},
    }


def test_coverage_is_compared_with_thresholds_and_random_frames():
    rows = [quality("picks", 1, 9.0), quality("picks", 20, 0.1), quality("random", 20, 0.3)]
    found = covered(rows, selected(0.05))
    assert found.mark == "fine"
    assert "80 of 100 frames were not picked, 30 of them beyond the target" in found.sentence
    assert "99 % of frames are within 0.1 of a pick (two thresholds of clusters: 0.1)" in found.sentence
    assert covered(rows, selected(0.04)).mark == "look"
    beaten = covered([quality("picks", 20, 0.1), quality("random", 20, 0.05)], selected(0.5))
    assert beaten.mark == "look"
    assert "no nearer on average than random frames" in beaten.sentence
    assert covered([], selected(0.05)).mark == "not known"


def test_convergence_is_not_claimed(tmp_path):
    level = {"definition": {"settings": {"cutoff_eV": 400.0, "kpoint_spacing_per_A": 0.2}}}
    (found,) = converged(tmp_path, {"levels": ["pbe"], "surfaces": {"pbe": level}})
    assert (found.mark, found.sentence) == ("not known", "Not measured: pesatlas convergence.")
    assert ("pbe", "cutoff_eV", "400.0") in found.rows
    demo = {"levels": ["pbe"], "configuration": {"label": {"backend": {"quality": "demo"}}}}
    (told,) = converged(tmp_path, demo)
    assert told.mark == "look"


def series(results, change, fingerprint="own"):
    """A series over cut-off and k-points at pbe, whose level is this far from the densest point."""
    rows = [
        {
            "snapshot_id": "Si:1",
            "structure_id": "Si",
            "formula": "Si",
            "n_atoms": 2,
            "level": "pbe",
            "series": kind,
            "cutoff_eV": 400.0 + 100 * (i if kind == "cutoff" else 0),
            "kpoints": [2 + (i if kind == "kpoints" else 0)] * 3,
            "is_level": i == 0,
            "is_densest": i == 2,
            "level_fingerprint": fingerprint if i == 0 else f"{kind}{i}",
            "energy_change_meV_per_atom": change * (i == 0),
            "force_change_meV_per_A": 0.0,
            "stress_change_GPa": 0.0,
        }
        for kind in ("cutoff", "kpoints")
        for i in range(3)
    ]
    known = {key: [row[key] for row in rows] for key in rows[0]}
    path = below(results, "convergence", level="pbe")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(path, "convergence", fill("convergence", len(rows), known), "test")
    below(results, "convergence_figure", level="pbe").write_text("<svg/>")


def test_a_series_decides_on_convergence_unless_it_is_of_other_settings(tmp_path):
    manifest = {"levels": ["pbe", "r2scan"], "surfaces": {"pbe": {"fingerprints": ["own"]}}}
    series(tmp_path, 0.1)
    fine, other = converged(tmp_path, manifest)
    assert fine.mark == "fine"
    assert "pbe is converged to 1 meV/atom" in fine.sentence
    assert fine.picture.startswith("data:image/svg+xml;base64,")
    assert len(fine.rows) == 6
    assert other.sentence == "Not measured at r2scan: pesatlas convergence."
    series(tmp_path, 30.0)
    assert converged(tmp_path, manifest)[0].mark == "look"
    series(tmp_path, 0.1, fingerprint="of other settings")
    stale = converged(tmp_path, manifest)[0]
    assert stale.mark == "not known"
    assert "Not measured with these settings" in stale.sentence


def test_stress_is_judged_by_the_strain_tests_of_the_levels(tmp_path):
    definitions = [
        {"name": name, "code": {"dft": "1.2"}, "settings": {"cutoff_eV": 400.0}} for name in ("pbe", "r2scan")
    ]
    manifest = {
        "levels": ["pbe", "r2scan"],
        "surfaces": {each["name"]: {"fingerprints": [digest(each)]} for each in definitions},
    }
    found = strained(strain_tests(tmp_path, manifest))
    assert found.mark == "not known"
    assert found.sentence == "pbe and r2scan: not tested (pesatlas doctor --strain)."
    store(tmp_path, definitions[0])
    found = strained(strain_tests(tmp_path, manifest))
    assert found.mark == "not known"
    assert found.sentence.startswith("pbe: 0.03 GPa off at strains of 0.5 %, tested 2026-11-29 with dft 1.2")
    assert found.rows == [("pbe", "Si", "xx", "-5.000", "-5.030")]
    store(tmp_path, definitions[1])
    assert strained(strain_tests(tmp_path, manifest)).mark == "fine"
    store(tmp_path, definitions[1], off_gpa=3.0)
    found = strained(strain_tests(tmp_path, manifest))
    assert found.mark == "look"
    assert "r2scan: FAILED, 3.00 GPa off (at most 1 GPa)" in found.sentence


def softened(slopes):
    """Forces of crystals whose slopes are these."""
    squares = np.ones(len(slopes))
    return ForcesOfCrystals({str(i): 0.1 for i in range(len(slopes))}, np.array(slopes), squares)


@pytest.mark.parametrize(
    ("slopes", "mark", "words"),
    [
        ([0.98, 1.0, 1.01, 0.97, 1.0], "fine", "No:"),
        (
            [0.6, 0.7, 0.65, 0.7, 0.6],
            "look",
            "Yes, it underestimates forces: slope of its forces against pbe 0.65",
        ),
        ([1.3, 1.3, 1.3, 1.3, 1.3], "look", "No, but it overestimates forces"),
        ([0.5, 1.4, 0.7, 1.2, 1.0], "not known", "the interval is too wide"),
        ([0.5, 0.5], "not known", "too few crystals to tell (2)"),
    ],
)
def test_a_soft_potential_is_called_soft_where_enough_crystals_say_so(slopes, mark, words):
    whole = {
        "of": "all",
        "name": "",
        "rows": 9,
        "force_mae_eV_per_A": 0.1,
        "force_slope": 1.0,
        "stress_mae_GPa": 1.0,
        "energy_mae_meV_per_atom": None,
    }
    found = soft([whole], softened(slopes), ("test", "pbe"), 1)
    assert found.mark == mark
    assert words in found.sentence


@pytest.mark.parametrize(
    ("slope", "words"),
    [
        (1.5, "No, but its forces are larger than those of the labelling potential chgnet/0.2.0: slope"),
        (0.6, "Yes, its forces are smaller than those of the labelling potential chgnet/0.2.0: slope"),
    ],
)
def test_against_the_labels_of_another_potential_nothing_is_over_or_underestimated(slope, words):
    whole = {
        "of": "all",
        "name": "",
        "rows": 9,
        "force_mae_eV_per_A": 0.1,
        "force_slope": slope,
        "stress_mae_GPa": 1.0,
        "energy_mae_meV_per_atom": None,
    }
    found = soft([whole], softened([slope] * 5), ("test", "mlip"), 1, "chgnet/0.2.0")
    assert words in found.sentence


def test_crystals_at_rest_say_nothing_of_softness():
    """Seven crystals without forces and one with: one crystal, and no slope of the others' noise."""
    rows = [
        {
            "snapshot_id": f"c{i}:unit:equilibrium:0",
            "structure_id": f"c{i}",
            "domain": "bulk",
            "n_atoms": 1,
            "numbers": [14],
            "energy_eV": -1.0,
            "forces_eV_per_A": [1.0 if i == 0 else 1e-9, 0.0, 0.0],
            "stress_eV_per_A3": [0.0] * 6,
        }
        for i in range(8)
    ]
    asked = [
        row
        | {f"mlip_{name}": row[name] for name in ("energy_eV", "stress_eV_per_A3")}
        | {"mlip_forces_eV_per_A": [0.5 * force for force in row["forces_eV_per_A"]]}
        | dict.fromkeys(("potential", "potential_hash", "code_version"), "test")
        for row in rows
    ]
    labels = pa.Table.from_pylist(rows, pa.schema([SCHEMAS["dataset"].field(name) for name in LABELS]))
    parity = pa.Table.from_pylist(asked, SCHEMAS["parity"])
    found = soft(softness(parity, labels), forces_of_crystals(parity, labels), ("test", "pbe"), 1)
    assert found.mark == "not known"
    assert "slope of its forces against pbe 0.50, in 8 rows of 8 crystals, 1 with forces" in found.sentence


def test_the_interval_of_a_slope_holds_it_and_narrows_with_crystals():
    rng = np.random.default_rng(0)
    few, many = (softened(0.8 + 0.1 * rng.normal(size=n)).slope(1) for n in (10, 1000))
    for value, low, high in (few, many):
        assert low < value < high
        assert value == pytest.approx(0.8, abs=0.1)
    assert many[2] - many[1] < 0.2 * (few[2] - few[1])


def test_moments_that_differ_between_rows_of_a_crystal_are_pointed_at():
    def crystal(name, moments, gaps=(0.0, 0.0)):
        return Crystal(name, name, 1, (2, 2), levels={"pbe": AtLevel(3, 0, gaps, moments)})

    iron, oxide, salt = (
        crystal("Fe", (2.1, 2.2)),
        crystal("NiO", (0.2, 1.7), (0.0, 3.0)),
        crystal("NaCl", None, (5.0, 5.0)),
    )
    quiet = electronic([iron, salt], ["pbe"])
    assert quiet.mark == "fine"
    assert "1 of 2 crystals magnetic, 1 metallic and 1 with a gap in every row" in quiet.sentence
    found = electronic([iron, oxide, salt], ["pbe"])
    assert found.mark == "look"
    assert "NiO at pbe" in found.sentence
    assert found.rows == [("pbe", "3", "2", "2", "1", "3", "1", "1", "1")]
    assert electronic([Crystal("x", "x", 1, (1, 1))], ["pbe"]).mark == "not known"


def labelled(count, crystals, **columns):
    return [
        {
            "snapshot_id": str(i),
            "structure_id": f"c{i % crystals}",
            "verdict": "accepted",
            "ensemble": "NpT",
            "numbers": [11, 17],
            "max_force_eV_per_A": 1.0,
            "domain": ("bulk", "strained")[i % 2],
            "temperature_K": (300.0, 1000.0)[i % 2],
        }
        | columns
        for i in range(count)
    ]


def lacks(folder, rows, account=()):
    tables = tables_of(folder, "dataset", rows, "dataset/pbe/part-00000.parquet")
    return lacking(tables, {"levels": ["pbe"], "configuration": {}}, account)


def test_a_dataset_that_lacks_nothing_says_so(tmp_path):
    found = lacks(tmp_path, labelled(120, 12))
    assert (found.mark, found.sentence) == ("fine", "Nothing that was looked for.")
    assert found.rows[0][:4] == ("pbe", "120", "12", "0")


def test_what_a_dataset_lacks_is_named(tmp_path):
    found = lacks(
        tmp_path / "rest", labelled(20, 1, max_force_eV_per_A=0.0, domain="bulk", temperature_K=300.0)
    )
    assert found.mark == "look"
    for words in (
        "At pbe: only 20 rows",
        "only 1 crystal;",
        "20 of 20 rows at rest",
        "Na, Cl",
        "only domain bulk",
        "only 300 K",
    ):
        assert words in found.sentence
    flagged = lacks(tmp_path / "all", labelled(120, 12), [Account("pbe", 9, {"accepted": 2, "flagged": 7})])
    assert "Not exported: 7 flagged labels" in flagged.sentence


def test_the_time_is_that_of_all_stages():
    costs = [Cost("label", 4, 3.0, 6.0, 0.0, 10**6), Cost("explore", 1, 2.0, 2.0, 2.0, 10**6)]
    found = spent(costs, 12)
    assert found.sentence == (
        "8.0 h on all cores and 2.0 h on GPUs, of which 75 % for the stage label; a label took 30 min."
    )
    assert spent([], 0).mark == "not known"


def test_refused_crystals_are_not_called_nothing():
    empty = {"sums": [], "configuration": {}}
    found = _happened(empty, [], Counter({("structures", "-", "disordered"): 2}), [])
    assert "Refused crystals or cells: 2. Nothing else failed." in found.sentence
    assert "Nothing failed." in _happened(empty, [], Counter(), []).sentence
