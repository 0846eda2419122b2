"""A campaign on a small Slurm, as a user runs it: profiles/slurm with its own lines set, chgnet dynamics,
the double of VASP."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pyarrow.parquet as pq
import yaml

import synthetic_potcars
from made_once import made_once
from pesatlas.cli.slurm_jobs import job_prefix
from small_campaign import ROOT, SmallCampaign

DOUBLE = {
    "kind": "vasp",
    "command": f"{sys.executable} {ROOT / 'tests' / 'vasp_double.py'}",
    "vasp_version": "6.4.3",
    "allow_unknown_potcars": True,
}
_LABELLED = (
    "labels",
    "failures/label",
    "failures/atoms.parquet",
    "failures/dataset.parquet",
    "dataset",
    "manifest.json",
    "report",
    "report.html",
)
ELEMENTS = ("Al", "As", "Cl", "F", "Ga", "Li", "Mg", "Na", "O", "P", "Si")


class SlurmCampaign(SmallCampaign):
    """A working folder with a configuration and a profile.

    Parameters
    ----------
    path : the folder, which is made
    slurm : a running SmallSlurm
    changes : values of the demo's configuration by dotted key
    patience_s : how long a run may take; less than pytest gives a test
    """

    def __init__(self, path, slurm, changes, patience_s=800):
        super().__init__(path, {"label.backend": DOUBLE, **changes})
        self.slurm, self.patience_s, self._head = slurm, patience_s, None
        self.write_profile()
        psp = synthetic_potcars.make(path.parent / "potcars", ELEMENTS)
        path = [str(ROOT / "tests" / "impatient"), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.environment = {
            **slurm.environment,
            "PMG_VASP_PSP_DIR": str(psp),
            "VASP_DOUBLE_SECONDS": "0",
            "PYTHONPATH": os.pathsep.join(path),
        }

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Leave no controller behind when a test fails."""
        if self._head and self._head.poll() is None:
            self.kill(self._head)

    def take_selection(self, other):
        """Start from the selection of a finished campaign, with nothing labelled."""
        for kept in ("results", "store/trajectories", ".snakemake/metadata", "work/fetched"):
            shutil.copytree(other.path / kept, self.path / kept)
        for name in _LABELLED:
            path = self.path / "results" / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def write_profile(self, *, partition="cpu", account=None, rules=None, defaults=None, **settings):
        """Write the profile for Slurm as a user sets it here: no waiting between questions.

        Parameters
        ----------
        account : for a Slurm that keeps accounts
        defaults : resources of all rules
        rules : resources by rule
        settings : other keys of the profile, ``_`` for ``-``
        """
        profile = yaml.safe_load((ROOT / "profiles" / "slurm" / "config.yaml").read_text())
        if account:
            profile["default-resources"]["slurm_account"] = account
        else:
            del profile["default-resources"]["slurm_account"]
        profile["default-resources"] |= {"slurm_partition": partition, **(defaults or {})}
        for rule in ("run_md", "encode_snapshots", "evaluate_potential"):
            if self.configuration["explore"]["device"] == "cpu":
                profile["set-resources"][rule]["slurm_partition"] = partition
        for rule, resources in (rules or {}).items():
            profile["set-resources"].setdefault(rule, {}).update(resources)
        profile |= {
            "max-jobs-per-timespan": "20/1s",
            # and then every two seconds: tests/impatient
            "slurm-init-seconds-before-status-checks": 2,
            "seconds-between-status-checks": 1,
            "latency-wait": 5,
            **{key.replace("_", "-"): value for key, value in settings.items()},
        }
        folder = self.path / "profile"
        folder.mkdir(exist_ok=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(profile))

    def faults(self, **plan):
        """Let the double fail as ``vasp_faults`` describes."""
        (self.path / "faults.json").write_text(json.dumps(plan))
        self.environment["VASP_DOUBLE_FAULTS"] = str(self.path / "faults.json")
        self.environment["VASP_DOUBLE_MEMORY"] = str(self.path / "memory")

    def command(self, *arguments):
        run = [sys.executable, "-m", "pesatlas.cli.main", "run", "--profile", "profile"]
        return [*run, "-s", str(ROOT / "Snakefile"), *arguments]

    def start(self, *arguments):
        """Start the controller in a process group of its own; its output goes to output.txt."""
        with (self.path / "output.txt").open("wb") as output:
            self._head = subprocess.Popen(
                self.command(*arguments),
                cwd=self.path,
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return self._head

    def finish(self, controller, expect=0):
        """Wait for a controller to end; return its output."""
        try:
            status = controller.wait(self.patience_s)
        except subprocess.TimeoutExpired:
            self.kill(controller)
            status = "out of time"
        assert status == expect, self.output + self.slurm.ask("squeue") + self.slurm.told()
        return self.output

    def run(self, *arguments, expect=0):
        return self.finish(self.start(*arguments), expect)

    @staticmethod
    def kill(controller):
        """`kill -9` of the controller and all that it started on this machine, Slurm's jobs apart."""
        os.killpg(controller.pid, signal.SIGKILL)
        controller.wait()

    @property
    def output(self):
        return (self.path / "output.txt").read_text()

    def pesatlas(self, *arguments, expect=0, within_s=120):
        """Run another command in the campaign's folder, as from another terminal; return what it says, in
        one line."""
        done = subprocess.run(
            [sys.executable, "-m", "pesatlas.cli.main", *arguments],
            cwd=self.path,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=within_s,
        )
        assert done.returncode == expect, done.stdout + done.stderr
        return " ".join((done.stdout + done.stderr).split())

    def runs_of_double(self):
        """How often the double was started, by geometry and functional; only after ``faults``."""
        return {path.name: len(path.read_text().split()) for path in (self.path / "memory").iterdir()}

    def labels(self):
        """Rows of all batches of labels, without how long they took."""
        files = sorted((self.path / "results" / "labels").glob("[0-9]*.parquet"))
        return [row for file in files for row in pq.read_table(file).drop_columns(["wall_s"]).to_pylist()]

    def failures(self):
        """Rows of what failed while labelling."""
        files = sorted((self.path / "results" / "failures" / "label").glob("*.parquet"))
        return [row for file in files for row in pq.read_table(file).to_pylist()]

    def jobs(self, rule="", states="all"):
        """Slurm's jobs of a rule of this campaign, the newest last."""
        jobs = [job for job in self.slurm.jobs(states) if job["name"].startswith(job_prefix(self.path))]
        return [job for job in jobs if job["comment"].startswith(f"rule_{rule}")]


def quiet_campaign(tmp_path_factory, name, slurm, changes):
    """Return a finished campaign that ran on this machine without Slurm, made once under this name, only to
    be read."""
    with made_once(tmp_path_factory, name) as (place, is_made):
        campaign = SlurmCampaign(place / "campaign", slurm, changes)
        with campaign:
            if not is_made:
                campaign.run("--executor", "local", "--cores", "4")
    return campaign
