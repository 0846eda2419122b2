"""Results addressed by content, in a folder of ledgers that campaigns may share.

Which ledger holds a key is of no consequence: the key is a hash of everything that decides the result. Of
several records of one key the newest sound one counts, wherever it is (see ``ledger``); to replace a result
is to append another record of its key. A record that is damaged counts as if it had never been written: its
result is made again.

So that a job need not read thousands of ledgers, the folder has an index, ``places.index``. It is only a
cache: lost, torn, out of date or of another version, it is made again from the ledgers, by whoever finds much
that it lacks. What it says is never trusted with a payload: each record is checked against its own header and
checksum when it is read.
"""

import logging
import os
import zlib
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from pesatlas.errors import UserError
from pesatlas.storage.ledger import Ledger, Lock
from pesatlas.storage.record_index import LedgerCoverage, RecordIndex, load
from pesatlas.storage.records import Damage, Record, read_payload, records
from pesatlas.storage.sharing import reading

log = logging.getLogger(__name__)

_INDEX_AFTER = 5_000
"""Records that the index may lack: about 0.1 s of reading for each job that starts."""
_AT_ONCE = 10_000
"""Records of a ledger turned into arrays together, to bound the memory."""
_TAIL_BYTES = 64


class _Position(NamedTuple):
    """Place of a record; of two records of one key the one of the larger place counts."""

    at: int
    ledger: str
    offset: int
    size: int


class Store:
    """The results in one folder, as known at the last ``refresh``, and those written through it since then.

    Parameters
    ----------
    folder : where they are
    others : folders of neighbours, which are only read: for keys of which there is nothing here
    """

    def __init__(self, folder: Path, others: Sequence[Path] = ()) -> None:
        self.folder = folder
        self._others = [_Neighbour(other) for other in others]
        self._index = folder / "places.index"
        self._seen: tuple[int, int, int] | None = None
        self._looked = False
        self._indexed = RecordIndex()
        self._tail = RecordIndex()
        self._covers: dict[str, LedgerCoverage] = {}
        self._names: list[str] = []
        self._written: dict[str, _Position] = {}
        self._unsound: set[str] = set()
        self._said: set[str] = set()

    def writer(self, segment: str) -> Ledger:
        """Return the ledger of ``segment`` (letters, digits, ``-`` and ``_``) for writing.

        It has one writer at a time.
        """
        if not segment.replace("-", "").replace("_", "").isalnum():
            raise ValueError(f"segment name {segment!r}")
        path = self.folder / f"{segment}.ledger"

        def appended(record: Record) -> None:
            position = _Position(record.at, path.name, record.offset, record.size)
            self._written[record.key] = max(position, self._written.get(record.key, position))

        return Ledger(path, appended, self.newest)

    def newest(self, *keys: str) -> int:
        """Return the time of the newest record of ``keys`` that is known; 0 if there is none."""
        return max((position.at for key in keys for position in self._positions(key)), default=0)

    def refresh(self) -> None:
        """Read records that others have written since the last refresh; drop removed ledgers."""
        if not self._looked:
            self._seen = _identity(self._index)
            self._indexed, self._covers = load(self._index)
            self._looked = True
        found = self._ledgers()
        for name, coverage in self._covers.items():
            if coverage.end and not (name in found and self._is_covered(name, coverage, found[name])):
                self._forget(name)
        parts = [self._tail]
        for name, status in found.items():
            coverage = self._covers.setdefault(name, LedgerCoverage(len(self._covers)))
            if status.st_size > coverage.end:
                parts += self._read(name, coverage)
        self._tail = RecordIndex.merged(parts)
        self._names = list(self._covers)
        self._written.clear()
        if len(self._tail) > _INDEX_AFTER:
            self._save()
        for other in self._others:
            other.refresh()

    def get(self, key: str) -> bytes | None:
        """Return the payload of ``key``, or None.

        Of a record that is damaged, the one before it counts, if there is any.
        """
        payload = self._own(key)
        if payload is None:
            payload = next((found for other in self._others if (found := other.get(key)) is not None), None)
        return payload

    def _own(self, key: str) -> bytes | None:
        positions = sorted(self._positions(key), reverse=True)
        if not positions:
            return None
        payload = self._payload(key, positions[0])
        if payload is None:
            # the ledger may have been taken away or replaced since the last look; if not, its record is
            # damaged, and what its header tells of the next may be wrong too
            self._unsound.add(positions[0].ledger)
            self._forget(positions[0].ledger)
            self.refresh()
            positions = sorted(self._positions(key), reverse=True)
            payload = next(
                (found for position in positions if (found := self._payload(key, position)) is not None), None
            )
        return payload

    def _positions(self, key: str) -> list[_Position]:
        rows = (*self._indexed.find(key), *self._tail.find(key))
        positions = [_Position(at, self._names[ledger], offset, size) for at, ledger, offset, size in rows]
        return [*positions, self._written[key]] if key in self._written else positions

    def _payload(self, key: str, position: _Position) -> bytes | None:
        path = self.folder / position.ledger
        try:
            with reading(path):
                descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            return read_payload(descriptor, Record(key, position.at, position.offset, position.size))
        finally:
            os.close(descriptor)

    def _ledgers(self) -> dict[str, os.stat_result]:
        found = {}
        with suppress(FileNotFoundError), reading(self.folder), os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith(".ledger"):
                    with suppress(FileNotFoundError):
                        found[entry.name] = entry.stat()
        return found

    def _is_covered(self, name: str, coverage: LedgerCoverage, status: os.stat_result) -> bool:
        """Whether the ledger still begins with what is known of it."""
        same = status.st_ino == coverage.inode
        return same and (
            status.st_size == coverage.end
            or _tail_checksum(self.folder / name, coverage.end) == coverage.tail_checksum
        )

    def _forget(self, name: str) -> None:
        """Drop all that is known of one ledger, so that ``refresh`` reads it from its beginning."""
        coverage = self._covers.get(name)
        if coverage:
            self._indexed = self._indexed.without(coverage.number)
            self._tail = self._tail.without(coverage.number)
            self._covers[name] = LedgerCoverage(coverage.number)

    def _read(self, name: str, coverage: LedgerCoverage) -> list[RecordIndex]:
        """Return the places of a ledger's records that are not covered, and cover them."""
        parts, damages = [], list[Damage]()
        path = self.folder / name
        with suppress(FileNotFoundError), reading(path), path.open("rb") as handle:
            scan = records(handle, coverage.end, damages.append, verify=name in self._unsound)
            while chunk := list(islice(scan, _AT_ONCE)):
                parts.append(RecordIndex.of(chunk, coverage.number))
                coverage.end = chunk[-1].offset + chunk[-1].size
            coverage.inode = os.fstat(handle.fileno()).st_ino
            coverage.tail_checksum = _tail_checksum(path, coverage.end)
        for damage in damages:
            # what is behind the last record may be one that is just being written
            said = f"{path}: {damage}"
            if said not in self._said and (damage.start < coverage.end or damage.key):
                self._said.add(said)
                log.warning("%s", said)
        return parts

    def _save(self) -> None:
        """Write the index, unless another process does so or just did.

        Without it all goes on, only slower.
        """
        lock = Lock(self._index.with_name(f"{self._index.name}.lock"))
        try:
            if not lock.acquire():
                return
            try:
                before, self._seen = self._seen, _identity(self._index)
                if self._seen == before:
                    positions = RecordIndex.merged([self._indexed, self._tail])
                    positions.save(self._index, self._covers)
                    self._seen = _identity(self._index)
                    self._indexed, self._tail = positions, RecordIndex()
            finally:
                lock.release()
        except (OSError, UserError) as error:
            log.info("%s was not updated (%s); look-ups take longer", self._index, error)


class _Neighbour(Store):
    """A read-only store: nothing in it is written, not even its index."""

    def _save(self) -> None:
        pass


def stores_at(own: str, others: Sequence[str], kind: str) -> Store:
    """Return the results of one kind (a folder's name) in the store ``own``, and in those of neighbours.

    Raises
    ------
    UserError
        If the store of a neighbour is not there.
    """
    for other in others:
        with reading(Path(other)):
            if not Path(other).is_dir():
                raise UserError(
                    f"campaign.read_stores: {other} is not a folder, as seen from {Path.cwd()}. Correct the "
                    "path, or remove it."
                )
    return Store(Path(own) / kind, [Path(other) / kind for other in others])


def _identity(path: Path) -> tuple[int, int, int] | None:
    """Return what tells one version of a file from the next, or None if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _tail_checksum(path: Path, end: int) -> int:
    """Checksum of the last bytes before ``end``.

    Another file of the same name would hardly have them there.
    """
    try:
        with path.open("rb") as handle:
            start = max(0, end - _TAIL_BYTES)
            handle.seek(start)
            return zlib.crc32(handle.read(end - start))
    except FileNotFoundError:
        return -1
