"""The controlling process on a real Slurm: asleep while Slurm forgets its jobs, refused, stopped, taken over."""

import os
import signal
import subprocess
import sys

import pytest

import small_slurm
from slurm_campaign import SlurmCampaign

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(small_slurm.missing()), reason=small_slurm.missing() or "Slurm is here"),
]

# One job for each letter; it ends when the test lets it, or at once.
RULES = """
LETTERS = config.get("letters", "ab")
rule all:
    input: expand("results/{n}.txt", n=list(LETTERS))
rule make:
    output: "results/{n}.txt"
    log: "logs/make/{n}.log"
    resources: mem_mb=lambda wildcards, attempt: 500 * 2 ** (attempt - 1), runtime=10
    shell: "echo x >> begun.{wildcards.n}; while [ ! -e go.{wildcards.n} -a ! -e go ]; do sleep 0.2; done; echo made > {output}"
"""


class Campaign(SlurmCampaign):
    """A folder with the profile for Slurm and a workflow of a few jobs that wait to be let go."""

    def __init__(self, path, slurm, letters="ab", **profile):
        super().__init__(path, slurm, {}, patience_s=150)
        (path / "Snakefile").write_text(RULES)
        self.letters = letters
        self.write_profile(**profile)

    def command(self, *arguments):
        run = [sys.executable, "-m", "pesatlas.cli.main", "run", "--profile", "profile", "--config"]
        return [*run, f"letters={self.letters}", *arguments]

    def pesatlas(self, *arguments, expect=0):
        done = subprocess.run(
            [sys.executable, "-m", "pesatlas.cli.main", *arguments],
            cwd=self.path,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == expect, done.stdout + done.stderr
        return " ".join((done.stdout + done.stderr).split())

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

    def running(self):
        return [job for job in self.jobs(states="RUNNING")]

    def begin(self, *arguments):
        """Start a run; return when all its jobs run."""
        head = self.start(*arguments)
        self.slurm.wait_for(
            lambda: all(self.begun(letter) for letter in self.letters) or head.poll() is not None, 60
        )
        assert head.poll() is None, self.output
        return head


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with small_slurm.SmallSlurm(tmp_path_factory.mktemp("slurm"), min_job_age_s=10) as running:
        yield running


def test_jobs_that_slurm_has_forgotten_are_done_if_their_results_are_there_and_else_submitted_again(
    slurm, tmp_path
):
    with Campaign(tmp_path / "campaign", slurm, "ab") as campaign:
        head = campaign.begin()
        os.killpg(head.pid, signal.SIGSTOP)
        numbers = {job["comment"][-1]: job["number"] for job in campaign.jobs()}
        slurm.ask("scancel", numbers["b"])
        campaign.go("a")
        slurm.wait_for(lambda: not campaign.jobs(), 140)  # MinJobAge and a minute
        assert campaign.made == "a"
        campaign.go()
        os.killpg(head.pid, signal.SIGCONT)
        campaign.finish(head)
        assert (
            f"Slurm has forgotten job {numbers['a']} (make a), and its results are there: it is done."
            in campaign.said
        )
        assert (
            f"Slurm has forgotten job {numbers['b']} (make b), and its results are not there: it is submitted again."
            in campaign.said
        )
        assert (campaign.made, campaign.begun("a"), campaign.begun("b")) == ("ab", 1, 2)
