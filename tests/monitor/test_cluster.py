"""A cluster as it is, on a real Slurm: the doctor's table, the profile that is written, the jobs that are tried."""

from pathlib import Path

import pytest
import yaml

import small_slurm
from pesatlas.config.load import read_campaign
from pesatlas.monitor.cluster.compare import check_slurm
from small_campaign import ROOT, TINY, SmallCampaign

pytestmark = [
    pytest.mark.slow,
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
    campaign = SmallCampaign(tmp_path / "campaign", TINY)
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
    for rule in ("prepare_structures", "cluster_atoms", "export_dataset", "run_md"):
        assert line_of(rule, said).startswith("WRONG")
        assert "too long from attempt 1" in line_of(rule, said)
    assert "1, 2, 4, 8 h" in line_of("write_card", said)
    assert "too long from attempt 2" in line_of("write_card", said)
    assert "4, 8, 16, 32 GB" in line_of("prepare_structures", said)
    assert "too much memory from attempt 4" in line_of("prepare_structures", said)
    assert "fit_pca" not in said  # runs where `pesatlas run` runs
    assert "score_benchmark" not in said  # of a section that this campaign does not have
    # the remedy is told once, and does away with all of it, but for the time that the longest may take
    assert said.count(f"write max_runtime: 60 (minutes) into default-resources of {FILE}") == 1
    assert said.count(f"write max_mem_mb: 16000 into default-resources of {FILE}") == 1
    short["default-resources"] |= {"max_runtime": 60, "max_mem_mb": 16000}
    status, said = check(short)
    assert status == 1
    assert "1 h | 4, 8, 16 GB | 1 core |" in line_of("prepare_structures", said)
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
    assert "take a partition that has (gpu) for these rules" in said
    assert "take a partition whose nodes have more: none has" in said
    assert line_of("run_md", said).startswith("ok")
