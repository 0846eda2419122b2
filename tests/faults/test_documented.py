"""Commands of docs/clusters.md, docs/vasp.md and docs/reliability.md, in a folder like a checkout, on a
real Slurm.

Blocks marked ``bash`` are run by tests/workflow/test_docs.py. Here: those marked ``sh`` (in one shell, for
they need a cluster and follow from each other) and benchmarks (with fewer labels). YAML:
tests/docs/test_configurations.py.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import small_slurm
import synthetic_potcars
from slurm_campaign import ELEMENTS, SlurmCampaign
from small_campaign import ROOT, TINY, SmallCampaign

PAGES = [ROOT / "docs" / f"{name}.md" for name in ("vasp", "clusters", "reliability")]
# What a test cannot do: it has no terminal, is no checkout, and .ci/run makes the environment.
BY_HAND = (
    "git clone … pesatlas",
    "make .venv/.ready",
    "source .venv/bin/activate",
    "tmux new -s pesatlas",
    # tests/faults/test_allocation.py runs it, with the nodes and the time of the lab
    "pesatlas run --profile profiles/allocation",
)
SMALLER = {
    "python benchmarks/label_overhead.py": ["--snapshots", "1", "--atoms", "8"],
    "python benchmarks/kills.py --kills 10": ["--kills", "1", "--config", "config.yaml"],
    # tests/faults/test_kills.py has all points
    "python benchmarks/kills.py --points": ["--points", "--only", "import: table renamed"],
    "python benchmarks/faults.py --labels 200": ["--labels", "6", "--only", "cancel"],
}
# What they try is no DFT: labels of the potential that explores take no time.
CHEAP = TINY | {
    "select.target": 2,
    "label.levels": ["mlip"],
    "label.backend": {"kind": "mlip", "potential": {"kind": "chgnet", "version": "0.3.0"}},
}
# What a person changes in files that a command wrote: in the test, the tiny campaign, and no waiting between
# questions.
CHANGED = {
    "pesatlas config new > config.yaml": "cp ~/tiny.yaml config.yaml",
    "pesatlas cluster": "sed -i -e 's/60.1m/20\\/1s/' -e 's/checks: 20/checks: "
    "2\\nseconds-between-status-checks: 1/' "
    "-e 's/latency-wait: 90/latency-wait: 5/' profiles/slurm/config.yaml",
}
NO_SLURM = small_slurm.missing()


def blocks(kind):
    """The contents of all blocks of a kind, in the order of the pages."""
    pattern = rf"^ *```{kind}\n(.*?)^ *```$"
    return [
        block for page in PAGES for block in re.findall(pattern, page.read_text(), re.DOTALL | re.MULTILINE)
    ]


def lines(kind):
    return [line.strip() for block in blocks(kind) for line in block.splitlines() if line.strip()]


def run(command, folder, environment, timeout=600):
    done = subprocess.run(
        command, cwd=folder, env=environment, check=False, capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_line_that_is_not_run_here_is_known():
    # a block without a kind opens after an empty line
    plain = re.compile(r"\n\n *```\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
    found = [
        line.strip()
        for page in PAGES
        for block in plain.findall(page.read_text())
        for line in block.splitlines()
    ]
    assert [line for line in found if not line.startswith(BY_HAND) and line not in SMALLER] == []
    assert set(SMALLER) <= set(found)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with small_slurm.SmallSlurm(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.mark.timeout(1800)  # a campaign, job after job through the queue
@pytest.mark.skipif(bool(NO_SLURM), reason=NO_SLURM or "Slurm is here")
def test_the_commands_for_a_cluster_work_one_after_the_other(slurm, tmp_path):
    with SlurmCampaign(tmp_path / "checkout", slurm, TINY) as campaign:
        folder = campaign.path
        (folder / "config.yaml").rename(tmp_path / "tiny.yaml")
        shutil.rmtree(folder / "profile")
        # VASP's data set, unpacked
        shutil.move(synthetic_potcars.make(folder, ELEMENTS) / "POT_PAW_PBE_64", folder / "potpaw_PBE.64")
        commands = lines("sh")
        assert set(CHANGED) <= set(commands)
        script = "set -ex\n" + "\n".join(f"{line}\n{CHANGED.get(line, '')}" for line in commands)
        path = f"{Path(sys.executable).parent}{os.pathsep}{campaign.environment['PATH']}"
        environment = {**campaign.environment, "HOME": str(tmp_path), "PATH": path}
        del environment["PMG_VASP_PSP_DIR"]
        said = run(["bash", "-c", script], folder, environment, timeout=1700)
        assert said.count("All requirements are met") == 2  # of the doctor, and of the jobs that were tried
        assert "vasp, pbe: " in said
        folder = campaign.path = folder / "my-campaign"
        assert (folder / "profiles" / "slurm" / "config.yaml").is_file()
        assert [len(campaign.dataset(level)) for level in ("pbe", "r2scan")] == [4, 4]
        verifying = said.split()[-1]
        slurm.wait_for(lambda: slurm.jobs("COMPLETED,FAILED")[-1]["number"] == verifying, 120)
        assert slurm.jobs()[-1]["state"] == "COMPLETED", (folder / f"slurm-{verifying}.out").read_text()


@pytest.mark.parametrize("command", SMALLER)
def test_a_documented_benchmark_runs(command, tmp_path):
    if NO_SLURM and "faults.py" in command:
        pytest.skip(NO_SLURM)
    SmallCampaign(tmp_path, CHEAP)
    script = ROOT / command.split()[1]
    run([sys.executable, str(script), *SMALLER[command]], tmp_path, os.environ, timeout=900)
