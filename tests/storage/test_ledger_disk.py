"""A full disk costs the record that did not fit, and nothing else; files are nobody else's to write."""

import os
import shutil
import stat
import subprocess
import sys

import pytest

from pesatlas.errors import UserError
from pesatlas.storage.ledger import Ledger, Lock
from pesatlas.storage.store import Store

BIG = b"b" * 40_000


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("file systems can't be mounted here; the file limit is tested everywhere")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_costs_only_the_record_that_did_not_fit(small_disk):
    path = small_disk / "a.ledger"
    with Ledger(path) as ledger:
        ledger.append("one", BIG)
        size = path.stat().st_size
        for _ in range(2):
            with pytest.raises(
                UserError, match=r"a\.ledger could not be written \(No space left on device\)"
            ):
                ledger.append("two", BIG)
            assert path.stat().st_size == size
        assert "two" not in ledger
        ledger.append("small", b"fits")
        subprocess.run(["mount", "-o", "remount,size=256k", str(small_disk)], check=True)
        ledger.append("two", BIG)
    with Ledger(path) as ledger:
        assert [ledger.get(key) for key in ("one", "small", "two")] == [BIG, b"fits", BIG]
    assert sorted(p.name for p in small_disk.iterdir()) == ["a.ledger", "a.ledger.lock"]


def test_a_ledger_on_a_disk_that_is_full_already(small_disk):
    (small_disk / "filler").write_bytes(b"x" * 65_536)
    with (
        pytest.raises(UserError, match=r"a\.ledger.*No space left on device"),
        Ledger(small_disk / "a.ledger") as ledger,
    ):
        ledger.append("one", BIG)
    (small_disk / "filler").unlink()
    with Ledger(small_disk / "a.ledger") as ledger:
        ledger.append("one", BIG)
        assert ledger.get("one") == BIG


def test_an_index_that_finds_no_room_takes_none(small_disk, monkeypatch):
    monkeypatch.setattr("pesatlas.storage.store._INDEX_AFTER", 0)
    store = Store(small_disk)
    with store.writer("a") as writer:
        for n in range(400):
            writer.append(f"key{n}", b"x")
    room = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(b"x" * (room.f_bavail * room.f_frsize))
    store.refresh()
    assert store.get("key399") == b"x"
    assert sorted(p.name for p in small_disk.glob("places*")) in ([], ["places.index.lock"])
    (small_disk / "filler").unlink()
    store.refresh()
    assert (small_disk / "places.index").exists()


LIMITED = """
import resource, signal, sys
from pathlib import Path
from pesatlas.errors import UserError
from pesatlas.storage.ledger import Ledger
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, resource.RLIM_INFINITY))
big = b"b" * 40_000
with Ledger(Path(sys.argv[1])) as ledger:
    ledger.append("one", big)
    try:
        ledger.append("two", big)
    except UserError as error:
        print(error)
    ledger.append("small", b"fits")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    ledger.append("two", big)
"""


def test_a_write_cut_short_is_taken_back(tmp_path):
    """The file limit: the operating system writes 25 kB of the record and refuses the rest."""
    path = tmp_path / "a.ledger"
    done = subprocess.run([sys.executable, "-c", LIMITED, path], capture_output=True, text=True, check=True)
    assert f"{path} could not be written (File too large)" in done.stdout
    assert "run the same command again" in done.stdout
    with Ledger(path) as ledger:
        assert [ledger.get(key) for key in ("one", "small", "two")] == [BIG, b"fits", BIG]
    assert not path.with_name("a.ledger.torn").exists()


FAILING = """
import os, sys
from pathlib import Path
from pesatlas.storage.ledger import Ledger
with Ledger(Path(sys.argv[1])) as ledger:
    ledger.append("one", b"1")
    real = os.fsync
    def fsync(descriptor):
        raise OSError(28, "No space left on device")
    os.fsync = fsync
    try:
        ledger.append("two", b"2" * 100)
    except Exception as error:
        print(type(error).__name__, flush=True)
    os._exit(9)
"""


def test_a_record_that_was_written_but_may_not_be_on_the_disk_is_taken_back(tmp_path):
    """Quotas and network file systems refuse at fsync; killed right after, nothing of the record is left."""
    path = tmp_path / "a.ledger"
    done = subprocess.run([sys.executable, "-c", FAILING, path], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (9, "UserError\n")
    assert path.read_bytes().count(b'{"key"') == 1
    with Ledger(path) as ledger:
        assert ledger.get("one") == b"1"
        assert "two" not in ledger


@pytest.mark.parametrize(
    ("umask", "files", "folder"), [(0o000, 0o664, 0o775), (0o022, 0o644, 0o755), (0o077, 0o600, 0o700)]
)
def test_files_are_never_writable_by_everyone(tmp_path, umask, files, folder, monkeypatch):
    monkeypatch.setattr("pesatlas.storage.store._INDEX_AFTER", 0)
    before = os.umask(umask)
    try:
        store = Store(tmp_path / "store")
        with store.writer("a") as writer, Lock(tmp_path / "store" / "other.lock"):
            writer.append("key", b"1")
        os.truncate(tmp_path / "store/a.ledger", 10)
        with store.writer("a") as writer:
            writer.append("key", b"2")
        store.refresh()
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "store").iterdir()}
    names = ("a.ledger", "a.ledger.lock", "a.ledger.torn", "other.lock", "places.index", "places.index.lock")
    assert modes == dict.fromkeys(names, files)
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == folder
