"""Text files: gzipped or not, in UTF-8, UTF-16 or latin-1, with any line ends."""

import gzip
from pathlib import Path
from typing import IO, Any


def open_text(path: Path) -> IO[str]:
    """Open a text file that people wrote: gzipped or not, any line ends.

    Bytes that are no UTF-8 become latin-1 in ``decoded``.
    """
    with _open(path, "rb") as file:
        head = file.read(2)
    encoding = "utf-16" if head in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return _open(path, "rt", encoding=encoding, errors="surrogateescape")


def _open(path: Path, mode: str, **settings: Any) -> Any:
    return gzip.open(path, mode, **settings) if path.suffix == ".gz" else path.open(mode, **settings)


def decoded(line: str) -> str:
    """Return a line of ``open_text`` as text: UTF-8 if it is that, else latin-1."""
    if line.isascii():
        return line
    return line.encode("utf-8", "surrogateescape").decode("latin-1") if _escaped(line) else line


def _escaped(line: str) -> bool:
    return any("\udc80" <= char <= "\udcff" for char in line)
