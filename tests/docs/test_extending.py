"""The package of docs/extending.md: built from the page, installed, found by name, and run for real."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from small_campaign import ROOT, SmallCampaign

PAGE = (ROOT / "docs" / "extending.md").read_text()
FILES = dict(
    re.findall(r"^`(\S+\.(?:py|toml))`:\n\n```(?:python|toml)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
)
SETTINGS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
OURS = ("source rare_gas", "potential lennard_jones", "policy outermost", "backend gpaw_gamma")


def run(command, folder, path, timeout=300):
    """Run a program with what is installed in ``path`` beside pesatlas; its output, when it succeeds."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(path)]), "COLUMNS": "300"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """The package as its author has it."""
    folder = tmp_path_factory.mktemp("pesatlas-rare-gases")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def installed(checkout, tmp_path_factory):
    """A folder that its wheel is installed into."""
    folder = tmp_path_factory.mktemp("installed")
    pip = ["-m", "pip", "--disable-pip-version-check", "--no-input", "--no-cache-dir"]
    offline = ["--no-deps", "--no-index"]
    run([*pip, "wheel", *offline, "--no-build-isolation", "-w", str(folder / "wheels"), "."], checkout, "")
    (wheel,) = (folder / "wheels").glob("*.whl")
    assert wheel.name == "pesatlas_rare_gases-0.1.0-py3-none-any.whl"
    run([*pip, "install", *offline, "--target", str(folder / "site"), str(wheel)], checkout, "")
    return folder / "site"


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    """A folder with a campaign that uses all of it."""
    folder = tmp_path_factory.mktemp("campaign")
    changes = {}
    for block in SETTINGS:
        for section, keys in yaml.safe_load(block).items():
            changes |= {f"{section}.{key}": value for key, value in keys.items()}
    SmallCampaign(folder, changes | {"explore.length_ps": 0.04, "label.structures_per_job": 2})
    return folder


@pytest.fixture(scope="module")
def found(campaign, installed):
    """Tables of that campaign."""
    run([str(Path(__file__).with_name("extended_campaign.py"))], campaign, installed)
    return json.loads((campaign / "found.json").read_text())


def test_the_page_has_a_whole_package():
    assert set(FILES) == {
        "pyproject.toml",
        "tests/test_rare_gases.py",
        *(
            f"src/pesatlas_rare_gases/{name}.py"
            for name in ("crystals", "lennard_jones", "outermost", "levels", "gpaw_gamma")
        ),
    }


def test_the_page_names_every_kind_with_its_entry_points_and_its_tests():
    from pesatlas import testing
    from pesatlas.config.plugins import GROUPS

    rows = dict(re.findall(r"^\| .* \| `(pesatlas\.\w+)` \| .* \| `(\w+)` \|$", PAGE, re.MULTILINE))
    assert {group.name for group in GROUPS.values()} == set(rows)
    for group, name in rows.items():
        assert GROUPS[getattr(testing, name).package].name == group


def test_examples_keep_the_rules_of_the_house(checkout):
    ruff = shutil.which("ruff", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if ruff is None:
        pytest.skip("ruff is not installed")
    modules = [str(checkout / name) for name in FILES if name.startswith("src/")]
    modules_and_tests = [str(checkout / name) for name in FILES if name.endswith(".py")]
    first = 'lint.isort.known-first-party = ["pesatlas", "pesatlas_rare_gases"]'
    config = ["--no-cache", "--config", str(ROOT / "pyproject.toml"), "--config", first]
    for command in (
        ["check", *config, "--ignore", "INP001", *modules],
        ["format", "--check", "--diff", *config, *modules_and_tests],
    ):
        done = subprocess.run([ruff, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_program_names_the_package_and_checks_a_configuration_with_it(campaign, installed):
    program = ["-m", "pesatlas.cli.main"]
    said = run([*program, "--version"], campaign, installed)
    for name in OURS:
        assert f"with {name} (pesatlas-rare-gases 0.1.0)" in said
    assert "is a valid campaign" in run([*program, "config", "check"], campaign, installed)
    schema = json.loads(run([*program, "config", "schema"], campaign, installed))
    kinds = schema["$defs"]["Structures"]["properties"]["sources"]["items"]["oneOf"]
    assert kinds[-1]["properties"]["elements"]["items"]["enum"] == ["Ne", "Ar", "Kr", "Xe"]


def test_doctor_names_the_package_that_a_campaign_uses(campaign, installed):
    ask = """
from itertools import islice
from pathlib import Path

from pesatlas.monitor.doctor import doctor

for check in islice(doctor(Path("config.yaml"), Path("profiles/local"), Path("Snakefile")), 7):
    print(check.ok, check.text)
"""
    said = run(["-c", ask], campaign, installed)
    for name in OURS:
        assert f"True {name} (pesatlas-rare-gases 0.1.0)" in said


def test_the_package_passes_its_own_tests(checkout, installed):
    # an isolated atom is calculated by the campaign below, too
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not isolated_atom", "tests"]
    said = run(command, checkout, installed, timeout=840)
    assert re.search(r"^\d\d passed", said, re.MULTILINE), said


def test_the_source_gives_a_crystal_and_displaced_copies_of_it(found):
    cells = {row["structure_id"]: np.reshape(row["positions_A"], (-1, 3)) for row in found["structures"]}
    assert list(cells) == ["rare-gas-Ar-0", "rare-gas-Ar-1", "rare-gas-Ar-2"]
    perfect, *displaced = cells.values()
    for positions in displaced:
        assert 0.03 < np.abs(positions - perfect).max() < 0.5
    assert not np.array_equal(*displaced)


def test_the_potential_drives_dynamics_and_knows_solid_argon(found):
    frames = found["snapshots"]
    assert {row["potential"] for row in frames} == {"lennard_jones/kittel"}
    assert any(row["step"] > 0 for row in frames)
    crystal = next(row for row in frames if row["snapshot_id"].startswith("rare-gas-Ar-0:unit:equilibrium"))
    # lattice sums of the face-centred cubic lattice (Kittel, chapter 3); neighbours beyond the cutoff are
    # worth 5 %
    sixth = (3.40 / (5.31 / 2**0.5)) ** 6
    energy = 2 * 0.0104 * (12.13188 * sixth**2 - 14.45392 * sixth)
    assert crystal["mlip_energy_eV"] / 4 == pytest.approx(energy, rel=0.07)
    assert crystal["mlip_max_force_eV_per_A"] < 1e-9


def test_the_policy_picks_the_frame_farthest_from_the_centre_of_its_cluster(found):
    assert {row["policy"] for row in found["selection"]} == {"outermost"}
    farthest = {}
    for row in found["clusters"]:
        cluster = row["structure_cluster"]
        farthest[cluster] = max(farthest.get(cluster, 0.0), row["centre_distance"])
    distances = {row["snapshot_id"]: row["centre_distance"] for row in found["clusters"]}
    first = found["selection"][0]
    assert distances[first["snapshot_id"]] == farthest[first["structure_cluster"]] > 0


def test_the_backend_gives_labels_at_its_level(found):
    assert found["failures"] == []
    labels = found["labels"]
    assert [row["snapshot_id"] for row in labels] == [row["snapshot_id"] for row in found["selection"]]
    assert {(row["level"], row["verdict"]) for row in labels} == {("pbe", "accepted")}
    for row in labels:
        assert "gpaw" in row["code"]
        assert json.loads(row["settings"])["kpoints"] == [1, 1, 1]
        forces = np.reshape(row["forces_eV_per_A"], (-1, 3))
        assert np.abs(forces.sum(axis=0)).max() < 0.2 * np.abs(forces).max()
