"""Compressed inputs and outputs of calculations beside their labels: one archive per job."""

import io
import tarfile
from pathlib import Path

import pyarrow as pa

_CODEC = "zstd"


def pack(folder: Path) -> bytes:
    """Return the files of ``folder`` (no folders below it) as a ``.tar.zst``.

    The same files give the same bytes.
    """
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for path in sorted(folder.iterdir()):
            about = tarfile.TarInfo(path.name)
            about.size = path.stat().st_size
            with path.open("rb") as handle:
                tar.addfile(about, handle)
    packed = pa.BufferOutputStream()
    with pa.CompressedOutputStream(packed, _CODEC) as stream:
        stream.write(plain.getvalue())
    return bytes(packed.getvalue())


def unpack(payload: bytes, folder: Path) -> list[Path]:
    """Write what ``pack`` packed into ``folder``, which is made; return the files.

    Raises
    ------
    ValueError
        If something else packed it, with folders, links or names that lead out of ``folder``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with pa.CompressedInputStream(pa.BufferReader(payload), _CODEC) as stream:
        plain = io.BytesIO(stream.read())
    with tarfile.open(fileobj=plain) as tar:
        # not extractall(filter="data"): Debian 12's Python 3.11.2 does not have it
        return [_write(tar, member, folder) for member in tar.getmembers()]


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> Path:
    content = tar.extractfile(member) if member.isreg() else None
    if content is None or Path(member.name).name != member.name or member.name == "..":
        raise ValueError(f"'{member.name}' is not a regular file of an archive of outputs")
    path = folder / member.name
    with content:
        path.write_bytes(content.read())
    return path
