"""A campaign in allocations of a real Slurm with two nodes: its jobs are steps on both, and a further
allocation ends what one did not."""

import importlib.util
import json
import os
import re
import shutil
import signal

import pytest
import yaml

import small_slurm
from pesatlas.cli.slurm_jobs import job_prefix
from pesatlas.dataset.verify import verify
from pesatlas.monitor.controlling_process import LOCK_FILE
from slurm_campaign import SlurmCampaign, quiet_campaign
from small_campaign import ROOT, TINY

NO_SLURM = small_slurm.missing()
NO_EXECUTOR = importlib.util.find_spec("snakemake_executor_plugin_cluster_sync") is None
CHANGES = TINY | {"label.structures_per_job": 1}

pytestmark = [
    pytest.mark.skipif(bool(NO_SLURM), reason=NO_SLURM or "Slurm is here"),
    pytest.mark.skipif(NO_EXECUTOR, reason="no snakemake-executor-plugin-cluster-sync here"),
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with small_slurm.SmallSlurm(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture(scope="module")
def quiet(slurm, tmp_path_factory):
    return quiet_campaign(tmp_path_factory, "quiet_for_allocations", slurm, CHANGES)


class AllocatedCampaign(SlurmCampaign):
    """A campaign with profiles/allocation, whose own lines are set as a user sets them here."""

    def write_profile(self, **options):
        folder = self.path / "profile"
        shutil.copytree(ROOT / "profiles" / "allocation", folder, dirs_exist_ok=True)
        job, profile = folder / "job.sh", folder / "config.yaml"
        text = job.read_text()
        # three minutes: Slurm looks every half a minute, so that 90 to 120 s are left to work in
        for old, new in (("#SBATCH --account=.*\n", ""), ("--time=.*", "--time=3"), ("USR1@.*", "USR1@60")):
            text, count = re.subn(old, new, text)
            assert count == 1, old
        for name, value in options.items():
            option = f"#SBATCH --{name.replace('_', '-')}="
            text = re.sub(rf"^{option}.*\n", "", text, flags=re.MULTILINE)
            text = text.replace("#!/bin/bash\n", f"#!/bin/bash\n{option}{value}\n")
        job.write_text(text)
        profile.write_text(yaml.safe_dump(yaml.safe_load(profile.read_text()) | {"latency-wait": 5}))

    def pesatlas(self, *arguments, expect=0, within_s=60):
        """As on the login node, where `pesatlas` ends at once."""
        return super().pesatlas(*arguments, expect=expect, within_s=within_s)

    def submit(self, *arguments, expect=0):
        return self.pesatlas(*self.command(*arguments)[3:], expect=expect)

    def jobs(self, states="all"):
        """Allocations of this campaign, the newest last."""
        return [job for job in self.slurm.jobs(states) if job["name"] == job_prefix(self.path)]

    def steps(self):
        """Names and nodes of the steps that run, but for the batch script."""
        lines = self.slurm.ask("squeue", "--steps", "--noheader", "--format=%i|%j|%N").splitlines()
        return [line.split("|")[1:] for line in lines if not line.split("|")[0].endswith(("batch", "extern"))]

    def ended(self):
        states = {job["state"] for job in self.jobs()}
        return states <= {"COMPLETED", "FAILED", "TIMEOUT", "CANCELLED"}

    @property
    def output(self):
        """Output of all allocations."""
        return "".join(path.read_text() for path in sorted((self.path / "logs" / "slurm").glob("*.log")))


def test_a_campaign_runs_in_one_allocation_after_the_other_as_steps_on_both_nodes(slurm, quiet, tmp_path):
    with AllocatedCampaign(tmp_path / "campaign", slurm, CHANGES) as campaign:
        campaign.environment["VASP_DOUBLE_SECONDS"] = "45"  # longer than what one allocation has to work in
        assert "Submitted: Slurm job " in campaign.submit()
        assert "this campaign has an allocation already" in campaign.submit(expect=1)
        nodes, status = set(), []

        def look():
            nodes.update(node for _, node in campaign.steps())
            if len(nodes) == 2 and not status:
                status.append(campaign.pesatlas("status"))
            return campaign.ended()

        slurm.wait_for(look, 800)  # three minutes on a machine with nothing else to do
        assert nodes == {"cpu1", "cpu2"}, campaign.output
        assert len(campaign.jobs()) >= 2, campaign.output
        assert "A further allocation continues: Slurm job" in campaign.output
        assert "`pesatlas run` is alive on" in status[0]
        assert "no active `pesatlas run`" not in status[0]
        assert verify(campaign.path / "results") == [], campaign.output
        for level in ("pbe", "r2scan"):
            assert campaign.dataset(level) == quiet.dataset(level)


def test_two_allocations_that_finish_nothing_are_followed_by_none(slurm, quiet, tmp_path):
    with AllocatedCampaign(tmp_path / "campaign", slurm, CHANGES) as campaign:
        campaign.take_selection(quiet)
        campaign.environment["VASP_DOUBLE_SECONDS"] = "1000"
        campaign.submit("results/labels/00000.parquet")
        log = campaign.path / "logs" / "label_batch" / "00000.log"
        first = None
        for said in ("A further allocation continues", "2 allocations in a row finished nothing"):
            slurm.wait_for(
                lambda first=first: {job["number"] for job in campaign.jobs("RUNNING")} - {first}, 60
            )
            number = campaign.jobs("RUNNING")[-1]["number"]
            log.unlink(missing_ok=True)
            slurm.wait_for(log.exists, 120)
            slurm.ask(
                "scancel", "--batch", "--signal=USR1", number
            )  # as Slurm does, some time before the end
            slurm.wait_for(lambda said=said: said in " ".join(campaign.output.split()), 60)
            slurm.ask("scancel", "--signal=TERM", number)
            first = number
        slurm.wait_for(campaign.ended, 120)
        assert len(campaign.jobs()) == 2, campaign.output
        assert "stopping (" in log.read_text()


def test_an_allocation_with_a_killed_controller_is_followed_by_another_and_a_cancelled_one_by_none(
    slurm, quiet, tmp_path
):
    with AllocatedCampaign(tmp_path / "campaign", slurm, CHANGES) as campaign:
        campaign.take_selection(quiet)
        campaign.environment["VASP_DOUBLE_SECONDS"] = "1000"
        campaign.submit("results/labels/00000.parquet")
        slurm.wait_for(campaign.steps, 120)
        os.kill(json.loads((campaign.path / LOCK_FILE).read_text())["pid"], signal.SIGKILL)
        slurm.wait_for(lambda: len(campaign.jobs()) == 2, 60)
        second = campaign.jobs()[1]["number"]
        slurm.wait_for(lambda: second in {job["number"] for job in campaign.jobs("RUNNING")}, 60)
        slurm.wait_for(campaign.steps, 120)
        slurm.ask("scancel", second)
        slurm.wait_for(campaign.ended, 120)
        assert [job["state"] for job in campaign.jobs()] == ["FAILED", "CANCELLED"], campaign.output


@pytest.mark.first
def test_a_job_that_needs_a_gpu_is_a_step_with_one_on_the_node_that_has_them(slurm, quiet, tmp_path):
    with AllocatedCampaign(tmp_path / "campaign", slurm, CHANGES) as campaign:
        campaign.take_selection(quiet)
        shutil.rmtree(campaign.path / "results" / "snapshots")
        campaign.change({"explore.device": "cuda"})
        campaign.write_profile(partition="gpu", nodes=1, gpus_per_node=4)
        campaign.submit("results/snapshots/00000.parquet")
        slurm.wait_for(lambda: ["run_md", "gpu1"] in campaign.steps(), 120)
        steps = slurm.ask("scontrol", "show", "step").split("StepId=")
        (step,) = [step for step in steps if "Name=run_md" in step]
        assert re.search("gpu[:=]1\\b", step), step
        slurm.ask("scancel", campaign.jobs()[0]["number"])  # it would fail: there is no GPU
        slurm.wait_for(campaign.ended, 120)


def test_an_allocation_that_slurm_does_not_take_is_told_of_with_its_reason(slurm, tmp_path):
    with AllocatedCampaign(tmp_path / "campaign", slurm, CHANGES) as campaign:
        campaign.write_profile(partition="nowhere")
        said = campaign.submit(expect=1)
        assert "Slurm does not accept profile/job.sh: " in said
        assert "Invalid partition name specified" in said
        assert campaign.jobs() == []
