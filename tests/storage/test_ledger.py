"""Results that are durable one by one: torn tails, damage, locks, sharing."""

import os
import signal
import subprocess
import sys
import time

import pytest

from pesatlas.storage.ledger import Ledger, Lock
from pesatlas.storage.store import Store


def test_what_was_appended_is_there_after_reopening(tmp_path):
    path = tmp_path / "a.ledger"
    with Ledger(path) as ledger:
        ledger.append("one", b"first\nwith newline")
        ledger.append("two", b"")
    with Ledger(path) as ledger:
        assert ledger.get("one") == b"first\nwith newline"
        assert ledger.get("two") == b""
        assert "two" in ledger
        assert ledger.get("three") is None


def test_later_record_replaces_earlier_one(tmp_path):
    with Ledger(tmp_path / "a.ledger") as ledger:
        ledger.append("key", b"failed")
        ledger.append("key", b"done")
        assert ledger.get("key") == b"done"
    store = Store(tmp_path)
    store.refresh()
    assert store.get("key") == b"done"


@pytest.mark.parametrize("lost", range(1, 40, 3))
def test_a_torn_tail_costs_only_the_torn_record(tmp_path, lost):
    path = tmp_path / "a.ledger"
    with Ledger(path) as ledger:
        ledger.append("whole", b"x" * 50)
        ledger.append("torn", b"y" * 50)
    os.truncate(path, path.stat().st_size - lost)
    store = Store(tmp_path)
    store.refresh()
    assert store.get("whole") == b"x" * 50
    assert store.get("torn") is None
    with Ledger(path) as ledger:
        assert "torn" not in ledger
        ledger.append("torn", b"again")
    store.refresh()
    assert store.get("torn") == b"again"
    assert store.get("whole") == b"x" * 50


def test_damage_in_the_middle_costs_one_record_and_says_so(tmp_path, caplog):
    path = tmp_path / "a.ledger"
    with Ledger(path) as ledger:
        for name in ("a", "b", "c"):
            ledger.append(name, name.encode() * 100)
    content = bytearray(path.read_bytes())
    content[content.index(b"bbbb") + 3] = ord("X")
    path.write_bytes(content)
    store = Store(tmp_path)
    store.refresh()
    assert store.get("b") is None
    assert store.get("c") == b"c" * 100
    assert "the record of b is calculated again" in caplog.text
    caplog.clear()
    with Ledger(path) as ledger:
        assert "the record of b is calculated again" in caplog.text
        assert "b" not in ledger
        assert ledger.get("c") == b"c" * 100


def test_a_reader_sees_what_other_writers_add(tmp_path):
    reader, own = Store(tmp_path / "store"), Store(tmp_path / "store")
    reader.refresh()
    assert reader.get("k") is None
    with own.writer("batch-1") as one, Store(tmp_path / "store").writer("batch-2") as two:
        one.append("k", b"1")
        two.append("l", b"2")
        assert own.get("k") == b"1", "what is written through a store is known to it at once"
        assert own.get("l") is None
    assert reader.get("k") is None
    for store in (reader, own):
        store.refresh()
        assert store.get("k") == b"1"
        assert store.get("l") == b"2"


@pytest.mark.parametrize("name", ["../x", "a/b", "", "a b", "x;y"])
def test_segment_names_cannot_leave_the_folder(tmp_path, name):
    with pytest.raises(ValueError, match="segment"):
        Store(tmp_path).writer(name)


WRITER = """
import sys
from pathlib import Path
from pesatlas.storage.ledger import Ledger
with Ledger(Path(sys.argv[1])) as ledger:
    print("locked", flush=True)
    for i in range(10**9):
        ledger.append(f"key{i}", b"z" * 1000)
        print(i, flush=True)
"""


def test_killed_writer_loses_nothing_it_had_reported_and_leaves_no_lock(tmp_path):
    path = tmp_path / "a.ledger"
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    reported = [process.stdout.readline() for _ in range(30)]
    process.send_signal(signal.SIGKILL)
    process.wait()
    last = int(reported[-1])
    with Ledger(path) as ledger:
        assert all(f"key{i}" in ledger for i in range(last + 1))


HOLDER = """
import sys, time
from pathlib import Path
from pesatlas.storage.ledger import Lock
with Lock(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_lock_waits_for_its_owner_to_end(tmp_path):
    path = tmp_path / "lock"
    owner = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    owner.stdout.readline()
    started = time.monotonic()
    killer = subprocess.Popen(["sh", "-c", f"sleep 1; kill -9 {owner.pid}"])
    with Lock(path, poll_s=0.05):
        waited = time.monotonic() - started
    killer.wait()
    owner.wait()
    assert 0.5 < waited < 30
