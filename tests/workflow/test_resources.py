"""Resource requests of jobs to a cluster."""

import shutil

import pytest
import yaml
from snakemake.api import SnakemakeApi
from snakemake.cli import parse_set_resources
from snakemake.iocontainers import Wildcards
from snakemake.settings.types import OutputSettings, ResourceSettings

from pesatlas.campaign.load import read_campaign
from pesatlas.errors import UserError
from pesatlas.monitor.cluster.requests import requests_of
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


def test_one_key_caps_time_and_one_memory_for_all_rules(tmp_path):
    config = tmp_path / "config.yaml"
    shutil.copy(ROOT / "config" / "demo.yaml", config)
    (tmp_path / "profile").mkdir()
    profile = {
        "executor": "slurm",
        "jobs": 10,
        "retries": 47,
        "default-resources": {"slurm_partition": "short", "max_runtime": 60, "max_mem_mb": 7000},
        "set-resources": {"run_md": {"max_runtime": 600, "slurm_partition": "gpu"}},
    }
    (tmp_path / "profile" / "config.yaml").write_text(yaml.safe_dump(profile))
    requests = {
        request.rule: request
        for request in requests_of(read_campaign(config), config, tmp_path / "profile", ROOT / "Snakefile")
    }
    md = requests.pop("run_md")
    assert (set(md.minutes), md.partition, md.wanted_minutes) == ({600}, "gpu", DAY_MIN)
    assert len(requests) > 8
    for request in requests.values():
        assert len(request.minutes) == 48
        assert max(request.minutes) <= 60
        assert max(request.memory_mb) <= 7000
    # what it would ask for without: memory grows thrice, and no further, for most of many attempts follow
    # from their time
    profile["default-resources"] = {"slurm_partition": "short", "max_runtime": 60}
    (tmp_path / "profile" / "config.yaml").write_text(yaml.safe_dump(profile))
    found = requests_of(read_campaign(config), config, tmp_path / "profile", ROOT / "Snakefile")
    memory = next(request.memory_mb for request in found if request.rule == "label_batch")
    assert memory[:4] == (4000, 8000, 16000, 32000)
    assert set(memory[4:]) == {32000}


def test_a_name_that_is_python_has_a_message_that_says_how_it_is_quoted(tmp_path):
    config = tmp_path / "config.yaml"
    shutil.copy(ROOT / "config" / "demo.yaml", config)
    (tmp_path / "profile").mkdir()
    text = "executor: slurm\njobs: 10\ndefault-resources:\n  slurm_partition: all\n"
    (tmp_path / "profile" / "config.yaml").write_text(text)
    with pytest.raises(UserError, match="is quoted twice"):
        requests_of(read_campaign(config), config, tmp_path / "profile", ROOT / "Snakefile")
