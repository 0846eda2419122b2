"""What jobs ask a cluster for."""

import shutil

import pytest
import yaml
from snakemake.api import SnakemakeApi
from snakemake.cli import parse_set_resources
from snakemake.iocontainers import Wildcards
from snakemake.settings.types import OutputSettings, ResourceSettings

from small_campaign import ROOT

DAY_MIN = 1440


@pytest.mark.parametrize("profile", ["local", "slurm"])
def test_no_job_ever_asks_for_more_than_a_day_and_none_for_less_than_before(tmp_path, profile):
    shutil.copy(ROOT / "config" / "demo.yaml", tmp_path / "config.yaml")
    settings = yaml.safe_load((ROOT / "profiles" / profile / "config.yaml").read_text())
    of_rules = settings.get("set-resources", {})
    runtimes = [f"{rule}:runtime={of['runtime']}" for rule, of in of_rules.items() if "runtime" in of]
    attempts = range(1, settings.get("retries", 0) + 2)
    with SnakemakeApi(OutputSettings()) as api:
        resources = ResourceSettings(overwrite_resources=parse_set_resources(runtimes))
        workflow = api.workflow(resource_settings=resources, snakefile=ROOT / "Snakefile", workdir=tmp_path)
        asked = {
            rule.name: [rule.expand_resources(Wildcards(), [], attempt)["runtime"] for attempt in attempts]
            for rule in workflow._workflow.rules
            if rule.name != "all"
        }
    assert len(asked) > 15
    for rule, minutes in asked.items():
        assert minutes == sorted(minutes), rule
        assert max(minutes) <= DAY_MIN, rule
    if profile == "slurm":
        assert asked["run_md"] == [DAY_MIN] * 4
        assert asked["label_batch"] == asked["label_atoms"] == [720, DAY_MIN, DAY_MIN, DAY_MIN]
        assert asked["encode_snapshots"] == [240, 480, 960, DAY_MIN]
