"""Keys of results change with settings that decide results, and with no others."""

from pesatlas.config.campaign import Campaign
from pesatlas.config.presets import preset


def changed(**sections):
    campaign, _, _ = preset("demo")
    raw = campaign.model_dump(mode="json")
    for section, values in sections.items():
        raw[section] |= values
    return Campaign.model_validate(raw)


def test_device_store_and_progress_are_not_part_of_the_identity():
    campaign, _, _ = preset("demo")
    other = changed(explore={"device": "cuda", "progress_interval_s": 1.0}, campaign={"store": "/elsewhere"})
    assert other != campaign
    assert other.identity() == campaign.identity()


def test_physics_is_part_of_the_identity():
    campaign, _, _ = preset("demo")
    for section, values in {
        "explore": {"timestep_fs": 1.0},
        "select": {"target": 5},
        "label": {"levels": ["pbe"]},
        "campaign": {"seed": 1},
    }.items():
        assert changed(**{section: values}).identity() != campaign.identity()


def test_benchmarking_potentials_changes_no_key_of_the_campaign():
    campaign, _, _ = preset("demo")
    raw = campaign.model_dump(mode="json") | {"benchmark": {"suite": "full"}}
    assert Campaign.model_validate(raw).identity() == campaign.identity()
