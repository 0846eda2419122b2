"""Damaged and cut-off records of a ledger: sound ones go back, and their number is told."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from pesatlas.cli.main import app
from pesatlas.storage.ledger import Ledger
from pesatlas.storage.records import encode
from pesatlas.storage.salvage import repair_store
from stores import look

NAMES = [f"key{n}" for n in range(400)]


def record(name, at=1):
    return encode(name, name.encode() * 20, at)


def holds(folder, names=NAMES):
    store = look(folder)
    return [n for n in names if store.get(n) == n.encode() * 20]


def repair(*arguments, expect=0):
    done = CliRunner().invoke(app, ["store", "repair", *map(str, arguments)])
    assert done.exit_code == expect, done.output
    return " ".join(done.output.split())


@pytest.fixture
def cut(tmp_path):
    """A store as an early version left it: at a damaged header, it had cut off all that followed."""
    folder = tmp_path / "store" / "labels"
    folder.mkdir(parents=True)
    encoded = [record(name, i + 1) for i, name in enumerate(NAMES)]
    encoded[3] = b"[" + encoded[3][1:]
    (folder / "a.ledger").write_bytes(b"".join(encoded[:3]))
    (folder / "a.ledger.torn").write_bytes(b"".join(encoded[3:]))
    return folder


def test_what_was_cut_off_goes_back(cut):
    assert len(holds(cut)) == 3
    said = repair(cut.parent, "--dry-run")
    assert "396 that had been cut off would go back" in said
    assert len(holds(cut)) == 3
    assert "396 that had been cut off went back" in repair(cut.parent)
    assert holds(cut) == [n for n in NAMES if n != "key3"]
    with Ledger(cut / "a.ledger") as ledger:
        assert [n for n in NAMES if n not in ledger] == ["key3"]
    # what nobody can read is kept until somebody deletes it, as the command says
    assert (cut / "a.ledger.torn").stat().st_size == len(record("key3", 4))
    assert "0 that had been cut off went back" in repair(cut.parent)
    (cut / "a.ledger.torn").unlink()
    assert "is whole: 399 records" in repair(cut.parent)


def test_what_was_made_again_meanwhile_counts_before_what_goes_back(cut):
    with Ledger(cut / "b.ledger") as ledger:
        ledger.append("key9", b"made again")
    repair(cut.parent)
    store = look(cut)
    assert store.get("key9") == b"made again"
    assert store.get("key10") == b"key10" * 20


def test_a_ledger_that_is_gone_comes_back_from_its_tail(cut):
    (cut / "a.ledger").unlink()
    repair(cut.parent)
    assert holds(cut) == NAMES[4:]


def test_damage_inside_a_ledger_is_taken_out_of_it_and_told(tmp_path, caplog):
    folder = tmp_path / "store"
    folder.mkdir()
    content = bytearray(b"".join(record(name) for name in NAMES))
    content[content.index(b"key7key7") + 2] ^= 1
    content[content.index(b'{"key": "key9"') + 3] ^= 1
    (folder / "a.ledger").write_bytes(content)
    assert [n for n in NAMES if n not in holds(folder)] == ["key7", "key9"]
    said = repair(folder)
    assert (
        "398 intact records in 1 ledgers; 0 that had been cut off went back; 1 are damaged for good" in said
    )
    assert "the record of key7 is damaged" in said
    caplog.clear()
    assert [n for n in NAMES if n not in holds(folder)] == ["key7", "key9"]
    assert caplog.text == ""
    # nothing was thrown away
    aside = (folder / "a.ledger.torn").read_bytes()
    assert len(aside) + (folder / "a.ledger").stat().st_size == len(content)


def test_a_ledger_that_a_job_works_on_is_left_alone(cut):
    with Ledger(cut / "a.ledger"):
        before = (cut / "a.ledger.torn").read_bytes()
        assert "a job works on it" in repair(cut.parent)
        assert (cut / "a.ledger.torn").read_bytes() == before


def test_a_file_of_another_program_is_left_as_it_is(cut):
    theirs = cut / "money.ledger"
    theirs.write_text("2026/01/01 opening\n  assets:cash  $5\n")
    assert "nothing in it is a record of pesatlas; it is left as it is" in repair(cut)
    assert theirs.read_text() == "2026/01/01 opening\n  assets:cash  $5\n"
    assert not (cut / "money.ledger.torn").exists()
    # the others are repaired
    assert len(holds(cut)) == 399


def test_a_folder_that_is_no_store_is_refused(tmp_path):
    assert "is not the folder of a store" in repair(tmp_path / "nothing", expect=1)


STOPPED = """
import os, sys
from pathlib import Path
import pesatlas.storage.salvage as salvage
left = [int(sys.argv[2])]
real = os.fsync
def fsync(descriptor):
    left[0] -= 1
    if left[0] < 0:
        os._exit(9)
    real(descriptor)
os.fsync = fsync
for _ in salvage.repair_store(Path(sys.argv[1])):
    pass
"""


@pytest.mark.parametrize("after", range(8))
def test_stopped_at_any_moment_doing_it_again_does_the_rest(cut, after):
    """The process ends at each of its writes in turn."""
    with (cut / "a.ledger").open("r+b") as handle:
        handle.seek(60 + (cut / "a.ledger").stat().st_size // 3)
        handle.write(b"?")  # so that the ledger is rewritten as well
    before = set(holds(cut)) | set(NAMES[4:])
    subprocess.run([sys.executable, "-c", STOPPED, str(cut), str(after)], check=False)
    list(repair_store(cut))
    assert set(holds(cut)) == before
    assert sorted(p.name for p in cut.iterdir() if not p.name.endswith(".lock")) == [
        "a.ledger",
        "a.ledger.torn",
    ]
