"""Rules that take seconds in a small campaign, and so run where `pesatlas run` runs."""

import pytest

from pesatlas.campaign.load import read_campaign
from pesatlas.campaign.rules import RULES, quick_rules
from small_campaign import ROOT, TINY, SmallCampaign


def quick(path, changes, counts):
    """Rules that take seconds in the demo with some values changed."""
    SmallCampaign(path, changes)
    return quick_rules(read_campaign(path / "config.yaml", extensions=False), counts)


FEW = {"trajectories": 8, "cells": 8, "batches": 1}
ON_A_GPU = {"explore.device": "cuda", "encode.device": "cuda"}
AFTER_SELECTION = {"collect_dataset", "write_card", "export_dataset", "build_report"}


def test_in_a_small_campaign_all_but_dynamics_and_labels_takes_seconds(tmp_path):
    rest = {*RULES["select"], *AFTER_SELECTION, "prepare_structures"}
    # 8 trajectories of 11 frames
    assert quick(tmp_path / "cpu", TINY, FEW) == rest | {"encode_snapshots", "evaluate_potential"}
    # what runs on a GPU needs a job, for there is none on a login node
    assert quick(tmp_path / "gpu", TINY | ON_A_GPU, FEW) == rest


def test_before_structures_are_there_only_what_the_configuration_limits_takes_seconds(tmp_path):
    limited = {"prepare_structures", "write_card", "export_dataset", "evaluate_potential"}
    assert quick(tmp_path, TINY, {}) == limited


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({"explore.length_ps": 100.0}, FEW | {"trajectories": 8_000}),
        ({"select.reference": ["elsewhere.extxyz"]}, FEW),
    ],
    ids=["many frames", "frames of others"],
)
def test_a_selection_from_many_frames_is_left_to_jobs_however_few_are_labelled(tmp_path, changes, counts):
    found = quick(tmp_path, TINY | changes, counts)
    assert not found & {*RULES["select"], "collect_dataset", "build_report", "encode_snapshots"}
    assert {"write_card", "export_dataset"} <= found


def test_crystals_are_prepared_by_a_job_where_there_is_much_to_read(tmp_path):
    files = tmp_path / "crystals"
    files.mkdir()
    changes = TINY | {"structures.sources": [{"kind": "files", "paths": [str(files / "*.cif")]}]}
    (files / "a.cif").write_bytes(b" " * 1_500_000)
    assert "prepare_structures" in quick(tmp_path / "few", changes, {})
    (files / "b.cif").write_bytes(b" " * 1_500_000)
    assert "prepare_structures" not in quick(tmp_path / "many", changes, {})


def test_a_campaign_of_the_size_of_matpes_keeps_a_job_for_each_batch_of_each_rule():
    campaign = read_campaign(ROOT / "config" / "matpes.yaml", extensions=False)
    assert quick_rules(campaign, {"trajectories": 300_000, "cells": 300_000, "batches": 750}) == set()
