"""A store of many ledgers: its index is only a cache, the newest record counts, ledgers come and go."""

import contextlib
import random
import shutil
import time
from pathlib import Path

import pytest

from pesatlas.storage.ledger import Ledger
from pesatlas.storage.records import encode
from stores import Reading, assert_holds, early, fill, look, payload, size_of

INDEX = "places.index"
LEDGERS, EACH = 4, 2_000


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A store with an index: 8000 records in 4 ledgers."""
    folder = tmp_path_factory.mktemp("filled") / "store"
    for i in range(LEDGERS):
        fill(folder, f"batch-{i}", range(i * EACH, (i + 1) * EACH))
    look(folder)
    assert (folder / INDEX).exists()
    return folder


@pytest.fixture
def folder(filled, tmp_path):
    """A store as ``filled``, for one test.

    Its index is made anew, for that of another folder does not fit.
    """
    copy = tmp_path / "store"
    shutil.copytree(filled, copy, ignore=shutil.ignore_patterns(f"{INDEX}*"))
    look(copy)
    return copy


def test_with_an_index_no_ledger_is_read_again(folder):
    reading = Reading()
    store = look(folder)
    assert reading.bytes() < (folder / INDEX).stat().st_size + 60_000 < size_of(folder)
    assert_holds(store, range(LEDGERS * EACH))
    assert store.get("key") is None
    assert store.get("key8000") is None


def test_of_a_ledger_that_grew_only_the_new_part_is_read(folder):
    fill(folder, "batch-1", range(9_000, 9_010))
    fill(folder, "new", range(9_010, 9_020))
    (folder / "batch-2.ledger").open("ab").write(b'{"key": "torn')
    reading = Reading()
    store = look(folder)
    assert reading.bytes() < (folder / INDEX).stat().st_size + 60_000 < size_of(folder)
    assert_holds(store, [*range(LEDGERS * EACH), *range(9_000, 9_020)])


def test_a_small_store_has_no_index(tmp_path):
    fill(tmp_path / "store", "a", range(100))
    look(tmp_path / "store")
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["a.ledger"]


def garbage(content):
    return bytes(random.Random(3).randbytes(len(content)))


def flipped(position):
    def flip(content):
        changed = bytearray(content)
        changed[int(position * (len(content) - 1))] ^= 1
        return bytes(changed)

    return flip


@pytest.mark.parametrize(
    "spoil",
    [
        garbage,
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: content + b"x",
        lambda content: content.replace(b"index 1", b"index 2", 1),
        lambda content: b"[]\n" * 20,
        *[flipped(position) for position in (0, 0.0001, 0.001, 0.1, 0.5, 0.9, 1)],
    ],
)
def test_a_spoilt_index_is_made_again(folder, spoil):
    path = folder / INDEX
    good = path.read_bytes()
    path.write_bytes(spoil(good))
    store = look(folder)
    assert_holds(store, range(0, LEDGERS * EACH, 50))
    assert path.read_bytes() == good


def test_a_deleted_index_is_made_again(folder):
    (folder / INDEX).unlink()
    assert_holds(look(folder), range(0, LEDGERS * EACH, 50))
    assert (folder / INDEX).exists()


def test_where_the_index_cannot_be_written_everything_goes_on(folder):
    (folder / INDEX).unlink()
    (folder / f"{INDEX}.new").mkdir()
    assert_holds(look(folder), range(0, LEDGERS * EACH, 50))
    assert not (folder / INDEX).exists()


def test_the_newest_record_counts_wherever_it_is(folder):
    """In the index and out of it, earlier and later by name, and from before times were kept."""
    fill(folder, "zzz", [1], at=0)
    for name, key in (("aaa", "key1"), ("zzz", "key2")):
        with Ledger(folder / f"{name}.ledger") as ledger:
            ledger.append(key, b"newer")
    store = look(folder)
    assert [store.get(f"key{n}") for n in (1, 2, 3)] == [b"newer", b"newer", payload("key3")]
    for again in range(2):
        fill(folder, f"more-{again}", range(10_000 * (again + 1), 10_000 * (again + 1) + 6_000))
        store = look(folder)
        assert [store.get(f"key{n}") for n in (1, 2, 3)] == [b"newer", b"newer", payload("key3")]
    with store.writer("aaaa") as writer:
        writer.append("key3", b"newest")
        assert store.get("key3") == b"newest"
        # in another ledger, by another process, later still
        with Ledger(folder / "a.ledger") as other:
            other.append("key3", b"last")
        assert store.get("key3") == b"newest"
        store.refresh()
        assert store.get("key3") == b"last"
        writer.append("key3", b"the very last")
        assert store.get("key3") == b"the very last"


def test_records_of_early_versions_have_no_time_and_are_older_than_any(tmp_path):
    (tmp_path / "b.ledger").write_bytes(early("key", b"old") + early("key", b"OLD"))
    (tmp_path / "c.ledger").write_bytes(early("key", b"a little newer"))
    assert look(tmp_path).get("key") == b"a little newer", "of equal times the later by the ledger's name"
    with Ledger(tmp_path / "a.ledger") as ledger:
        ledger.append("key", b"new")
    assert look(tmp_path).get("key") == b"new"


def test_within_a_ledger_the_later_record_counts_though_the_clock_was_set_back(tmp_path, monkeypatch):
    with Ledger(tmp_path / "a.ledger") as ledger:
        ledger.append("key", b"first")
    monkeypatch.setattr(time, "time_ns", lambda: 5)
    with Ledger(tmp_path / "a.ledger") as ledger:
        ledger.append("key", b"second")
        ledger.append("key", b"third")
        assert ledger.get("key") == b"third"
    with Ledger(tmp_path / "a.ledger") as ledger:
        assert ledger.get("key") == b"third"
    assert look(tmp_path).get("key") == b"third"


@pytest.mark.parametrize("looked", [True, False], ids=["known", "since the last look"])
def test_what_a_removed_ledger_held_is_gone_and_what_it_hid_is_back(folder, looked):
    with Ledger(folder / "newer.ledger") as ledger:
        ledger.append("key1", b"newer")
        for n in range(EACH, 2 * EACH):
            ledger.append(f"key{n}", b"newer") if n % 100 == 0 else None
    (folder / INDEX).unlink()
    store = look(folder)
    (folder / "newer.ledger").unlink()
    (folder / "batch-0.ledger").rename(folder.parent / "away")
    if looked:
        store.refresh()
    for each in (store, look(folder)):
        assert each.get("key1") is None
        assert_holds(each, range(EACH, LEDGERS * EACH, 50))
    (folder.parent / "away").rename(folder / "back.ledger")
    assert_holds(look(folder), range(0, LEDGERS * EACH, 50))


def replace_by_longer(path):
    path.unlink()
    fill(path.parent, path.stem, range(20_000, 20_000 + 2 * EACH))


def overwrite_by_longer(path):
    path.open("wb").close()
    fill(path.parent, path.stem, range(20_000, 20_000 + 2 * EACH))


def overwrite_by_shorter(path):
    path.open("wb").close()
    fill(path.parent, path.stem, range(20_000, 20_000 + EACH // 2))


def replace_by_as_long(path):
    size = path.stat().st_size
    path.rename(path.with_suffix(".old"))  # so that its inode is not used again
    fill(path.parent, path.stem, range(20_000, 21_000))
    missing = size - path.stat().st_size
    records = (encode("rest", b"x" * length, 1) for length in range(missing))
    path.open("ab").write(next(record for record in records if len(record) == missing))
    assert path.stat().st_size == size


@pytest.mark.parametrize(
    "replace",
    [replace_by_longer, overwrite_by_longer, overwrite_by_shorter, replace_by_as_long],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize("looked", [True, False], ids=["known", "since the last look"])
def test_a_replaced_ledger_is_read_anew(folder, replace, looked):
    store = look(folder)
    replace(folder / "batch-0.ledger")
    if looked:
        store.refresh()
        assert_holds(store, [20_000, 20_999])
    assert store.get("key1") is None
    for each in (store, look(folder)):
        assert_holds(each, [20_000, 20_999, *range(EACH, LEDGERS * EACH, 50)])
        assert each.get("key1") is None


def test_a_ledger_rewritten_in_another_order_never_gives_the_payload_of_another_key(folder):
    """Of the same name, inode and size: only reading a record shows that it is another."""
    path = folder / "batch-0.ledger"
    store, before = look(folder), path.stat()
    path.write_bytes(b"".join(encode(f"key{n}", payload(f"key{n}"), 1) for n in reversed(range(EACH))))
    after = path.stat()
    assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size)
    for each in (store, look(folder)):
        assert_holds(each, range(LEDGERS * EACH))


def test_a_damaged_record_is_as_if_it_had_never_been_written_and_is_told_of(folder, caplog):
    path = folder / "batch-0.ledger"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"payload of key7 ", b"payload of keyX ", 1))
    for store in (look(folder), look(folder)):
        caplog.clear()
        assert store.get("key7") is None
        assert "batch-0.ledger" in caplog.text
        assert "the record of key7 is calculated again" in caplog.text
        assert_holds(store, [n for n in range(LEDGERS * EACH) if n != 7])
    with store.writer("again") as ledger:
        ledger.append("key7", payload("key7"))
    for each in (store, look(folder)):
        caplog.clear()
        assert_holds(each, range(100))
        assert caplog.text == ""


def test_of_a_damaged_record_the_one_before_it_counts(folder):
    """Whatever went back into the queue, or failed and was made again, is then done again; a neighbour's
    result serves."""
    with Ledger(folder / "newer.ledger") as ledger:
        ledger.append("key7", b"newer")
    path = folder / "newer.ledger"
    path.write_bytes(path.read_bytes().replace(b"newer", b"newfr"))
    assert look(folder).get("key7") == payload("key7")


def test_looking_up_many_keys_keeps_no_file_open(folder):
    store = look(folder)
    before = open_files(folder)
    assert_holds(store, range(0, LEDGERS * EACH, 10))
    assert open_files(folder) == before


def open_files(folder):
    """Files of ``folder`` that this process holds open; others open and close files of their own in it."""
    found = []
    for handle in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += [str(handle.readlink())] if handle.readlink().is_relative_to(folder) else []
    return sorted(found)
