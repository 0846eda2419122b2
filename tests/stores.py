"""Stores with many records, made in bulk, and what reading them takes."""

import json
import zlib
from pathlib import Path

from pesatlas.storage.records import encode
from pesatlas.storage.store import Store


def payload(key):
    return f"payload of {key} ".encode() * 3


def early(key, payload, at=None):
    """A record as versions wrote it whose headers had no checksum of their own, and no time before that."""
    header = {"key": key, "bytes": len(payload), "crc": zlib.crc32(payload)}
    return json.dumps(header | ({} if at is None else {"at": at})).encode() + b"\n" + payload + b"\n"


def fill(folder, ledger, numbers, at=1):
    """Append records in bulk, without waiting for the disk."""
    folder.mkdir(exist_ok=True)
    with (folder / f"{ledger}.ledger").open("ab") as handle:
        for number in numbers:
            handle.write(encode(f"key{number}", payload(f"key{number}"), at))


def look(folder):
    store = Store(folder)
    store.refresh()
    return store


def assert_holds(store, numbers):
    assert [n for n in numbers if store.get(f"key{n}") != payload(f"key{n}")] == []


class Reading:
    """How many bytes of ledgers and index a store reads while it is refreshed."""

    def __init__(self):
        self.before = self.total()

    def total(self):
        return int(Path("/proc/self/io").read_text().split()[1])

    def bytes(self):
        return self.total() - self.before


def size_of(folder):
    """Bytes of all ledgers."""
    return sum(path.stat().st_size for path in folder.glob("*.ledger"))
