"""The examples of docs/extending.md: put where the page says, found by name, and run for real."""

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
EXAMPLES = dict(
    re.findall(r"^`src/(pesatlas/\S+\.py)`:\n\n```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
)
SETTINGS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A folder with the package and the examples in it; what was compiled of the package is shared, for that takes longest."""
    folder, compiled = tmp_path_factory.mktemp("extended"), "__pycache__"
    source, copy = ROOT / "src" / "pesatlas", folder / "pesatlas"
    shutil.copytree(source, copy, copy_function=os.symlink, ignore=shutil.ignore_patterns(compiled))
    for path in {path.parent for path in source.rglob("*.py")}:
        (path / compiled).mkdir(exist_ok=True)
        (copy / path.relative_to(source) / compiled).symlink_to(path / compiled)
    for name, text in EXAMPLES.items():
        assert not (folder / name).exists(), f"{name} is no new file"
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def found(package, tmp_path_factory):
    """Tables of a campaign that uses all of them."""
    folder = tmp_path_factory.mktemp("campaign")
    changes = {}
    for block in SETTINGS:
        for section, keys in yaml.safe_load(block).items():
            changes |= {f"{section}.{key}": value for key, value in keys.items()}
    SmallCampaign(folder, changes | {"explore.length_ps": 0.04, "label.structures_per_job": 2})
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("extended_campaign.py"))],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    tables = json.loads((folder / "found.json").read_text())
    assert Path(tables["package"]).is_relative_to(package)
    return tables


def test_the_page_has_an_example_of_each_kind():
    folders = {str(Path(name).parent) for name in EXAMPLES}
    assert folders == {
        f"pesatlas/{kind}"
        for kind in ("structures/sources", "potentials/kinds", "select/policies", "label/backends", "levels")
    }


def test_examples_keep_the_rules_of_the_house(package):
    ruff = shutil.which("ruff", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if ruff is None:
        pytest.skip("ruff is not installed")
    files = [str(package / name) for name in EXAMPLES]
    for command in (["check"], ["format", "--check", "--diff"]):
        done = subprocess.run(
            [ruff, *command, "--no-cache", "--config", str(ROOT / "pyproject.toml"), *files],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


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
    # lattice sums of the face-centred cubic lattice (Kittel, chapter 3); neighbours beyond the cutoff are worth 5 %
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
