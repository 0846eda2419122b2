"""The controlling process on a real Slurm: asleep while Slurm forgets its jobs, refused, stopped, taken
over."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

import small_slurm
from pesatlas.cli.refusals import REFUSALS
from slurm_campaign import SlurmCampaign

pytestmark = [
    pytest.mark.skipif(bool(small_slurm.missing()), reason=small_slurm.missing() or "Slurm is here"),
]

# One job for each letter, which fills a node; it ends when the test lets it.
RULES = """
LETTERS = config.get("letters", "ab")
rule all:
    input: expand("results/{n}.txt", n=list(LETTERS))
rule make:
    output: "results/{n}.txt"
    log: "logs/make/{n}.log"
    threads: 4
    resources:
        # no node has as much as m asks for, and no cluster the partition of p
        mem_mb=lambda wildcards, attempt: (90_000_000 if wildcards.n == "m" else 500) * attempt,
        slurm_partition=lambda wildcards: "nowhere" if wildcards.n == "p" else "cpu",
        runtime=10,
    shell: "echo x >> begun.{wildcards.n}; while [ ! -e go.{wildcards.n} -a ! -e go ]; do sleep 0.2; done; echo made > {output}"
"""


class Campaign(SlurmCampaign):
    """A folder with the profile for Slurm and a workflow of a few jobs that wait to be let go."""

    def __init__(self, path, slurm, letters="ab", **profile):
        super().__init__(path, slurm, {}, patience_s=150)
        (path / "Snakefile").write_text(RULES)
        self.letters = letters
        self.write_profile(**profile)

    def __exit__(self, *_):
        """Leave no jobs to the next test either."""
        super().__exit__()
        for job in self.jobs(states="PENDING,RUNNING"):
            self.slurm.ask("scancel", job["number"])

    def command(self, *arguments):
        run = [sys.executable, "-m", "pesatlas.cli.main", "run", "--profile", "profile", "--config"]
        return [*run, f"letters={self.letters}", *arguments]

    def go(self, letter=""):
        (self.path / f"go{f'.{letter}' if letter else ''}").touch()

    @property
    def made(self):
        return "".join(sorted(path.stem for path in (self.path / "results").glob("?.txt")))

    def begun(self, letter):
        """How often the job of a letter began."""
        path = self.path / f"begun.{letter}"
        return len(path.read_text().split()) if path.exists() else 0

    @property
    def said(self):
        return " ".join(self.output.split())

    def begin(self, *arguments):
        """Start a run; return when all its jobs run."""
        controller = self.start(*arguments)
        self.slurm.wait_for(
            lambda: all(self.begun(letter) for letter in self.letters) or controller.poll() is not None, 60
        )
        assert controller.poll() is None, self.output
        return controller


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with small_slurm.SmallSlurm(tmp_path_factory.mktemp("slurm")) as running:
        yield running


def test_jobs_that_slurm_has_forgotten_are_done_if_their_results_are_there_and_else_submitted_again(
    tmp_path,
):
    with (
        small_slurm.SmallSlurm(tmp_path / "slurm", min_job_age_s=10) as slurm,
        Campaign(tmp_path / "campaign", slurm, "ab") as campaign,
    ):
        controller = campaign.begin()
        os.killpg(controller.pid, signal.SIGSTOP)
        numbers = {job["comment"][-1]: job["number"] for job in campaign.jobs()}
        slurm.ask("scancel", numbers["b"])
        campaign.go("a")
        slurm.wait_for(lambda: not campaign.jobs(), 140)  # MinJobAge and a minute
        assert campaign.made == "a"
        campaign.go()
        os.killpg(controller.pid, signal.SIGCONT)
        campaign.finish(controller)
        assert (
            f"Slurm has forgotten job {numbers['a']} (make a), and its results exist: it is done."
            in campaign.said
        )
        assert (
            f"Slurm has forgotten job {numbers['b']} (make b), and its results do not exist: it is "
            "submitted again." in campaign.said
        )
        assert (campaign.made, campaign.begun("a"), campaign.begun("b")) == ("ab", 1, 2)


def test_stop_lets_running_jobs_end_and_cancels_those_that_wait(slurm, tmp_path):
    with Campaign(tmp_path / "campaign", slurm, "abc") as campaign:
        controller = campaign.start()
        slurm.wait_for(
            lambda: sorted(job["state"] for job in campaign.jobs()) == ["PENDING", "RUNNING", "RUNNING"], 60
        )
        asked = subprocess.Popen(
            [sys.executable, "-m", "pesatlas.cli.main", "stop"],
            cwd=campaign.path,
            env=campaign.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        slurm.wait_for(lambda: len(campaign.jobs(states="PENDING,RUNNING")) == 2, 60)
        time.sleep(3)
        campaign.go()
        said = " ".join(asked.communicate(timeout=60)[0].split())
        campaign.finish(controller, expect=1)
        assert "It waits for 2 Slurm jobs: make" in said
        assert "The run has ended" in said
        assert "1 Slurm jobs cancelled (make" in campaign.said
        assert "Stopped by `pesatlas stop`" in campaign.said
        assert "nothing needs to be repaired. Running jobs finished" in campaign.said
        assert len(campaign.made) == 2
        assert "CANCELLED" in {job["state"] for job in campaign.jobs()}


@pytest.mark.first
def test_stop_now_leaves_no_job_and_take_over_lets_those_that_run_go_on(slurm, tmp_path):
    with Campaign(tmp_path / "campaign", slurm, "ab") as campaign:
        controller = campaign.begin()
        assert "The run has ended" in campaign.pesatlas("stop", "--now")
        campaign.finish(controller, expect=1)
        assert "Running jobs were cancelled" in campaign.said
        slurm.wait_for(lambda: not campaign.jobs(states="PENDING,RUNNING,COMPLETING"), 30)
        assert campaign.made == ""
        # a job that a killed run left: none looks after it
        (campaign.path / "begun.a").unlink()
        controller = campaign.begin()
        campaign.kill(controller)
        assert "2 Slurm jobs that it submitted continue (make" in campaign.pesatlas("stop")
        assert "2 Slurm jobs cancelled (make" in campaign.pesatlas("stop", "--now")
        slurm.wait_for(lambda: not campaign.jobs(states="PENDING,RUNNING,COMPLETING"), 30)
        # one takes over from another
        for letter in "ab":
            (campaign.path / f"begun.{letter}").unlink()
        first = campaign.begin()
        running = [job["number"] for job in campaign.jobs(states="RUNNING")]
        second = campaign.start("--take-over")
        assert first.wait(60) != 0
        slurm.wait_for(lambda: "2 Slurm jobs of the earlier run are running" in campaign.said, 60)
        campaign.go()
        campaign.finish(second)
        assert campaign.made == "ab"
        states = {job["number"]: job["state"] for job in campaign.jobs()}
        assert {states[number] for number in running} == {"COMPLETED"}


def watch_sbatch(campaign):
    """Let the real sbatch be called by way of a script that notes its arguments; return a function that
    reads them."""
    spy = campaign.path / "bin" / "sbatch"
    spy.parent.mkdir()
    real = shutil.which("sbatch", path=campaign.environment["PATH"])
    spy.write_text(f'#!/bin/sh\necho "$@" | head -1 >> "{campaign.path}/asked"\nexec {real} "$@"\n')
    spy.chmod(0o755)
    campaign.environment["PATH"] = f"{spy.parent}:{campaign.environment['PATH']}"
    return lambda: re.findall(r"--mem (\d+)", (campaign.path / "asked").read_text())


def test_a_refusal_is_shown_in_the_words_of_sbatch_and_tried_again_with_the_same_request(slurm, tmp_path):
    with Campaign(tmp_path / "campaign", slurm, "mp") as campaign:
        asked = watch_sbatch(campaign)
        campaign.run(expect=1)
        noted = [json.loads(line) for line in (campaign.path / REFUSALS).read_text().splitlines()]
        assert sorted(asked()) == ["500"] * 4 + ["90000000"] * 4
        end = campaign.said.partition("The campaign stopped before its end.")[2]
        for job, remedy in (
            ("make m", "Lower mem_mb or the cores of that rule"),
            ("make p", "Set slurm_partition in the profile"),
        ):
            said = next(each["said"] for each in noted if each["job"] == job)
            assert "Batch job submission failed" in said
            assert [each["again_s"] for each in noted if each["job"] == job] == [1.0, 4.0, 8.0, None]
            assert f"Slurm refused {job}: {said}. The same request is made again in 4 s." in campaign.said
            assert f"Slurm refused {job}: {said}. {remedy}" in end
        assert end.endswith("After this repair, the same command continues.")
        assert "The lines above state why" not in end


def test_stop_does_not_wait_for_the_next_try_of_a_refused_job(slurm, tmp_path):
    with Campaign(tmp_path / "campaign", slurm, "p") as campaign:
        campaign.environment["PYTHONPATH"] = os.environ.get("PYTHONPATH", "")  # the waits that users have
        controller = campaign.start()
        slurm.wait_for(lambda: "The same request is made again in 60 s." in campaign.said, 120)
        began = time.monotonic()
        campaign.pesatlas("stop")
        campaign.finish(controller, expect=1)
        assert time.monotonic() - began < 45
        assert "nothing needs to be repaired" in campaign.said


NO_ACCOUNTS = small_slurm.missing(accounting=True)


@pytest.mark.skipif(bool(NO_ACCOUNTS), reason=NO_ACCOUNTS or "it is here")
def test_a_refused_account_is_named_and_the_run_goes_on_when_it_is_there(tmp_path):
    with (
        small_slurm.SmallSlurm(tmp_path / "slurm", accounting=True) as slurm,
        Campaign(tmp_path / "campaign", slurm, "a", account="nobody") as campaign,
    ):
        campaign.go()
        campaign.run(expect=1)
        assert "Slurm refused make a: The given account nobody appears to be invalid" in campaign.said
        assert "Set slurm_account in the profile" in campaign.said
        asked = watch_sbatch(campaign)
        controller = campaign.start()
        slurm.wait_for(lambda: "The same request is made again in 4 s." in campaign.said, 60)
        for what in (["account", "nobody"], ["user", "root", "Account=nobody"]):
            slurm.ask("sacctmgr", "-i", "add", *what)
        campaign.finish(controller)
        assert (campaign.made, asked()) == ("a", ["500"])
