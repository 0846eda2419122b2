"""Records of a ledger: format, reading, and recovery behind damage.

A record is one line of JSON (key, length, crc32 of the payload, time, crc32 of all this) followed by its
payload and a newline. Records of earlier versions lack the last one, and the first had no time; both stay
readable.

Damage is survived one record at a time: where a header is not sound, the next record is looked for that is,
with a payload that matches its checksum.
"""

import json
import os
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

LATEST = 2**63 - 1
"""The latest time that a record may have."""

_BEGIN = b'{"key": '
_CHECK = b', "check": '
_NAMES = ("key", "bytes", "crc", "at")
_LINE_BYTES = 1 << 16
_CHUNK_BYTES = 1 << 20


class Record(NamedTuple):
    """Location of a record: key, time (ns), offset and length with header and newline."""

    key: str
    at: int
    offset: int
    size: int


class Damage(NamedTuple):
    """Bytes of a ledger that are no sound record, and the key of what was there if its header is sound."""

    start: int
    end: int
    key: str | None

    def __str__(self) -> str:
        what = f"the record of {self.key}" if self.key else "what they held"
        return (
            f"{self.end - self.start} bytes from byte {self.start} on are damaged: {what} is calculated "
            "again when it is needed"
        )


class _Header(NamedTuple):
    key: str
    length: int
    crc: int
    at: int
    checked: bool
    line_bytes: int

    @property
    def size(self) -> int:
        """Bytes of the record."""
        return self.line_bytes + self.length + 1


def encode(key: str, payload: bytes, at: int) -> bytes:
    """Return the bytes of one record."""
    values = (key, len(payload), zlib.crc32(payload), at)
    header = json.dumps(dict(zip(_NAMES, values, strict=True))).encode()
    return b"%b%b%d}\n%b\n" % (header[:-1], _CHECK, zlib.crc32(header), payload)


def _decode(line: bytes) -> _Header | None:
    """Read the line of a header; None if it is none, or not sound."""
    body, checked, check = line.rpartition(_CHECK)
    if checked:
        body += b"}"
        if check != b"%d}\n" % zlib.crc32(body):
            return None
    try:
        header = json.loads(body if checked else line)
        if tuple(header) not in {_NAMES, _NAMES[:3]}:
            return None
        key, length, crc, at = (header.get(name, 0) for name in _NAMES)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    numbers = all(isinstance(n, int) and 0 <= n <= LATEST for n in (length, crc, at))
    sound = line.endswith(b"\n") and isinstance(key, str) and numbers
    return _Header(key, length, crc, at, bool(checked), len(line)) if sound else None


def records(
    handle: BinaryIO,
    start: int = 0,
    damaged: Callable[[Damage], None] = lambda _: None,
    *,
    verify: bool = False,
) -> Iterator[Record]:
    """Yield the records from ``start`` on, and step over damage; stop where no sound record follows.

    Parameters
    ----------
    damaged : called with what is stepped over, and with what is left behind the last sound record
    verify : read payloads too, and yield only what matches its checksum. Otherwise they are skipped, and
        checked by whoever reads them; a header of an early version, without a checksum, may then tell a wrong
        length that hides other records.
    """
    size = os.fstat(handle.fileno()).st_size
    position = start
    before: tuple[int, _Header] | None = None
    while position < size:
        header = _header_at(handle, position)
        end = position + header.size if header else size + 1
        if header and end <= size and (not verify or _is_sound(handle, position, header)):
            yield Record(header.key, header.at, position, header.size)
            before = (position, header)
            position = end
            continue
        # the length of the record before may be what is wrong
        begin = before[0] if before and not _is_sound(handle, *before) else position
        found = _next_sound(handle, begin + 1, size)
        until = size if found is None else found
        damaged(Damage(begin, until, header.key if header and until == end else None))
        if found is None:
            return
        position, before = found, None


def _header_at(handle: BinaryIO, position: int) -> _Header | None:
    handle.seek(position)
    return _decode(handle.readline(_LINE_BYTES))


def _is_sound(handle: BinaryIO, position: int, header: _Header) -> bool:
    """Return whether the payload of a record matches its checksum."""
    handle.seek(position + header.line_bytes)
    crc, rest = 0, header.length
    while rest and (chunk := handle.read(min(rest, _CHUNK_BYTES))):
        crc = zlib.crc32(chunk, crc)
        rest -= len(chunk)
    return rest == 0 and crc == header.crc


def _next_sound(handle: BinaryIO, start: int, size: int) -> int | None:
    """Return where the next sound record begins, from ``start`` on."""
    for position in _positions_of(handle, _BEGIN, start, size):
        header = _header_at(handle, position)
        if header and position + header.size <= size and _is_sound(handle, position, header):
            return position
    return None


def _positions_of(handle: BinaryIO, word: bytes, start: int, size: int) -> Iterator[int]:
    """Yield every position of ``word`` from ``start`` on."""
    while start < size:
        handle.seek(start)
        chunk = handle.read(_CHUNK_BYTES + len(word) - 1)
        found = chunk.find(word)
        while found >= 0:
            yield start + found
            found = chunk.find(word, found + 1)
        start += _CHUNK_BYTES


def read_payload(descriptor: int, record: Record) -> bytes | None:
    """Read the payload of one record; None unless it is the record of that key, whole and undamaged."""
    line, _, rest = os.pread(descriptor, record.size, record.offset).partition(b"\n")
    header = _decode(line + b"\n")
    payload = rest[:-1]
    if header is None or header.size != record.size or len(rest) != header.length + 1:
        return None
    return payload if (header.key, header.crc) == (record.key, zlib.crc32(payload)) else None
