"""Repair of ledgers: intact records in cut-off tails are moved back, damaged bytes are removed."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

from pesatlas.storage.atomic import sync
from pesatlas.storage.ledger import TORN, Lock
from pesatlas.storage.records import Damage, Record, records
from pesatlas.storage.sharing import open_shared, writing

_SUFFIX = ".ledger"


@dataclass
class Repair:
    """Findings in one ledger and its cut-off tails.

    Attributes
    ----------
    ledger : the file
    records : sound ones in it before
    back : sound ones that were only in the tails, and are in the ledger now
    damaged : keys of records that are damaged and of which there is no other; their results are made again
        when they are asked for
    unreadable : bytes that belong to no sound record, kept beside the ledger
    busy : whether a job works on it, so that nothing was done
    foreign : whether nothing in it is a record, so that it is left as it is: other programs have files of
        that name
    """

    ledger: Path
    records: int = 0
    back: int = 0
    damaged: tuple[str, ...] = ()
    unreadable: int = 0
    busy: bool = False
    foreign: bool = False


def repair_store(folder: Path, *, dry_run: bool = False) -> Iterator[Repair]:
    """Repair every ledger below ``folder``, one after the other; yield what was found in each.

    Every record keeps its time, so that what was made since a tail was cut off still counts before it.
    Stopped half-way, doing it again does the rest.

    Parameters
    ----------
    dry_run : only look
    """
    found = {path for path in folder.rglob(f"*{_SUFFIX}") if path.is_file()}
    found |= {path.with_name(path.name.removesuffix(TORN)) for path in folder.rglob(f"*{_SUFFIX}{TORN}")}
    for path in sorted(found):
        if dry_run:
            yield _Pair(path).repair(dry_run=True)
            continue
        lock = Lock(path.with_name(f"{path.name}.lock"))
        if not lock.acquire():
            yield Repair(path, busy=True)
            continue
        try:
            yield _Pair(path).repair(dry_run=False)
        finally:
            lock.release()


class _Pair:
    """A ledger and the file of its cut-off tails."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.torn = path.with_name(f"{path.name}{TORN}")

    def repair(self, *, dry_run: bool) -> Repair:
        sound, damages = _scan(self.path)
        tails, rest = _scan(self.torn)
        known = set(_digests(self.path, sound))
        back = []
        for record, digest in zip(tails, _digests(self.torn, tails), strict=True):
            if digest not in known:
                known.add(digest)
                back.append(record)
        keys = {record.key for record in (*sound, *back)}
        lost = {damage.key for damage in (*damages, *rest) if damage.key and damage.key not in keys}
        unreadable = sum(damage.end - damage.start for damage in (*damages, *rest))
        if damages and not (sound or back or any(damage.key for damage in damages)):
            return Repair(self.path, unreadable=unreadable, foreign=True)
        if not dry_run:
            with writing(self.path):
                for path in (self.path, self.torn):
                    _unfinished(path).unlink(missing_ok=True)  # of a repair that was killed
        if not dry_run and (damages or tails):
            with writing(self.path):
                if damages:
                    self._set_aside(damages)
                    self._rewrite(sound, back)
                elif back:
                    self._append(back)
                self._clear()
        return Repair(self.path, len(sound), len(back), tuple(sorted(lost)), unreadable)

    def _set_aside(self, damages: list[Damage]) -> None:
        """Append the damaged bytes of the ledger to the file of its tails, unless that is done already."""
        with self.path.open("rb") as source, os.fdopen(open_shared(self.torn), "r+b") as target:
            kept = target.read()
            for damage in damages:
                source.seek(damage.start)
                content = source.read(damage.end - damage.start)
                if content not in kept:
                    target.write(content)
            _flush(target)

    def _rewrite(self, sound: list[Record], back: list[Record]) -> None:
        """Replace the ledger by one of sound records only."""
        new = _unfinished(self.path)
        with os.fdopen(open_shared(new), "r+b") as target:
            target.truncate()
            self._copy_records(self.path, sound, target)
            self._copy_records(self.torn, back, target)
            _flush(target)
        shutil.copymode(self.path, new)
        new.replace(self.path)
        sync(self.path.parent)

    def _append(self, back: list[Record]) -> None:
        with os.fdopen(open_shared(self.path), "r+b") as target:
            end = target.seek(0, os.SEEK_END)
            try:
                self._copy_records(self.torn, back, target)
                _flush(target)
            except BaseException:
                target.truncate(end)
                raise
        sync(self.path.parent)

    def _clear(self) -> None:
        """Leave in the file of tails what is no sound record; those are in the ledger by now."""
        if not self.torn.exists():
            return
        _, rest = _scan(self.torn)
        new = _unfinished(self.torn)
        with self.torn.open("rb") as source, os.fdopen(open_shared(new), "r+b") as target:
            target.truncate()
            for damage in rest:
                _copy(source, damage.start, damage.end - damage.start, target)
            _flush(target)
        if rest:
            new.replace(self.torn)
        else:
            new.unlink()
            self.torn.unlink()
        sync(self.path.parent)

    @staticmethod
    def _copy_records(path: Path, chosen: list[Record], target: BinaryIO) -> None:
        if chosen:
            with path.open("rb") as source:
                for record in chosen:
                    _copy(source, record.offset, record.size, target)


def _unfinished(path: Path) -> Path:
    """Return where a file is written that replaces ``path`` once it is whole."""
    return path.with_name(f".{path.name}.new")


def _scan(path: Path) -> tuple[list[Record], list[Damage]]:
    """Return the sound records of a file, and the rest of it; nothing of a file that is not there."""
    damages: list[Damage] = []
    if not path.exists():
        return [], damages
    with path.open("rb") as handle:
        return list(records(handle, damaged=damages.append, verify=True)), damages


def _digests(path: Path, chosen: list[Record]) -> Iterator[bytes]:
    """Yield a hash of the bytes of each record."""
    if chosen:
        with path.open("rb") as handle:
            for record in chosen:
                handle.seek(record.offset)
                yield blake2b(handle.read(record.size), digest_size=16).digest()


def _copy(source: BinaryIO, start: int, size: int, target: BinaryIO) -> None:
    source.seek(start)
    while size and (chunk := source.read(min(size, 1 << 20))):
        target.write(chunk)
        size -= len(chunk)


def _flush(handle: BinaryIO) -> None:
    handle.flush()
    os.fsync(handle.fileno())
