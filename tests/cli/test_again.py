"""Options of Snakemake's with which files are made again."""

from pathlib import Path

import pytest

from pesatlas.cli.again import Again, forcing

LOST = Again((Path("results/labels/00001.parquet"),))


@pytest.mark.parametrize(
    "theirs",
    [
        ["-R", "fit_pca", "--cores", "2"],
        ["--cores", "2", "--forcerun", "fit_pca"],
        ["--forcerun=fit_pca", "--cores", "2"],
        ["-Rfit_pca", "--cores", "2"],
        ["--cores", "2", "-R", "pick_snapshots", "--forcerun", "fit_pca"],  # the last one counts
    ],
)
def test_what_a_person_forces_and_what_is_lost_are_forced_together(theirs):
    made = ["--forcerun", "fit_pca", "results/labels/00001.parquet", "--cores", "2"]
    assert forcing(LOST, theirs) == made
    assert forcing(Again(), theirs) == theirs


def test_targets_stay_targets():
    found = forcing(LOST, ["--profile", "local", "results/card.json", "-n"])
    assert found[2:] == ["--profile", "local", "results/card.json", "-n"]
