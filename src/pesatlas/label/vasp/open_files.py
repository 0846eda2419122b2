"""VASP's files, plain or compressed."""

import bz2
import gzip
import lzma
import zlib
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa

from pesatlas.label.bad_output import BadOutputError, TornError


def _open_zstd(path: Path, _: str) -> Any:
    return pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")


# First bytes of a compressed file, whatever its name is; the fourth are of .lzma, the older form of .xz.
_MAGIC: tuple[tuple[bytes, Any], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\x00", lzma.open),
    (b"]\x00\x00", lzma.open),
    (b"\x28\xb5\x2f\xfd", _open_zstd),
)


def open_file(path: Path) -> IO[bytes]:
    """Open a file for reading, through the decompression that its first bytes ask for.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    """
    handle = path.open("rb")
    start = handle.read(6)
    for magic, opener in _MAGIC:
        if start.startswith(magic):
            handle.close()
            return cast("IO[bytes]", opener(path, "rb"))
    handle.seek(0)
    return handle


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    BadOutputError
        If it cannot be read or decompressed.
    """
    try:
        with open_file(path) as handle:
            return handle.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        raise
    except EOFError as error:
        raise TornError(f"{path.name}: {error}") from error
    except (OSError, zlib.error, lzma.LZMAError) as error:
        raise BadOutputError(f"{path.name}: {type(error).__name__}: {error}") from error
