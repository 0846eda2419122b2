"""A campaign in allocations of a real Slurm with two nodes: its jobs are steps on both, and a further allocation ends what one did not."""

import importlib.util
import re
import shutil
import subprocess
import sys

import pytest
import yaml

import small_slurm
from made_once import made_once
from pesatlas.dataset.verify import verify
from slurm_campaign import SlurmCampaign
from small_campaign import ROOT, TINY

NO_SLURM = small_slurm.missing()
NO_EXECUTOR = importlib.util.find_spec("snakemake_executor_plugin_cluster_sync") is None
CHANGES = TINY | {"label.structures_per_job": 1}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(NO_SLURM), reason=NO_SLURM or "Slurm is here"),
    pytest.mark.skipif(NO_EXECUTOR, reason="no snakemake-executor-plugin-cluster-sync here"),
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with small_slurm.SmallSlurm(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture(scope="module")
def quiet(slurm, tmp_path_factory):
    """A finished campaign that ran on this machine without Slurm, only to be read."""
    with made_once(tmp_path_factory, "quiet_for_allocations") as (place, is_made):
        campaign = SlurmCampaign(place / "campaign", slurm, CHANGES)
        with campaign:
            if not is_made:
                campaign.run("--executor", "local", "--cores", "4")
    return campaign


class AllocatedCampaign(SlurmCampaign):
    """A campaign with profiles/allocation, its own lines set as a user sets them here."""

    def write_profile(self, *, nodes=2, minutes=2, warning_s=60, **settings):
        folder = self.path / "profile"
        shutil.copytree(ROOT / "profiles" / "allocation", folder, dirs_exist_ok=True)
        job = (folder / "job.sh").read_text()
        for old, new in (
            (r"--account=.*\n", ""),
            (r"--nodes=.*", f"--nodes={nodes}"),
            (r"--time=.*", f"--time={minutes}"),
            (r"USR1@.*", f"USR1@{warning_s}"),
        ):
            job, count = re.subn(rf"#SBATCH {old}" if "USR1" not in old else old, new if new == "" or "USR1" in new else f"#SBATCH {new}", job)
            assert count == 1, old
        (folder / "job.sh").write_text(job)
        profile = yaml.safe_load((folder / "config.yaml").read_text())
        (folder / "config.yaml").write_text(yaml.safe_dump(profile | {"latency-wait": 5, **settings}))

    def pesatlas(self, *arguments, expect=0):
        done = subprocess.run(
            [sys.executable, "-m", "pesatlas.cli.main", *arguments],
            cwd=self.path,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == expect, done.stdout + done.stderr
        return " ".join((done.stdout + done.stderr).split())

    def submit(self, *arguments):
        return self.pesatlas(*self.command(*arguments)[3:])

    def allocations(self):
        return self.slurm.jobs()

    def ended(self):
        over = {"COMPLETED", "FAILED", "TIMEOUT", "CANCELLED"}
        return {job["state"] for job in self.allocations()} <= over

    @property
    def output(self):
        return "".join(path.read_text() for path in sorted((self.path / "logs" / "slurm").glob("*.log")))


def test_a_campaign_runs_in_one_allocation_after_the_other_as_steps_on_both_nodes(slurm, quiet, tmp_path):
    with AllocatedCampaign(tmp_path / "campaign", slurm, CHANGES) as campaign:
        campaign.environment["VASP_DOUBLE_SECONDS"] = "15"
        said = campaign.submit()
        assert "Submitted: Slurm job 1." in said
        assert "is there already: Slurm job 1" in campaign.pesatlas(*campaign.command()[3:], expect=1)
        nodes, status = set(), ""

        def both():
            nonlocal status
            steps = slurm.ask("squeue", "--steps", "--noheader", "--format=%i|%j|%N").splitlines()
            nodes.update(step.split("|")[2] for step in steps if "batch" not in step.split("|")[0])
            if len(nodes) == 2 and not status:
                status = campaign.pesatlas("status")
            return campaign.ended()

        slurm.wait_for(both, 400)
        jobs = campaign.allocations()
        print("OUTPUT", campaign.output, jobs)
        assert nodes == {"cpu1", "cpu2"}
        assert 2 <= len(jobs) <= 6
        assert "A further allocation carries on: Slurm job 2" in campaign.output
        assert "`pesatlas run` lives on" in status
        assert "no `pesatlas run` that looks after" not in status
        assert verify(campaign.path / "results") == []
        for level in ("pbe", "r2scan"):
            assert campaign.dataset(level) == quiet.dataset(level)
