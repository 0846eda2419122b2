"""Campaigns on a real Slurm, without accounting and with: they end as local ones do, whatever is killed in
between."""

import shutil

import pytest

import small_slurm
from pesatlas.dataset.verify import verify
from slurm_campaign import SlurmCampaign, quiet_campaign
from small_campaign import TINY

# two jobs on each node at once
CHANGES = TINY | {"select.target": 8, "label.cores": 4}

pytestmark = [
    pytest.mark.skipif(bool(small_slurm.missing()), reason=small_slurm.missing() or "Slurm is here"),
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with small_slurm.SmallSlurm(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture(scope="module")
def quiet(slurm, tmp_path_factory):
    return quiet_campaign(tmp_path_factory, "quiet", slurm, CHANGES)


@pytest.fixture
def campaign(slurm, tmp_path):
    with SlurmCampaign(tmp_path / "campaign", slurm, CHANGES) as new:
        new.faults()  # none, but runs of the double are counted
        yield new


@pytest.fixture
def selected(quiet, campaign):
    """A campaign whose selection is made, and nothing labelled."""
    campaign.take_selection(quiet)
    return campaign


def waiting(campaign):
    """Label jobs that wait while both nodes are full, so that none of them starts at once."""
    full = len(campaign.jobs(states="RUNNING")) >= 2
    return campaign.jobs("label_batch", "PENDING") if full else []


@pytest.mark.first
def test_a_campaign_on_slurm_gives_the_dataset_of_a_local_one_also_when_jobs_are_cancelled(
    quiet, slurm, campaign
):
    controller = campaign.start()
    for rule in ("run_md", "label_batch"):
        slurm.wait_for(lambda rule=rule: campaign.jobs(rule, "RUNNING"), 600)
        slurm.ask("scancel", campaign.jobs(rule, "RUNNING")[0]["number"])
    campaign.finish(controller)
    assert verify(campaign.path / "results") == []
    for level in ("pbe", "r2scan"):
        assert len(campaign.dataset(level)) == 8
        assert campaign.dataset(level) == quiet.dataset(level)
    states = [job["state"] for job in campaign.jobs()]
    assert (states.count("CANCELLED"), set(states)) == (2, {"CANCELLED", "COMPLETED"})
    rules = {job["comment"].removeprefix("rule_").partition("_wildcards")[0] for job in campaign.jobs()}
    # all else takes seconds in a campaign of this size, or needs a network
    assert rules == {"run_md", "label_atoms", "label_batch"}


def test_after_kill_9_of_the_head_its_jobs_go_on_and_nothing_is_calculated_twice(quiet, slurm, selected):
    selected.environment["VASP_DOUBLE_SECONDS"] = "3"
    controller = selected.start()
    slurm.wait_for(
        lambda: {"RUNNING", "PENDING"} <= {job["state"] for job in selected.jobs("label_batch")}, 120
    )
    selected.kill(controller)
    # isolated atoms may be among them
    running = [job["number"] for job in selected.jobs(states="RUNNING")]
    output = selected.run()
    assert "still pending: cancelled" in output
    assert f"scancel {' '.join(running)}" in " ".join(output.split())
    finished = {job["number"]: job["state"] for job in selected.jobs()}
    assert {finished[number] for number in running} == {"COMPLETED"}
    assert "CANCELLED" in finished.values()
    assert set(selected.runs_of_double().values()) == {1}
    assert len(selected.runs_of_double()) == 2 * (8 + 1)  # snapshots and the isolated atom, at both levels
    for level in ("pbe", "r2scan"):
        assert selected.dataset(level) == quiet.dataset(level)


def test_a_job_held_one_requeued_and_all_nodes_drained_for_a_while(quiet, slurm, selected):
    selected.environment["VASP_DOUBLE_SECONDS"] = "3"
    controller = selected.start()
    slurm.wait_for(lambda: selected.jobs("label_batch", "RUNNING"), 120)
    held = slurm.wait_for(lambda: waiting(selected), 120)[-1]["number"]
    slurm.ask("scontrol", "hold", held)
    requeued = selected.jobs("label_batch", "RUNNING")[0]["number"]
    slurm.ask("scontrol", "requeue", requeued)
    slurm.ask("scontrol", "update", "NodeName=cpu[1-2]", "State=DRAIN", "Reason=test")
    slurm.wait_for(lambda: not selected.jobs(states="RUNNING,COMPLETING"), 120)
    slurm.ask("scontrol", "update", "NodeName=cpu[1-2]", "State=RESUME")
    slurm.wait_for(lambda: selected.jobs("label_batch", "RUNNING"), 300)
    slurm.wait_for(
        lambda: [job["number"] for job in selected.jobs(states="PENDING,RUNNING,COMPLETING")] == [held], 500
    )
    slurm.ask("scontrol", "release", held)
    selected.finish(controller)
    assert slurm.restarts()[requeued] == 1
    assert {job["state"] for job in selected.jobs()} == {"COMPLETED"}
    assert verify(selected.path / "results") == []
    for level in ("pbe", "r2scan"):
        assert selected.dataset(level) == quiet.dataset(level)


def test_jobs_that_a_node_cannot_start_are_released_and_run_on_another(quiet, tmp_path):
    with (
        small_slurm.SmallSlurm(tmp_path / "slurm") as slurm,
        SlurmCampaign(tmp_path / "campaign", slurm, CHANGES) as campaign,
    ):
        campaign.faults()
        campaign.take_selection(quiet)
        slurm.let_starts_fail("cpu1")
        output = " ".join(
            campaign.run("results/labels/00000.parquet", "results/labels/00001.parquet").split()
        )
        assert "drained" in slurm.ask("sinfo", "-h", "-n", "cpu1", "-p", "cpu", "-o", "%T")
        started_twice = [number for number, count in slurm.restarts().items() if count]
        assert started_twice
        for number in started_twice:
            assert f"Slurm job {number} (label_" in output
        assert "could not be started on its node and was held; it is released" in output
        assert {job["state"] for job in campaign.jobs()} == {"COMPLETED"}
        assert campaign.labels() == quiet.labels()[: 2 * 2 * 2]


def test_jobs_that_may_not_take_as_long_as_they_need_go_on_until_they_are_done(quiet, slurm, selected):
    selected.change({"select.target": 2})
    # two minutes, where two snapshots at two levels take three, and Slurm looks every half a minute
    limits = {"max_runtime": 2, "max_mem_mb": 12_000}
    selected.write_profile(rules={"label_batch": limits}, retries=9)
    selected.environment["VASP_DOUBLE_SECONDS"] = "45"
    selected.run("results/labels/00000.parquet")
    jobs = selected.jobs("label_batch")
    assert [job["state"] for job in jobs] == ["TIMEOUT"] * (len(jobs) - 1) + ["COMPLETED"]
    assert len(jobs) >= 2
    told = slurm.ask("squeue", "-h", "--states=all", "--Format=JobID:20,TimeLimit:20,MinMemory:20")
    asked = {number: (time, memory) for number, time, memory in map(str.split, told.splitlines())}
    # 10 GB at first, for four cores; then no more than any node gives
    assert [asked[job["number"]] for job in jobs[:2]] == [("2:00", "10000M"), ("2:00", "12000M")]
    assert selected.labels() == quiet.labels()[: 2 * 2]
    # what was finished is not calculated again, only what was under way
    assert max(selected.runs_of_double().values()) <= 2


@pytest.mark.skipif(not small_slurm.can_limit_memory(), reason="needs cgroups (v1) that may be written")
def test_a_label_whose_vasp_the_kernel_kills_for_its_memory_is_made_by_the_next_attempt_of_its_job(
    quiet, tmp_path
):
    with (
        small_slurm.SmallSlurm(tmp_path / "slurm", cgroups=True) as slurm,
        SlurmCampaign(tmp_path / "campaign", slurm, CHANGES) as campaign,
    ):
        campaign.faults()
        campaign.take_selection(quiet)
        # one job, for the machine has little memory, and Slurm's nodes on one machine trip over each other's
        # cgroups
        campaign.change({"select.target": 2})
        campaign.write_profile(rules={"label_batch": {"mem_mb": "1500 * attempt ** 2"}})
        campaign.environment["VASP_DOUBLE_MB"] = "3000"
        campaign.run("results/labels/00000.parquet")
        states = [job["state"] for job in campaign.jobs("label_batch")]
        assert (len(states), states.count("COMPLETED")) == (2, 1)
        # killed at least once, then made; the kernel may take the job's own process too, and then the rest
        # was not yet tried
        runs = [count for name, count in campaign.runs_of_double().items() if name.endswith("PBE")]
        assert len(runs) == 2
        assert 2 <= max(runs) <= 3
        assert campaign.failures() == []
        assert len(campaign.labels()) == 2 * 2
        assert campaign.labels() == quiet.labels()[:4]


def test_dynamics_and_encoder_ask_for_a_gpu_on_its_partition(slurm, selected):
    shutil.rmtree(selected.path / "results" / "snapshots")
    selected.change({"explore.device": "cuda"})
    selected.write_profile()
    selected.start("results/snapshots/00000.parquet")  # where it fails: there is no GPU
    slurm.wait_for(lambda: selected.jobs("run_md"), 60)
    job = selected.jobs("run_md")[-1]
    assert job["partition"] == "gpu"
    assert "gpu" in slurm.ask("squeue", "-h", "--states=all", "-j", job["number"], "--Format=tres-per-job")


NO_ACCOUNTS = small_slurm.missing(accounting=True)


@pytest.mark.skipif(bool(NO_ACCOUNTS), reason=NO_ACCOUNTS or "it is here")
def test_with_accounting_sacct_tells_the_head_what_became_of_its_jobs(quiet, tmp_path):
    with (
        small_slurm.SmallSlurm(tmp_path / "slurm", accounting=True) as slurm,
        SlurmCampaign(tmp_path / "campaign", slurm, CHANGES) as campaign,
    ):
        campaign.faults()
        campaign.take_selection(quiet)
        campaign.write_profile(account="lab", slurm_status_command="sacct")
        campaign.environment["VASP_DOUBLE_SECONDS"] = "3"
        controller = campaign.start()
        slurm.wait_for(lambda: {"RUNNING", "PENDING"} <= {job["state"] for job in campaign.jobs()}, 120)
        campaign.kill(controller)
        controller = campaign.start()
        cancelled = slurm.wait_for(lambda: waiting(campaign), 120)[-1]["number"]
        # sacct says "CANCELLED by 0", for which the executor alone would wait for ever
        slurm.ask("scancel", cancelled)
        campaign.finish(controller)
        for level in ("pbe", "r2scan"):
            assert campaign.dataset(level) == quiet.dataset(level)
        assert verify(campaign.path / "results") == []
        told = slurm.ask("sacct", "--noheader", "--parsable2", "-X", "--format=Account,State").splitlines()
        assert {line.split("|")[0] for line in told} == {"lab"}
        assert {line.split("|")[1] for line in told} == {"COMPLETED", "CANCELLED by 0"}
