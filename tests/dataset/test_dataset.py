"""The dataset: derived columns, splits, losses accounted for, and a verifier that finds each known
corruption."""

import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from collecting import collect
from pesatlas.campaign.layout import below
from pesatlas.campaign.splits import split_of
from pesatlas.config.dataset import Dataset, Split
from pesatlas.dataset.verify import verify
from pesatlas.errors import UserError
from pesatlas.tables import TableWriter, read_table, write_table
from pesatlas.tables.manifest import read_entry


def test_cohesive_energy_is_per_atom_and_relative_to_the_same_level(finished):
    for level, shift in (("pbe", 0.0), ("r2scan", -3.0)):
        for row in read_table(finished / f"dataset/{level}/part-00000.parquet", "dataset").to_pylist():
            displacement = sum((x - 2) ** 2 for x in row["positions_A"][3:])
            expected = (0.5 * displacement - 6 + shift - (-1.0 - 2.0)) / 2
            assert row["cohesive_energy_eV_per_atom"] == pytest.approx(expected, abs=1e-12)


def test_manifest_lists_every_file_and_sums_that_close(finished):
    manifest = json.loads((finished / "manifest.json").read_text())
    assert all(each["closes"] for each in manifest["sums"])
    on_disk = {p.relative_to(finished).as_posix() for p in finished.rglob("*.parquet")}
    assert {entry["file"] for entry in manifest["files"]} == on_disk


READ = [
    "structures.parquet",
    "selection.parquet",
    "labels/00000.parquet",
    "labels/00001.parquet",
    "labels/atoms.parquet",
    "failures/structures.parquet",
    "failures/label/00000.parquet",
    "select/quality.parquet",
]


@pytest.mark.parametrize("name", READ)
def test_no_flipped_bit_of_a_table_enters_the_dataset(campaign, tables, name):
    """Wherever in the file: in a page of numbers, a dictionary, or the footer."""
    results, files, _ = tables
    path = results / name
    good = path.read_bytes()
    dice = random.Random(name)
    for _ in range(20):
        position = dice.randrange(len(good))
        path.write_bytes(
            good[:position] + bytes([good[position] ^ 1 << dice.randrange(8)]) + good[position + 1 :]
        )
        with pytest.raises(UserError, match=rf"{name}: its content differs.*Delete it and run again"):
            collect(campaign, results, files)
        assert not below(results, "manifest").exists()
        assert not (results / "dataset").exists() or not list((results / "dataset").rglob("*.parquet"))
    path.write_bytes(good)
    collect(campaign, results, files)
    assert verify(results) == []


def test_a_table_that_was_edited_by_hand_is_not_collected(campaign, tables):
    results, files, _ = tables
    table = pq.read_table(files[0])
    rows = table.to_pylist()
    rows[0]["energy_eV"] -= 1
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), files[0])
    with pytest.raises(UserError, match=r"00000\.parquet: .*changed"):
        collect(campaign, results, files)


def test_both_levels_of_a_material_share_a_split(finished):
    splits = {}
    for level in ("pbe", "r2scan"):
        for row in read_table(finished / f"dataset/{level}/part-00000.parquet", "dataset").to_pylist():
            splits.setdefault(row["structure_id"], set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())


def test_split_shares_are_met_and_do_not_change_with_other_materials():
    split = Split(valid=0.1, test=0.2)
    found = [split_of(f"mp-{i}", split, 1) for i in range(20_000)]
    assert found.count("test") / 20_000 == pytest.approx(0.2, abs=0.01)
    assert found.count("valid") / 20_000 == pytest.approx(0.1, abs=0.01)
    assert found != [split_of(f"mp-{i}", split, 2) for i in range(20_000)]


def test_a_split_by_chemical_system_keeps_all_its_crystals_together(campaign, tables):
    results, files, _ = tables
    splits = set()
    for by in ("structure", "chemical_system"):
        for seed in range(20):
            campaign.campaign.seed = seed
            campaign.dataset = Dataset(split=Split(by=by, valid=0.4, test=0.4))
            collect(campaign, results, files)
            rows = read_table(below(results, "dataset", level="pbe"), "dataset").to_pylist()
            splits.add((by, len({row["split"] for row in rows})))
    assert splits == {("structure", 1), ("structure", 2), ("chemical_system", 1)}


def test_quarantined_labels_become_failures_not_rows(campaign, tables, write_labels):
    results, _, labels = tables
    labels[0] |= {"verdict": "quarantined", "verdict_rules": '["changed EDIFF"]'}
    collect(campaign, results, write_labels(results, labels))
    (row,) = read_table(below(results, "quarantine", level="pbe"), "dataset").to_pylist()
    assert row["verdict"] == "quarantined"
    assert json.loads(row["verdict_rules"]) == [
        {"rule": "calculation", "then": "quarantine", "why": "changed EDIFF"}
    ]
    assert read_entry(below(results, "dataset", level="pbe")).rows == 3
    failure = read_table(below(results, "dataset_failures"), "failures").to_pylist()
    assert [(f["key"], f["level"], f["reason"]) for f in failure] == [
        (labels[0]["snapshot_id"], "pbe", "quarantined")
    ]
    assert verify(results) == []


def test_a_lost_label_stops_the_campaign(campaign, tables, write_labels):
    results, _, labels = tables
    with pytest.raises(UserError, match="selected, at r2scan: 4 != 3 labelled"):
        collect(campaign, results, write_labels(results, labels[:-1]))
    assert not below(results, "manifest").exists()


FAILURE = {
    "stage": "explore",
    "key": "NaCl:unit:equilibrium",
    "structure_id": "NaCl",
    "level": None,
    "reason": "not_finite",
    "detail": "",
    "attempts": 1,
    "code_version": "0",
}


def test_an_equilibrium_crystal_that_fails_in_explore_is_accounted_for(campaign, tables):
    results, files, _ = tables
    path = below(results, "snapshots", batch=0)
    rows, counts = pq.read_table(path), read_entry(path).counts
    with TableWriter(path, "snapshots", "s") as writer:
        writer.counts.update(counts, equilibrium_failed=1)
        writer.write(rows)
    with pytest.raises(UserError, match="explore failures on file: 1 != 0 rows"):
        collect(campaign, results, files)
    write_table(below(results, "explore_failures", batch=0), "failures", [FAILURE], "s")
    collect(campaign, results, files)
    assert verify(results) == []


def test_a_label_that_failed_without_a_row_stops_the_campaign(campaign, tables, write_labels):
    results, _, labels = tables
    files = write_labels(results, labels[:-1], failed={1: {"r2scan": 1}})
    with pytest.raises(UserError, match="label failures on file: 1 != 0 rows"):
        collect(campaign, results, files)


def test_a_missing_isolated_atom_leaves_the_cohesive_energy_empty(campaign, tables):
    results, files, _ = tables
    atoms = read_table(below(results, "atoms"), "atoms")
    with TableWriter(below(results, "atoms"), "atoms", "s") as writer:
        writer.write(atoms.filter(pa.compute.not_equal(atoms["element"], "Na")))
    collect(campaign, results, files)
    assert (
        read_table(below(results, "dataset", level="pbe"), "dataset")[
            "cohesive_energy_eV_per_atom"
        ].null_count
        == 4
    )


def test_a_good_campaign_has_nothing_to_object_to(finished):
    assert verify(finished) == []


def test_verify_without_a_campaign_says_so(tmp_path):
    with pytest.raises(UserError, match="no finished campaign"):
        verify(tmp_path)
