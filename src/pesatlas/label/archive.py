"""Inputs and outputs of calculations, kept compressed beside their labels: one file for each job, not one for each output."""

import io
import tarfile
from pathlib import Path

import pyarrow as pa

_CODEC = "zstd"


def pack(folder: Path) -> bytes:
    """Return the files of ``folder`` (no folders below it) as a ``.tar.zst``: the same files give the same bytes."""
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
    """Write what ``pack`` packed into ``folder``, which is made; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    with pa.CompressedInputStream(pa.BufferReader(payload), _CODEC) as stream:
        plain = io.BytesIO(stream.read())
    with tarfile.open(fileobj=plain) as tar:
        tar.extractall(folder, filter="data")
        return [folder / name for name in tar.getnames()]
