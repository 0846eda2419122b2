"""Campaigns and commands killed at moments chosen by what they are doing: the same command again ends as if
nothing had been."""

from itertools import groupby

import pytest

from kill_points import COMMANDS, LEVELS, RUN, KilledCampaign, copy_to, end, prepare
from made_once import made_once

_AS_FAR_AS_LABELS = [point for point in RUN if "labels" in point.gone]
_FROM_THE_DATASET_ON = [point for point in RUN if "labels" not in point.gone]
_BY_COMMAND = {command: list(points) for command, points in groupby(COMMANDS, lambda point: point.command)}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished campaign, only to be read and copied."""
    with made_once(tmp_path_factory, "killed") as (place, is_made):
        campaign = KilledCampaign(place / "campaign")
        if not is_made:
            campaign.do("run")
    return campaign


def test_two_campaigns_on_one_store_one_of_them_killed_at_every_stage(finished, tmp_path):
    store = {"campaign.store": str(tmp_path / "store")}
    killed, calm = KilledCampaign(tmp_path / "killed", store), KilledCampaign(tmp_path / "calm", store)
    other = calm.start(["run"], calm.environment | {"STORE_INDEX_AFTER": "5000"})
    for point in _AS_FAR_AS_LABELS:
        killed.kill_at(point)
    killed.do("run")
    assert other.wait(600) == 0, calm.output
    for campaign in (killed, calm):
        campaign.do("verify")
        assert campaign.rows() == finished.rows()
        assert campaign.left_behind() == []
    assert [len(killed.dataset(level)) for level in LEVELS] == [4, 3]


@pytest.mark.first
def test_a_campaign_killed_all_the_way_from_the_labels_to_the_report(finished, tmp_path):
    killed = copy_to(finished, tmp_path / "campaign")
    killed.take_away(_FROM_THE_DATASET_ON[0].gone)
    for point in _FROM_THE_DATASET_ON:
        killed.kill_at(point)
    assert end(killed, ("run",)) == finished.bytes_of("results")
    assert killed.left_behind() == []


@pytest.mark.parametrize("command", _BY_COMMAND, ids=lambda command: " ".join(command[:2]))
def test_a_command_killed_at_every_moment_ends_as_one_that_was_not(finished, tmp_path, command):
    quiet, killed = (copy_to(finished, tmp_path / name / "campaign") for name in ("quiet", "killed"))
    for campaign in (quiet, killed):
        prepare(campaign, command)
    for point in _BY_COMMAND[command]:
        killed.kill_at(point)
    assert end(killed, command) == end(quiet, command)
    assert killed.left_behind() == []
