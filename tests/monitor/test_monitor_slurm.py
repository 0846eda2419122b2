"""Status, retry and doctor with a real Slurm."""

import json
import os
import subprocess
import sys
import time

import pytest
import yaml

import small_slurm
from pesatlas.campaign.layout import below
from pesatlas.cli.slurm_jobs import job_prefix
from pesatlas.monitor.controlling_process import LOCK_FILE
from pesatlas.monitor.squeue import ALLOCATION

pytestmark = [
    pytest.mark.skipif(bool(small_slurm.missing()), reason=small_slurm.missing() or "Slurm is here"),
]
RUNS = """
import time
from pesatlas.runtime.progress import Progress, progress_file
with progress_file("label_batch", "00001"):
    Progress("labels", 6)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with small_slurm.SmallSlurm(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture
def submit(slurm, halfway):
    """Return a function that submits a job as Snakemake does; all are cancelled afterwards."""

    def submit(command, comment, *options, prefix=None):
        prefix = prefix or job_prefix(halfway.folder)
        name = [f"--job-name={prefix}_1f0c", f"--comment={comment}", "--output=job.log", "--mem=100"]
        submission = ["sbatch", "--parsable", *name, *options, "--wrap", command]
        return subprocess.run(
            submission, cwd=halfway.folder, env=slurm.environment, check=True, capture_output=True, text=True
        ).stdout.strip()

    yield submit
    subprocess.run(["scancel", "--me"], env=slurm.environment, check=True)


def pesatlas(slurm, folder, *arguments):
    command = [sys.executable, "-m", "pesatlas.cli.main", *arguments]
    environment = {**slurm.environment, "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)


def test_jobs_of_the_campaign_are_told_from_others_and_from_the_dead(slurm, halfway, submit):
    halfway.folder.joinpath("runs.py").write_text(RUNS)
    program = f"exec {sys.executable} runs.py"
    running = submit(program, "rule_label_batch_wildcards_00001")
    waiting = submit("sleep 600", "rule_run_md_wildcards_00002", "--partition=gpu", "--begin=now+3600")
    submit("sleep 600", "rule_run_md_wildcards_00002", prefix="pesatlas-00000000")
    file = halfway.folder / "work/progress/label_batch-00001.json"
    slurm.wait_for(file.exists, 60)

    raw = json.loads(pesatlas(slurm, halfway.folder, "status", "--json").stdout)
    jobs = {job["job"]: job for job in raw["slurm"]["jobs"]}
    assert set(jobs) == {running, waiting}
    assert (jobs[running]["state"], jobs[running]["rule"], jobs[running]["batch"]) == (
        "RUNNING",
        "label_batch",
        "00001",
    )
    assert (jobs[waiting]["state"], jobs[waiting]["reason"], jobs[waiting]["partition"]) == (
        "PENDING",
        "BeginTime",
        "gpu",
    )
    assert raw["orphans"]["slurm"] == [running, waiting]
    assert [job["fate"] for job in raw["jobs"]] == ["running"]
    screen = pesatlas(slurm, halfway.folder, "status").stdout
    assert "2 Slurm jobs have no active `pesatlas run`" in screen

    # seen from a machine where its process is not to be seen, the queue tells that it lives, and that it does
    # not
    state = json.loads(file.read_text())
    assert state["slurm_job"] == running
    file.write_text(json.dumps(state | {"host": "node7"}))
    assert fates(slurm, halfway) == ["running"]
    subprocess.run(["scancel", running], env=slurm.environment, check=True)
    slurm.wait_for(lambda: running not in slurm.ask("squeue", "-h", "--format=%A").split(), 60)
    assert fates(slurm, halfway) == ["killed"]


def test_an_allocation_in_which_the_campaign_runs_is_told_from_its_jobs(slurm, halfway, submit):
    waiting = submit("sleep 600", ALLOCATION, "--begin=now+3600")
    raw = json.loads(pesatlas(slurm, halfway.folder, "status", "--json").stdout)
    assert [(job["job"], job["rule"], job["state"]) for job in raw["slurm"]["jobs"]] == [
        (waiting, "allocation", "PENDING")
    ]
    assert raw["orphans"]["slurm"] == []

    # its process is not to be seen from the login node
    controller = {"host": "node7", "pid": 1, "since": time.time()}
    (halfway.folder / LOCK_FILE).write_text(json.dumps(controller))
    assert (
        json.loads(pesatlas(slurm, halfway.folder, "status", "--json").stdout)["controller"]["alive"] is None
    )
    running = submit("sleep 600", ALLOCATION)
    slurm.wait_for(lambda: slurm.ask("squeue", "-h", f"--jobs={running}", "--format=%T") == "RUNNING\n", 60)
    assert (
        json.loads(pesatlas(slurm, halfway.folder, "status", "--json").stdout)["controller"]["alive"] is True
    )
    assert "`pesatlas run` is alive on node7" in pesatlas(slurm, halfway.folder, "status").stdout


def fates(slurm, halfway):
    raw = json.loads(pesatlas(slurm, halfway.folder, "status", "--json").stdout)
    return [job["fate"] for job in raw["jobs"]]


def test_nothing_is_put_back_into_the_queue_while_jobs_are_in_slurms(slurm, halfway, submit):
    submit("sleep 600", "rule_label_batch_wildcards_00001", "--begin=now+3600")
    done = pesatlas(slurm, halfway.folder, "retry", "--reason", "timeout")
    assert (done.returncode, "1 jobs of this campaign are active" in " ".join(done.stderr.split())) == (
        1,
        True,
    )
    assert below(halfway.results, "labels", batch=0).exists()


def checked(slurm, halfway, changes):
    """What the doctor says of Slurm with a profile like profiles/slurm."""
    profile = {
        "executor": "slurm",
        "slurm-status-command": "squeue",
        "default-resources": {"slurm_partition": "cpu", "slurm_account": "mine"},
        "set-resources": {"run_md": {"slurm_partition": "gpu"}},
    }
    path = halfway.folder / "profile"
    path.mkdir(exist_ok=True)
    (path / "config.yaml").write_text(yaml.safe_dump(profile | changes))
    done = pesatlas(slurm, halfway.folder, "doctor", "--profile", "profile")
    return done.returncode, done.stdout


def test_the_doctor_knows_partitions_and_accounting(slurm, halfway):
    status, said = checked(slurm, halfway, {})
    assert status == 0, said
    assert "ok     partition cpu: jobs of any length, 4 cores, 64 GB\n" in said
    assert "ok     partition gpu: jobs of any length, 4 cores, 64 GB, 4 GPUs\n" in said
    assert "ok       24 h | 6 GB | 1 core | run_md\n" in said
    assert "ok     Slurm without accounting, asked by squeue" in said
    assert "ok     account mine: not checked" in said
    wrong = {"slurm-status-command": "sacct", "set-resources": ["run_md:slurm_partition='gpus'"]}
    status, said = checked(slurm, halfway, wrong)
    assert status == 1
    assert "WRONG  run_md: there is no partition gpus" in said
    assert "to one of cpu, gpu, low, short" in said
    assert "WRONG  this Slurm has no accounting" in said


def test_without_slurm_it_says_so(slurm, halfway, monkeypatch):
    monkeypatch.setitem(slurm.environment, "SLURM_CONF", os.devnull)
    status, said = checked(slurm, halfway, {})
    assert (status, "WRONG  Slurm does not answer (scontrol)" in said) == (1, True)
