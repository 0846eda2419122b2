"""Archived inputs and outputs come back, of labels and of failures, by any of their names."""

import pytest

from labelling import label_atoms_of, label_batch_of
from pesatlas.campaign.layout import below
from pesatlas.errors import UserError
from pesatlas.label.archived_outputs import unpack_outputs
from pesatlas.tables import FailureReason, read_table, write_table

NAME = "a:unit:300K-0GPa:0003500"


@pytest.fixture
def results(campaign, select, tmp_path, double):
    """Two snapshots, of which the second fails at r2SCAN."""
    folder = tmp_path / "results"
    folder.mkdir()
    double.fail = {("r2scan", 3.5): [FailureReason.NOT_CONVERGED]}
    selection = select(3.0, 3.5, name="results/selection")
    label_batch_of(
        campaign,
        0,
        selection,
        folder / "labels/00000.parquet",
        folder / "failures/label/00000.parquet",
        tmp_path / "work",
    )
    return folder


def read(files):
    return {path.parent.name: path.read_text() for path in files}


def test_a_snapshot_gives_every_level_the_failed_one_too(campaign, results, tmp_path):
    files = unpack_outputs(campaign.label, campaign.campaign, results, NAME, tmp_path / "to")
    assert read(files) == {"pbe": "pbe 3.5", "r2scan": "r2scan 3.5"}


def test_a_label_key_gives_that_calculation(campaign, results, tmp_path):
    rows = read_table(below(results, "labels", batch=0), "labels").to_pylist()
    row = next(row for row in rows if row["level"] == "r2scan")
    assert read(
        unpack_outputs(campaign.label, campaign.campaign, results, row["label_key"], tmp_path / "to")
    ) == {"to": "r2scan 3.0"}


def test_a_label_made_when_the_level_was_another_is_found(campaign, results, tmp_path):
    raw = campaign.model_dump(mode="json")
    raw["label"]["backend"]["quality"] = "standard"
    other = type(campaign).model_validate(raw)
    assert read(unpack_outputs(other.label, other.campaign, results, NAME, tmp_path / "to")) == {
        "pbe": "pbe 3.5"
    }


def test_without_the_potcars_of_the_level_labels_are_found_by_their_names(
    campaign, results, tmp_path, monkeypatch
):
    """As on a colleague's laptop: the level of a VASP campaign cannot be made there, its labels are named."""
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(tmp_path / "nothing"))
    raw = campaign.model_dump(mode="json")
    raw["label"]["backend"] = {"kind": "vasp", "command": "vasp_std", "vasp_version": "6.4.3"}
    other = type(campaign).model_validate(raw)
    assert read(unpack_outputs(other.label, other.campaign, results, NAME, tmp_path / "to")) == {
        "pbe": "pbe 3.5"
    }


def test_an_isolated_atom(campaign, tmp_path, double):
    cells = [
        {
            "numbers": [14],
            "cell_A": [5.0] * 9,
            "positions_A": [0.0] * 3,
            "conditions": [],
            "n_atoms": 1,
            "batch": 0,
            "warnings": [],
        }
    ]
    texts = dict.fromkeys(("structure_id", "variant", "domain", "formula", "source", "code_version"), "x")
    write_table(tmp_path / "s.parquet", "structures", [cells[0] | texts], "s")
    label_atoms_of(
        campaign, tmp_path / "s.parquet", tmp_path / "a.parquet", tmp_path / "f.parquet", tmp_path / "work"
    )
    files = unpack_outputs(campaign.label, campaign.campaign, tmp_path, "atom:Si", tmp_path / "to")
    assert sorted(path.parent.name for path in files) == ["pbe", "r2scan"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a:unit:300K-0GPa:0009999", "is not in .*selection.parquet"),
        ("../../etc/passwd", "is not in .*selection.parquet"),
        ("0" * 32, "nothing of 0{32} is archived in"),
        ("atom:Si", "nothing of atom:Si is archived"),
        ("atom:Xx", "not a chemical symbol"),
    ],
)
def test_what_is_not_there_is_said_and_writes_nothing(campaign, results, tmp_path, name, message):
    with pytest.raises(UserError, match=message):
        unpack_outputs(campaign.label, campaign.campaign, results, name, tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_files_that_are_there_are_not_overwritten(campaign, results, tmp_path):
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        unpack_outputs(campaign.label, campaign.campaign, results, NAME, tmp_path / "to")
