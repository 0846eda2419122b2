"""Settings that results are made with: those that decide them, and no others, compared with a configuration
of later."""

import json
import random
import re
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from pesatlas.campaign.load import load_campaign, read_campaign
from pesatlas.campaign.made_with import differences, made_with
from pesatlas.campaign.named_potentials import benchmark_shares
from pesatlas.tables import read_entry, write_table
from pesatlas.tables.manifest import made_by_job, table_fingerprint

ROOT = Path(__file__).parents[2]
PRESETS = sorted((ROOT / "config").glob("*.yaml"))
RULES = {
    name: body
    for path in (ROOT / "workflow/rules").glob("*.smk")
    for name, body in re.findall(
        r"^(?:rule|checkpoint) (\w+):\n(.*?)(?=^\S|\Z)", path.read_text(), re.MULTILINE | re.DOTALL
    )
}


def stored(rule, campaign, **wildcards):
    return json.loads(json.dumps(made_with(rule, campaign, wildcards)))


def changed(preset="demo", **values):
    raw = yaml.safe_load((ROOT / "config" / f"{preset}.yaml").read_text())
    for key, value in values.items():
        *parents, last = key.split("__")
        section = raw
        for parent in parents:
            section = section[parent]
        section[last] = value
    return load_campaign(raw, extensions=False)


@pytest.fixture(scope="module")
def demo():
    return changed()


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_what_was_made_with_a_configuration_does_not_differ_from_it(path):
    campaign = read_campaign(path, extensions=False)
    for rule in RULES:
        if rule != "run_benchmark":
            assert differences(stored(rule, campaign), campaign) == []
    for potential, kind, _ in benchmark_shares(campaign):
        made = stored("run_benchmark", campaign, potential=potential, property=kind)
        assert made
        assert differences(made, campaign) == []


def test_a_difference_is_named_by_its_key_with_both_values(demo):
    other = changed(campaign__seed=7, explore__timestep_fs=1.0)
    assert differences(stored("run_md", demo), other) == [
        "explore.timestep_fs was auto, is 1.0",
        "campaign.seed was 2026, is 7",
    ]
    assert differences(stored("encode_snapshots", demo), other) == []
    assert differences(stored("collect_dataset", demo), other) == ["campaign.seed was 2026, is 7"]


@pytest.mark.parametrize(
    "runtime",
    [
        {"explore__device": "cuda", "campaign__store": "elsewhere"},
        {"label__parallel": 8, "label__timeout_min": 1.0, "encode__device": "cuda"},
        {"campaign__name": "other", "dataset__card": {"title": "other"}, "dataset__exports": {"formats": []}},
    ],
)
def test_what_decides_no_result_makes_none_stale(demo, runtime):
    for rule in RULES:
        if rule != "run_benchmark":
            assert differences(stored(rule, demo), changed(**runtime)) == []


def test_a_setting_that_an_older_version_did_not_have_counts_as_its_default(demo):
    made = stored("run_md", demo)
    del made["explore"]["abort"]["min_distance_A"], made["explore"]["thermostat_tau_fs"]
    assert differences(made, demo) == []
    (said,) = differences(made, changed(explore__thermostat_tau_fs=50.0))
    assert said == "explore.thermostat_tau_fs was 100.0, is 50.0"


def test_a_setting_that_there_is_no_more_is_not_compared_and_others_are(demo):
    made = stored("run_md", demo)
    made["explore"]["thrust_N"] = 3
    assert differences(made, demo) == []
    assert differences(made, changed(explore__timestep_fs=1.0)) == ["explore.timestep_fs was auto, is 1.0"]


def test_every_rule_that_depends_on_a_section_or_the_seed_keeps_it(demo):
    found = 0
    for rule, body in RULES.items():
        sections = re.findall(r"[=(\[]identity\(\"(\w+)\"\)", body)
        sections += ["campaign"] if "seed=campaign.campaign.seed" in body else []
        keys = {
            key.split(".")[0] for key in stored(rule, changed("matpes"), potential="exploring", property="x")
        }
        for section in sections:
            if getattr(demo, section) is not None:
                found += 1
                assert section in keys or rule == "run_benchmark", (rule, section)
    assert found >= 8


def test_the_entry_of_a_table_tells_what_its_job_made_it_with_and_of(tmp_path):
    given, made = tmp_path / "given.parquet", tmp_path / "made.parquet"
    write_table(given, "failures", [], "")
    assert read_entry(given).made_with == read_entry(given).made_of == {}
    with made_by_job({"campaign.seed": 7}, [str(given), str(tmp_path / "none.txt")]):
        write_table(made, "failures", [], "")
    entry = read_entry(made)
    assert entry.made_with == {"campaign.seed": 7}
    assert entry.made_of == {str(given): table_fingerprint(given)}
    assert read_entry(given).sha256.startswith(table_fingerprint(given))
    write_table(made, "failures", [], "")
    assert read_entry(made).made_with == {}


def test_a_key_under_its_former_name_is_the_same_setting_and_is_named_once(tmp_path, caplog):
    base = {"path": str(tmp_path)}
    former, present = (changed(train={"base": base, name: "labels"}) for name in ("kept", "retention_set"))
    assert former == present
    assert former.train.retention_set == Path("labels")
    # what finished campaigns stored, so that their keys and tables stay as they are
    assert former.train.identity()["kept"] == "labels"
    made = stored("train_potential", former)
    assert made["train.kept"] == "labels"
    assert differences(made, present) == []
    other = changed(train={"base": base, "retention_set": "elsewhere"})
    assert differences(made, other) == ["train.retention_set was labels, is elsewhere"]
    config = tmp_path / "config.yaml"
    raw = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    config.write_text(yaml.safe_dump(raw | {"train": {"base": base, "kept": "labels"}}))
    read_campaign(config, extensions=False)
    (message,) = caplog.messages
    assert "train.kept is called train.retention_set now" in message


def test_a_flipped_bit_in_what_is_stored_is_a_difference_or_none_and_no_error(demo):
    dice = random.Random(15)
    found = 0
    for rule in ("prepare_structures", "run_md", "label_batch", "collect_dataset"):
        good = json.dumps(stored(rule, demo)).encode()
        for _ in range(150):
            content = bytearray(good)
            content[dice.randrange(len(good))] ^= 1 << dice.randrange(8)
            with suppress(ValueError):
                found += bool(differences(json.loads(bytes(content)), demo))
    assert found > 100
