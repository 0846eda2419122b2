"""The split valid has materials wherever there are three; nothing moves between train and test; what is
empty is said."""

import io
import json

import pytest
from rich.console import Console

from collecting import collect
from pesatlas.campaign.layout import below
from pesatlas.campaign.splits import Materials, split_of
from pesatlas.config.dataset import Card, Dataset, Split
from pesatlas.dataset.card import write_card
from pesatlas.dataset.export import export_dataset, formats
from pesatlas.report.summary import summary
from pesatlas.tables import read_table

SIX = ("A", "B", "C", "D", "E", "F")
"""Six crystals of one frame each, of which the first four are picked."""


@pytest.fixture
def six(tmp_path, write_tables):
    return write_tables(tmp_path / "results", SIX, (50,))


def splits_of(results, level="pbe"):
    rows = read_table(below(results, "dataset", level=level), "dataset").to_pylist()
    return {row["structure_id"]: row["split"] for row in rows}


def said(results):
    console = Console(file=io.StringIO(), width=80)
    console.print(summary(results))
    return " ".join(console.file.getvalue().split())


@pytest.mark.parametrize("by_chance", [True, False])
def test_valid_is_never_empty_where_there_are_three_materials(campaign, six, by_chance):
    results, files, _ = six
    moved = 0
    for seed in range(30):
        campaign.campaign.seed = seed
        campaign.dataset = Dataset(split=Split(valid=0.2 if by_chance else 1e-9, test=0.3))
        collect(campaign, results, files)
        manifest = json.loads(below(results, "manifest").read_text())
        found = splits_of(results)
        assert "valid" in found.values()
        assert splits_of(results, "r2scan") == found
        by_number = {name: split_of(name, campaign.dataset.split, seed) for name in found}
        changed = [name for name in found if found[name] != by_number[name]]
        assert changed == manifest["splits"]["moved_to_valid"]
        assert len(changed) == ("valid" not in by_number.values())
        # from train, unless that would be left with nothing
        if list(by_number.values()).count("train") > 1:
            assert all(by_number[name] == "train" for name in changed)
        moved += len(changed)
    assert moved == 30 or by_chance


def test_it_is_the_same_every_time_and_is_told(campaign, six):
    results, files, _ = six
    campaign.dataset = Dataset(split=Split(valid=1e-9, test=0.0))
    collect(campaign, results, files)
    first = splits_of(results)
    (name,) = [name for name, split in first.items() if split == "valid"]
    collect(campaign, results, files)
    assert splits_of(results) == first
    write_card(Card(), results)
    told = f"Moved to the split valid, which would have been empty: {name}."
    assert told in said(results)
    assert told in below(results, "card_page").read_text()


def test_a_rule_that_keeps_all_rows_of_valid_out_has_it_filled_from_the_others(campaign, six, write_labels):
    results, files, labels = six
    campaign.dataset = Dataset(split=Split(valid=1e-9, test=0.0))
    collect(campaign, results, files)
    (name,) = [name for name, split in splits_of(results).items() if split == "valid"]
    for row in labels:
        if row["structure_id"] == name and row["level"] == "r2scan":
            row["converged"] = False
    collect(campaign, results, write_labels(results, labels))
    for level in ("pbe", "r2scan"):
        found = splits_of(results, level)
        assert "valid" in found.values()
        # of two materials that may be moved, the one that every level has
        assert found[min(set(found) - {name}, key=lambda n: found[n] != "valid")] == "valid"
    assert splits_of(results)[name] == "train"


def test_what_is_empty_is_said_by_summary_card_and_every_export(campaign, tables, tmp_path):
    results, files, _ = tables  # two crystals
    campaign.dataset = Dataset(split=Split(valid=1e-9, test=1e-9))
    collect(campaign, results, files)
    write_card(Card(), results)
    told = "The splits valid and test are empty at pbe. 2 materials with accepted rows"
    assert told in said(results)
    assert told in below(results, "card_page").read_text()
    assert json.loads(below(results, "card").read_text())["splits"]["accepted"]["pbe"] == {
        "train": {"materials": 2, "rows": 4},
        "valid": {"materials": 0, "rows": 0},
        "test": {"materials": 0, "rows": 0},
    }
    for kind in formats():
        export_dataset(results, kind, tmp_path / kind, verdicts=["accepted"])
        record = json.loads((tmp_path / kind / "export.json").read_text())
        assert "The splits valid and test are empty at pbe." in record["remarks"]
        readme = (tmp_path / kind / "README.md").read_text()
        assert "The splits valid and test are empty at r2scan." in readme
        assert "| pbe | 4 | 0 | 0 |" in readme
        assert "README.md" in {file["file"] for file in record["files"]}


def test_nothing_is_said_where_all_splits_have_rows(campaign, six):
    results, files, _ = six
    seeds = (seed for seed in range(1000) if _all_three(seed))
    campaign.campaign.seed = next(seeds)
    campaign.dataset = Dataset(split=Split(valid=0.3, test=0.3))
    collect(campaign, results, files)
    assert "split" not in said(results)


def _all_three(seed):
    split = Split(valid=0.3, test=0.3)
    return {split_of(name, split, seed) for name in SIX[:4]} == {"train", "valid", "test"}


def test_a_share_of_zero_is_a_choice_and_stays(campaign, six):
    results, files, _ = six
    campaign.dataset = Dataset(split=Split(valid=0.0, test=0.0))
    collect(campaign, results, files)
    assert set(splits_of(results).values()) == {"train"}
    assert "dataset.split.valid is 0" in said(results)


def test_a_material_of_a_round_before_keeps_its_split(campaign, six, tmp_path, write_tables):
    first, files, _ = six
    campaign.dataset = Dataset(split=Split(valid=1e-9, test=0.0))
    collect(campaign, first, files)
    before = splits_of(first)
    results, files, _ = write_tables(tmp_path / "second/results", ("X", "Y", "A", "B", "C", "D"), (50,))
    rounds = [first / f"dataset/{level}/part-00000.parquet" for level in campaign.label.levels]
    # other shares: without the round before, all would be tested on
    campaign.dataset = Dataset(split=Split(valid=1e-9, test=0.999))
    collect(campaign, results, files, rounds)
    found = splits_of(results)
    assert {name: found[name] for name in ("A", "B")} == {name: before[name] for name in ("A", "B")}
    # of the two new ones, at most
    assert {name for name in found if found[name] == "valid"} - set(before) <= {"X", "Y"}


def test_a_crystal_whose_elements_train_has_too_goes_first():
    split = Split(valid=1e-9, test=0.0)
    for seed in range(20):
        materials = Materials(split, seed, ["pbe"])
        for name, numbers in {"Al": [13], "Si": [14], "NaCl": [11, 17], "SiC": [14, 6], "C": [6]}.items():
            materials.accept("pbe", name, numbers)
        assert materials.fill_valid()
        assert materials.moved[0] in {"Si", "SiC", "C"}


def test_train_keeps_half_of_its_rows_if_it_can():
    split = Split(valid=1e-9, test=0.0)
    for seed in range(10):
        materials = Materials(split, seed, ["pbe"])
        for name, rows in {"A": 5, "B": 1, "C": 1, "D": 1}.items():
            for _ in range(rows):
                materials.accept("pbe", name, [14])
        assert materials.fill_valid()
        assert materials.moved[0] != "A"


def test_a_growing_dataset_moves_materials_between_train_and_valid_alone():
    split = Split(valid=0.05, test=0.1)
    names = [f"mp-{i}" for i in range(60)]
    for seed in range(10):
        seen = {}
        for count in range(1, len(names) + 1):
            materials = Materials(split, seed, ["pbe"])
            for name in names[:count]:
                materials.accept("pbe", name, [14])
            materials.fill_valid()
            for name in names[:count]:
                seen.setdefault(name, set()).add(materials.of(name))
        # a dataset of three whose materials are all but one in test is the exception that the docstring names
        mixed = [name for name, splits in seen.items() if {"train", "test"} <= splits]
        assert mixed == []
        assert {name for name, splits in seen.items() if splits == {"test"}} >= {
            name for name in names[10:] if split_of(name, split, seed) == "test"
        }
