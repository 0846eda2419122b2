"""A cluster as it is, on a real Slurm: the doctor's table, the profile that is written, the jobs that are
tried."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

import small_slurm
from pesatlas.campaign.load import read_campaign
from pesatlas.monitor.cluster.partition_fit import check_slurm
from slurm_campaign import SlurmCampaign
from small_campaign import ROOT, TINY, SmallCampaign

pytestmark = [
    pytest.mark.skipif(bool(small_slurm.missing()), reason=small_slurm.missing() or "Slurm is here"),
]
FILE = Path("profiles/slurm/config.yaml")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with small_slurm.SmallSlurm(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture
def folder(slurm, tmp_path, monkeypatch):
    """The folder of a campaign on a login node of the small Slurm, which is the current one."""
    campaign = SmallCampaign(tmp_path / "campaign", TINY | {"select.target": 100_000})
    monkeypatch.chdir(campaign.path)
    for name in ("PATH", "SLURM_CONF"):
        monkeypatch.setenv(name, slurm.environment[name])
    return campaign


@pytest.fixture
def check(folder):
    """Return a function that gives what the doctor says of Slurm: whether all is well, and its lines."""

    def check(profile):
        FILE.parent.mkdir(parents=True, exist_ok=True)
        profile = {"executor": "slurm", "slurm-status-command": "squeue", **profile}
        FILE.write_text(yaml.safe_dump(profile))
        campaign = read_campaign(Path("config.yaml"))
        checks = list(check_slurm(campaign, Path("config.yaml"), profile, FILE, ROOT / "Snakefile"))
        lines = [f"{'ok' if each.ok else 'WRONG':6} {each.text}\n       {each.remedy}\n" for each in checks]
        return int(not all(each.ok for each in checks)), "".join(lines)

    return check


def line_of(rule, said):
    return next(line for line in said.splitlines() if "|" in line and rule in line)


def test_the_doctor_compares_every_attempt_of_every_rule_with_what_its_partition_gives(check):
    short = {"default-resources": {"slurm_partition": "short"}, "retries": 3}
    status, said = check(short)
    assert status == 1
    assert "ok     partition short: jobs of up to 1 h, 4 cores, 16 GB\n" in said
    # no list of ours: rules that no profile ever named are among them
    for rule in ("grid_structures", "cluster_atoms", "export_dataset", "run_md"):
        assert line_of(rule, said).startswith("WRONG")
        assert "too long from attempt 1" in line_of(rule, said)
    assert "1, 2, 4, 8 h" in line_of("write_card", said)
    assert "too long from attempt 2" in line_of("write_card", said)
    assert "4, 8, 16, 32 GB" in line_of("grid_structures", said)
    assert "too much memory from attempt 4" in line_of("grid_structures", said)
    assert "fit_pca" not in said  # runs where `pesatlas run` runs
    assert "score_benchmark" not in said  # of a section that this campaign does not have
    # the remedy is told once, and does away with all of it, but for the time that the longest may take
    assert said.count(f"write max_runtime: 60 (minutes) into default-resources of {FILE}") == 1
    assert said.count(f"write max_mem_mb: 16000 into default-resources of {FILE}") == 1
    short["default-resources"] |= {"max_runtime": 60, "max_mem_mb": 16000}
    status, said = check(short)
    assert status == 1
    assert "1 h | 4, 8, 16 GB | 1 core |" in line_of("grid_structures", said)
    assert "it may take 24 h, and all attempts together have 4 h" in line_of("run_md", said)
    assert f"write retries: 23 into {FILE}" in said
    status, said = check(short | {"retries": 23})
    assert status == 0, said


def test_the_doctor_sees_what_no_node_has(check):
    wrong = {
        "default-resources": {"slurm_partition": "cpu"},
        "set-resources": {"label_batch": {"gpu": 1, "mem_mb": 70_000}, "run_md": {"slurm_partition": "low"}},
        "set-threads": {"label_atoms": 5},
    }
    status, said = check(wrong)
    assert status == 1
    assert "no node of cpu has 5 cores" in line_of("label_atoms", said)
    label = line_of("label_batch", said)
    assert "no node of cpu has 1 GPU" in label
    assert "too much memory from attempt 1" in label
    assert "use a partition that has (gpu) for these rules" in said
    assert "use a partition whose nodes have more: none has" in said
    assert line_of("run_md", said).startswith("ok")


def pesatlas(campaign, *arguments, expect=0, **environment):
    """Return what a command prints in the folder of a SlurmCampaign."""
    done = subprocess.run(
        [sys.executable, "-m", "pesatlas.cli.main", *arguments],
        cwd=campaign.path,
        env={**campaign.environment, "COLUMNS": "300", **environment},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def campaign(slurm, tmp_path):
    """A campaign with the double of VASP, without a profile."""
    with SlurmCampaign(tmp_path / "campaign", slurm, TINY) as new:
        yield new


def written(campaign):
    return yaml.safe_load((campaign.path / FILE).read_text())


def test_the_profile_is_written_from_what_the_cluster_tells_and_the_doctor_has_nothing_against_it(
    campaign, check
):
    said = pesatlas(campaign, "cluster")
    assert "profiles/slurm/config.yaml is written, for Slurm" in said
    assert "CHOOSE" not in (campaign.path / FILE).read_text().split("executor:")[1]
    profile = written(campaign)
    # no accounts, the default partition, no limit of time, the memory of its nodes, nothing on GPUs
    assert profile["default-resources"] == {"slurm_partition": "cpu", "max_mem_mb": 64000}
    assert "set-resources" not in profile
    assert (profile["slurm-status-command"], profile["retries"], profile["jobs"]) == ("squeue", 3, 200)
    status, said = check(profile)
    assert status == 0, said


def test_what_was_changed_by_hand_is_kept_unless_told_otherwise(campaign):
    pesatlas(campaign, "cluster")
    pesatlas(campaign, "cluster")  # its own, as it was written
    file = campaign.path / FILE
    file.write_text(file.read_text().replace("jobs: 200", "jobs: 20"))
    said = pesatlas(campaign, "cluster", expect=1)
    assert "was changed by hand" in said
    assert "-jobs: 20\n+jobs: 200" in said
    assert written(campaign)["jobs"] == 20
    pesatlas(campaign, "cluster", "--force")
    assert written(campaign)["jobs"] == 200


def test_rules_that_ask_for_a_gpu_go_where_gpus_are_whichever_they_are(campaign):
    backend = {"kind": "mlip", "potential": {"kind": "chgnet"}, "device": "cuda"}
    campaign.change({"explore.device": "cuda", "label.backend": backend, "label.levels": ["mlip"]})
    pesatlas(campaign, "cluster")
    of_rules = written(campaign)["set-resources"]
    assert {each["slurm_partition"] for each in of_rules.values()} == {"gpu"}
    assert {"run_md", "evaluate_potential", "label_batch"} <= set(of_rules)
    assert not {"encode_snapshots", "label_atoms", "collect_dataset"} & set(of_rules)


def test_a_campaign_that_no_partition_has_room_for_is_told_so_and_nothing_is_written(campaign):
    campaign.change({"label.cores": 5})
    said = pesatlas(campaign, "cluster", expect=1)
    assert "has a node with 5 cores" in said
    assert "label_batch" in said
    assert "cpu (any time, 4 cores and 64 GB a node, 2 nodes)" in said
    assert not (campaign.path / FILE).exists()


@pytest.mark.skipif(bool(small_slurm.missing(accounting=True)), reason="needs slurmdbd and MariaDB")
def test_limits_and_accounts_of_slurmdbd_are_in_the_profile(tmp_path):
    with (
        small_slurm.SmallSlurm(tmp_path / "slurm", accounting=True) as slurm,
        SlurmCampaign(tmp_path / "campaign", slurm, TINY) as campaign,
    ):
        pesatlas(campaign, "cluster")
        text = (campaign.path / FILE).read_text()
        # root has one of its own beside the one of the lab
        assert "# CHOOSE an account. Your accounts: lab, root. This one is your default." in text
        assert written(campaign)["default-resources"]["slurm_account"] == "root"
        slurm.ask("sacctmgr", "-i", "delete", "user", "root", "where", "account=root")
        said = pesatlas(campaign, "cluster", "--force")
        if "CHOOSE" not in said:  # not every version lets the account of root go
            assert written(campaign)["default-resources"]["slurm_account"] == "lab"
        wrong = yaml.safe_dump(written(campaign) | {"default-resources": {"slurm_account": "theirs"}})
        (campaign.path / FILE).write_text(wrong)
        said = pesatlas(campaign, "doctor", "--profile", str(FILE.parent), expect=1)
        assert "WRONG  you have no account theirs" in said


def profile_of(campaign, **resources):
    """Write a profile as a user has it; resources by rule."""
    profile = yaml.safe_load((ROOT / FILE).read_text())
    profile["default-resources"] = {"slurm_partition": "cpu"}
    del profile["set-resources"]
    profile |= {"set-resources": resources} if resources else {}
    file = campaign.path / FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(profile))


def test_small_jobs_try_every_partition_that_is_used_and_locks_between_two_nodes(slurm, campaign):
    profile_of(campaign, run_md={"slurm_partition": "gpu"})
    said = pesatlas(campaign, "cluster", "--try")
    rows = {line.split()[1]: line for line in said.splitlines() if line.startswith(("cpu  ", "gpu  "))}
    assert set(rows) == {"cpu1", "cpu2", "gpu1"}
    assert "vasp, pbe: " in rows["cpu1"]  # the partition of label jobs
    assert " eV (" in rows["cpu1"]
    assert "vasp" not in rows["gpu1"]
    assert "and cpu1 and this node" in rows["cpu2"]  # its lock was seen
    for row in rows.values():
        assert "Python 3." in row
        assert "GB free" in row
    assert "All requirements are met" in said
    assert slurm.jobs("PENDING,RUNNING") == []
    assert list((campaign.path / "store").iterdir()) == []


def test_a_potential_that_labels_is_tried_too(campaign):
    campaign.change(
        {"label.backend": {"kind": "mlip", "potential": {"kind": "chgnet"}}, "label.levels": ["mlip"]}
    )
    profile_of(campaign)
    assert "mlip, mlip: " in pesatlas(campaign, "cluster", "--try")


def test_what_a_node_lacks_is_wrong_with_a_remedy(slurm, campaign):
    campaign.change({"explore.device": "cuda", "label.scratch": "/proc/nowhere"})
    profile_of(campaign, run_md={"slurm_partition": "gpu"}, evaluate_potential={"slurm_partition": "gpu"})
    said = pesatlas(campaign, "cluster", "--try", expect=1)
    # fake GPUs, which Slurm gives and torch does not see
    assert "WRONG  gpu gpu1, GPU: torch" in said
    assert "sees 0 of 1" in said
    assert "WRONG  cpu cpu1, scratch: /proc/nowhere" in said
    assert "name a folder of the node in label.scratch" in said
    assert "WRONG  cpu cpu1, label: " in said
    assert slurm.jobs("PENDING,RUNNING") == []


def test_locks_that_only_hold_on_one_node_are_found(slurm, campaign, tmp_path):
    # as where NFS is mounted with nolock: each machine has its own
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "sitecustomize.py").write_text(
        "import fcntl, os\nif 'SLURMD_NODENAME' in os.environ:\n    fcntl.flock = lambda *_: None\n"
    )
    profile_of(campaign)
    path = f"{tmp_path / 'local'}{os.pathsep}{campaign.environment['PYTHONPATH']}"
    said = pesatlas(campaign, "cluster", "--try", expect=1, PYTHONPATH=path)
    assert "locks: " in said
    assert "was granted the lock" in said
    assert "Lustre: with -o flock, not localflock" in said


def test_a_partition_that_starts_nothing_is_waited_for_until_it_is_said_why(slurm, campaign):
    profile_of(campaign)
    slurm.ask("scontrol", "update", "partition=cpu", "state=down")
    try:
        said = pesatlas(campaign, "cluster", "--try", "--wait", "0.2", expect=1)
    finally:
        slurm.ask("scontrol", "update", "partition=cpu", "state=up")
    assert "waits: PartitionDown" in said
    assert "WRONG  cpu: given up: cpu-1" in said
    assert slurm.jobs("PENDING,RUNNING") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_cancels_the_jobs(slurm, campaign, number):
    campaign.environment["VASP_DOUBLE_SECONDS"] = "300"
    profile_of(campaign)
    with subprocess.Popen(
        [sys.executable, "-m", "pesatlas.cli.main", "cluster", "--try"],
        cwd=campaign.path,
        env=campaign.environment,
    ) as process:
        slurm.wait_for(lambda: slurm.jobs("RUNNING"), 60)
        time.sleep(2)
        process.send_signal(number)
        assert process.wait(30) != 0
    slurm.wait_for(lambda: not slurm.jobs("PENDING,RUNNING,COMPLETING"), 60)


def test_a_partition_that_refuses_the_job_is_told_in_its_words(campaign):
    profile_of(campaign)
    file = campaign.path / FILE
    file.write_text(
        file.read_text().replace(
            "slurm_partition: cpu", "slurm_partition: cpu\n  slurm_extra: --nodelist=nowhere"
        )
    )
    said = pesatlas(campaign, "cluster", "--try", expect=1)
    assert "WRONG  cpu: sbatch refuses it: " in said
    assert "nowhere" in said or "nvalid node" in said
