"""A store that others may not read or write: who owns what is in the way is told; and the two ways to share
one work."""

import os
import shutil
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from pesatlas.errors import UserError
from pesatlas.storage.ledger import Ledger, Lock
from pesatlas.storage.store import Store, stores_at

ANNA, BERTA, GROUP = 64001, 64002, 64100

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two people")


@contextmanager
def person(number, groups=(), umask=0o022):
    """Be somebody else for a while."""
    before = os.umask(umask)
    os.setgroups(list(groups))
    os.setegid(number)
    os.seteuid(number)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups([0])
        os.umask(before)


@pytest.fixture
def place():
    """A folder that everybody may enter; pytest's own is private."""
    folder = Path(tempfile.mkdtemp(prefix="sharing-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def write(folder, ledger, key, payload):
    store = Store(folder)
    with store.writer(ledger) as writer:
        store.refresh()
        writer.append(key, payload)


def get(folder, key, others=()):
    store = Store(folder, others)
    store.refresh()
    return store.get(key)


def through(own, theirs, key):
    store = stores_at(str(own), [str(theirs)], "labels")
    store.refresh()
    return store.get(key)


@root
def test_a_store_that_may_not_be_written_says_whose_it_is_and_how_to_share_it(place):
    folder = place / "store" / "labels"
    with person(ANNA):
        write(folder, "a", "key", b"1")
    with person(BERTA), pytest.raises(UserError) as caught:
        write(folder, "b", "key", b"2")
    said = str(caught.value)
    assert f"{folder} belongs to user {ANNA}, group number {ANNA}, mode drwxr-xr-x" in said
    assert f"this is user {BERTA}" in said
    assert "chmod -R g+rwX" in said
    assert "campaign.read_stores" in said
    assert "Make room" not in said
    with (
        person(BERTA),
        pytest.raises(UserError, match=rf"a\.ledger\.lock belongs to user {ANNA}.*mode -rw-r--r--"),
    ):
        write(folder, "a", "key", b"2")
    assert get(folder, "key") == b"1"


@root
@pytest.mark.parametrize("hidden", ["store", "store/labels", "store/labels/a.ledger"])
def test_a_store_that_may_not_be_read_says_what_is_in_the_way(place, hidden):
    folder = place / "store" / "labels"
    with person(ANNA):
        write(folder, "a", "key", b"1")
    (place / hidden).chmod(0o600 if hidden.endswith("ledger") else 0o700)
    with (
        person(BERTA),
        pytest.raises(UserError, match=rf"may not be read.*{hidden} belongs to user {ANNA}.*mode .rw"),
    ):
        get(folder, "key")
    with person(BERTA), pytest.raises(UserError, match=rf"{hidden} belongs to user {ANNA}"):
        through(place / "own", place / "store", "key")


@root
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_two_users_write_together_in_a_store_of_their_group(place, umask, monkeypatch):
    """The first of the two ways, by the commands that the message names, whatever the umask."""
    monkeypatch.setattr("pesatlas.storage.store._INDEX_AFTER", 0)
    store = place / "store"
    with person(ANNA, [GROUP], umask):
        write(store / "labels", "a", "key", b"of Anna")
        assert (
            os.system(
                f"chgrp -R {GROUP} {store}; chmod -R g+rwX {store}; find {store} -type d -exec chmod g+s "
                f"{{}} +"
            )
            == 0
        )
    with person(BERTA, [GROUP], umask):
        write(store / "labels", "b", "other", b"of Berta")
        write(store / "outputs", "b", "other", b"archive")
        assert get(store / "labels", "key") == b"of Anna"
        with Lock(store / "labels" / "b.ledger.lock"):
            pass
    with person(ANNA, [GROUP], umask):
        assert get(store / "labels", "other") == b"of Berta"
        write(store / "labels", "b", "other", b"of Anna now")
        write(store / "outputs", "a", "key", b"archive")
    assert get(store / "labels", "other") == b"of Anna now"
    for path in store.rglob("*"):
        assert path.stat().st_gid == GROUP
        assert not path.stat().st_mode & stat.S_IWOTH
        assert path.stat().st_mode & stat.S_IWGRP
    assert (store / "labels" / "places.index").exists()
    with person(BERTA + 1), pytest.raises(UserError, match="may not be written"):
        write(store / "labels", "c", "key", b"of a stranger")


@root
def test_a_store_of_somebody_else_is_only_read(place, monkeypatch):
    """The second way: an own store, and theirs beside it."""
    monkeypatch.setattr("pesatlas.storage.store._INDEX_AFTER", 0)
    theirs, own = place / "store", place / "own"
    with person(ANNA):
        write(theirs / "labels", "a", "key", b"theirs")
        write(theirs / "labels", "a", "both", b"theirs")
    before = {path: path.stat().st_mtime_ns for path in theirs.rglob("*")}
    with person(BERTA):
        store = stores_at(str(own), [str(theirs)], "labels")
        with store.writer("b") as writer:
            store.refresh()
            assert store.get("key") == b"theirs"
            writer.append("both", b"own")
            assert store.get("both") == b"own"
            assert store.get("none") is None
        store.refresh()
        assert store.get("both") == b"own"
        with pytest.raises(UserError, match=r"campaign\.read_stores: .*nowhere is not a folder"):
            stores_at(str(own), [str(place / "nowhere")], "labels")
    assert {path: path.stat().st_mtime_ns for path in theirs.rglob("*")} == before


def test_a_read_only_file_of_our_own_is_told_too(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write everything")
    with Ledger(tmp_path / "a.ledger") as ledger:
        ledger.append("key", b"1")
    (tmp_path / "a.ledger").chmod(0o400)
    with pytest.raises(UserError, match="belongs to"), Ledger(tmp_path / "a.ledger"):
        pass
