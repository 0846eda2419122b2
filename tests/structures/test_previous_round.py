"""Starts from the round before: the frames farthest from all picks, spread out, and the same every time."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from pesatlas import testing
from pesatlas.campaign.layout import below
from pesatlas.errors import UserError
from pesatlas.structures.crystal import Crystal
from pesatlas.structures.sources.previous_round import Options, check, farthest_first, load
from pesatlas.tables import read_table

FINISHED = Path(__file__).parents[1] / "dataset" / "schema_2"


class TestPreviousRound(testing.SourceTests):
    kind = "previous_round"
    other_options = {"count": 1}

    @pytest.fixture(scope="class")
    @classmethod
    def given(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("round-1")
        shutil.copytree(FINISHED, folder / "results")
        return {"previous": str(folder), "count": 3}


@pytest.fixture
def finished(tmp_path):
    shutil.copytree(FINISHED, tmp_path / "round-1" / "results")
    return tmp_path / "round-1"


def test_frames_that_were_not_picked_come_farthest_first(finished):
    results = finished / "results"
    found = list(load(Options(previous=finished, count=3)))
    assert all(isinstance(crystal, Crystal) for crystal in found)
    picked = set(read_table(below(results, "selection"), "selection")["snapshot_id"].to_pylist())
    frames = {
        row["snapshot_id"]: row
        for path in sorted((results / "snapshots").glob("?????.parquet"))
        for row in read_table(path, "snapshots").to_pylist()
    }
    points = {
        row["snapshot_id"]: np.array(row["structure_pcs"])
        for path in sorted((results / "select/clusters").glob("?????.parquet"))
        for row in read_table(path, "clusters").to_pylist()
    }
    taken = [points[name] for name in picked]
    names = [crystal.source.removeprefix("previous_round ") for crystal in found]
    free = sorted(set(frames) - picked)
    for crystal, name in zip(found, names, strict=True):
        apart = {n: min(np.linalg.norm(points[n] - other) for other in taken) for n in free}
        assert apart[name] == pytest.approx(max(apart.values()))
        taken.append(points[name])
        free.remove(name)
        np.testing.assert_array_equal(crystal.numbers, frames[name]["numbers"])
        np.testing.assert_allclose(crystal.positions.ravel(), frames[name]["positions_A"])
        assert crystal.structure_id.startswith(frames[name]["structure_id"])
    again = list(load(Options(previous=results, count=3)))  # its results may be named, too
    assert [crystal.structure_id for crystal in again] == [crystal.structure_id for crystal in found]


def test_cells_of_other_domains_are_left_alone(finished):
    assert list(load(Options(previous=finished, count=3, domains=["surface"]))) == []


def test_a_frame_that_is_taken_counts_for_the_next():
    # two far frames side by side, and a nearer one elsewhere; the last column is the distance to the picks
    points = np.array([[10.0, 0.0, 10.0], [10.1, 0.0, 10.1], [0.0, 4.0, 4.0], [0.0, 0.05, 0.05]])
    assert farthest_first(points, 3) == [1, 2, 0]
    assert farthest_first(points, 9) == [1, 2, 0, 3]


def test_a_campaign_that_has_not_finished_is_refused(finished):
    (finished / "results" / "manifest.json").unlink()
    with pytest.raises(UserError, match="has not finished"):
        check(Options(previous=finished))
