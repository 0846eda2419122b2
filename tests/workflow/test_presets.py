"""The ready campaigns that need neither key nor licence: each is planned as it stands."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["hydrides", "monolayers", "battery"])
def test_a_ready_campaign_is_planned(name, tmp_path):
    shutil.copy(ROOT / "config" / f"{name}.yaml", tmp_path / "config.yaml")
    for part in ("Snakefile", "workflow", "scripts", "profiles"):
        (tmp_path / part).symlink_to(ROOT / part)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["snakemake", "-n"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "prepare_structures" in done.stdout + done.stderr
