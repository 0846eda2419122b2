"""Bits flipped in the store of a campaign that has labels: what was hit is calculated again, with a warning,
and nothing else."""

import random
import shutil

import pytest

from labelling import label_batch_of
from pesatlas.tables import read_table


@pytest.fixture
def labelled(campaign, select, double, tmp_path):
    """A batch with its labels; ``again`` makes its tables again and returns which were calculated, and the
    rows."""
    selection = select(3.0, 3.5, 4.0, 4.5)

    def again():
        before = double.count()
        tables = [tmp_path / f"{name}.parquet" for name in ("labels", "failures")]
        label_batch_of(campaign, 0, selection, *tables, tmp_path / "work")
        rows = read_table(tables[0], "labels").to_pylist()
        return double.count() - before, [{k: v for k, v in row.items() if k != "wall_s"} for row in rows]

    made, rows = again()
    assert (made, len(rows)) == (8, 8)
    assert again() == (0, rows)
    return again, rows


def ledger(tmp_path):
    (path,) = (tmp_path / "store/labels").glob("*.ledger")
    return path


@pytest.mark.parametrize("where", ["payload", "header"])
def test_one_flipped_bit_costs_one_calculation(labelled, tmp_path, caplog, where):
    again, rows = labelled
    path = ledger(tmp_path)
    good = path.read_bytes()
    dice = random.Random(3)
    for _ in range(12):
        start = dice.choice([i for i in range(len(good)) if good.startswith(b'{"key": "', i)])
        middle = good.index(b"\n", start)
        position = dice.randrange(
            *((start, middle) if where == "header" else (middle + 1, good.index(b"\n", middle + 1)))
        )
        changed = bytearray(good)
        changed[position] ^= 1 << dice.randrange(8)
        path.write_bytes(changed)
        caplog.clear()
        assert again() == (1, rows)
        assert "calculated again when" in caplog.text
        assert again() == (0, rows)


def test_the_outputs_of_a_damaged_calculation_are_kept_again(labelled, tmp_path):
    again, _ = labelled
    path = ledger(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"energy_eV": ', b'"energy_fV": ', 1))
    (outputs,) = (tmp_path / "store/outputs").glob("*.ledger")
    before = outputs.stat().st_size
    assert again()[0] == 1
    assert outputs.stat().st_size > before


def test_a_store_that_is_gone_costs_everything_and_a_broken_index_nothing(labelled, tmp_path):
    again, rows = labelled
    (tmp_path / "store/labels/places.index").write_bytes(b"rotten")
    assert again() == (0, rows)
    shutil.rmtree(tmp_path / "store/labels")
    assert again() == (8, rows)


def test_labels_of_a_neighbour_are_taken_and_can_be_made_again(labelled, campaign, select, double, tmp_path):
    _, rows = labelled
    raw = campaign.model_dump(mode="json")
    raw["campaign"] |= {"store": str(tmp_path / "own"), "read_stores": [str(tmp_path / "store")]}
    mine = type(campaign).model_validate(raw)
    tables = [tmp_path / f"mine-{name}.parquet" for name in ("labels", "failures")]
    theirs = ledger(tmp_path).read_bytes()
    calls = double.count()
    label_batch_of(mine, 0, select(3.0, 3.5, 4.0, 4.5, 5.0), *tables, tmp_path / "work")
    assert double.count() == calls + 2, "the one that they do not have, at two levels"
    found = read_table(tables[0], "labels").to_pylist()
    assert [{k: v for k, v in row.items() if k != "wall_s"} for row in found][:8] == rows
    assert ledger(tmp_path).read_bytes() == theirs
