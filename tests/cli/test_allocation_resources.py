"""Cores and GPUs that the jobs of a campaign share in an allocation, and runs that need one."""

import pytest

from pesatlas.cli.allocation import Share, must_submit, share


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({"SLURM_JOB_CPUS_PER_NODE": "4(x2)", "SLURM_JOB_NUM_NODES": "2"}, Share(8, 0)),
        ({"SLURM_JOB_CPUS_PER_NODE": "64"}, Share(64, 0)),
        (
            {
                "SLURM_JOB_CPUS_PER_NODE": "128(x3),64,32(x2)",
                "SLURM_JOB_NUM_NODES": "6",
                "SLURM_GPUS_ON_NODE": "4",
            },
            Share(512, 24),
        ),
    ],
)
def test_nodes_are_added_up(environment, found):
    assert share(environment) == found


def test_only_the_executor_of_allocations_needs_one_and_only_outside(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert must_submit("cluster-sync")
    assert not must_submit("slurm")
    assert not must_submit("")
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    assert not must_submit("cluster-sync")
