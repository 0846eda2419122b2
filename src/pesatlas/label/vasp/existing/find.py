"""Finished runs in folders, globs and archives, under the names of VASP, custodian, atomate and users."""

import lzma
import os
import re
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pesatlas.errors import UserError
from pesatlas.label.vasp.open_files import open_file
from pesatlas.storage.ledger import records
from pesatlas.storage.store import Store

_PACKED = r"(?P<packed>\.gz|\.bz2|\.xz|\.lzma|\.zst)?"
_VASPRUN = re.compile(rf"(?P<before>.*?)vasprun(?P<middle>.*?)\.xml(?P<after>.*?){_PACKED}", re.IGNORECASE)
_OUTCAR = re.compile(rf"(?P<before>.*?)OUTCAR(?P<middle>)(?P<after>.*?){_PACKED}")
_ARCHIVE = re.compile(
    r".+(\.tar(\.gz|\.bz2|\.xz|\.lzma|\.zstd?)?|\.t(gz|bz2?|b2|xz|lz|lzma|zst)|\.zip)", re.IGNORECASE
)
_FOREIGN = re.compile(r".+\.(7z|rar|taz|tar\.(z|lz|lz4|lzo|br))", re.IGNORECASE)
"""Archives that nothing here can open: counted, for they may hold runs."""

_NO_RESULT = re.compile(r"(^|[._-])(orig|bak|backup|old|tmp|swp|error)(?![a-z])|~$", re.IGNORECASE)
"""In what stands before or after the name of an output: somebody put it aside."""
_NO_OUTPUT = re.compile(
    r"\.(py|ipynb|sh|md|txt|html|pdf|png|svg|csv|json|ya?ml|parquet|h5|npz|log)$", re.IGNORECASE
)
"""Ends a name that has VASP's in it and is something else, e.g. a plot."""
_NO_ARCHIVE = re.compile(r"^(error\.\d+|custodian\.chk)", re.IGNORECASE)
"""Archives of custodian: runs that it corrected, and checkpoints."""
_DAMAGED = (
    *(OSError, EOFError, ValueError, RuntimeError),  # the last: an encrypted zip
    *(tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error),
)
_ZSTD = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True)
class FoundRun:
    """Outputs of one run.

    Attributes
    ----------
    name : path of its folder, with what its files' names say beyond VASP's (``relax1``)
    vasprun, outcar : its files, packed or not; None if there is none
    unreadable : why an archive could not be opened, which then stands for what it holds
    """

    name: str
    vasprun: Path | None
    outcar: Path | None
    unreadable: str = ""


class Search:
    """Search for runs in paths of the user; counts files that only look like runs.

    Attributes
    ----------
    put_aside : outputs that were put aside under another name (``OUTCAR.orig``) and archives of custodian's
        errors
    """

    def __init__(self, places: Sequence[str]) -> None:
        self.put_aside = 0
        self._paths = [path for place in places for path in _expand(place)]
        parents = {Path(os.path.abspath(path)).parent for path in self._paths}  # noqa: PTH100 - links stay as they are
        self._base = Path(os.path.commonpath(parents))
        self._seen: set[Path] = set()

    def runs(self) -> Iterator[FoundRun]:
        """Yield every run once, in the order of names.

        Files of one from an archive are there until the next is asked for.
        """
        for path in self._paths:
            name = Path(os.path.abspath(path)).relative_to(self._base).as_posix()  # noqa: PTH100
            if path.is_dir():
                yield from self._folder(path, name)
            elif _is_archive(path):
                yield from self._archive(path, name)
            else:
                # what lies beside a file that is named is of the same run
                yield from self._files(sorted(path.parent.iterdir()), name.rpartition("/")[0], named=path)

    def _folder(self, top: Path, name: str) -> Iterator[FoundRun]:
        for folder, below, files in os.walk(top):
            below[:] = sorted(each for each in below if not each.startswith("."))
            here = Path(folder)
            inside = here.relative_to(top).as_posix()
            where = name if inside == "." else f"{name}/{inside}"
            paths = [here / each for each in sorted(files) if not each.startswith(".")]
            yield from self._files(paths, where)
            for path in paths:
                if _is_archive(path):
                    yield from self._archive(path, f"{where}/{path.name}")
            if any(path.suffix == ".ledger" for path in paths):
                yield from self._store(here, where)

    def _files(self, paths: Sequence[Path], where: str, named: Path | None = None) -> Iterator[FoundRun]:
        """Yield the runs whose files lie side by side.

        Those whose names differ from VASP's by the same belong together.

        ``named``: only the run that this file is of.
        """
        groups: dict[str, dict[str, Path]] = {}
        for path in paths:
            role, key, packed = _role(path)
            if not role or path.resolve() in self._seen:
                continue
            if _NO_RESULT.search(key):
                self._seen.add(path.resolve())
                self.put_aside += named in {None, path}
                continue
            # a plain file is what was unpacked from the packed one beside it
            if role not in groups.setdefault(key, {}) or not packed:
                groups[key][role] = path
        names = Counter(_short(key) for key in groups)
        for key, files in sorted(groups.items()):
            if named is not None and key != _role(named)[1]:
                continue
            # of names that would be the same, the file's own
            short = _short(key) if names[_short(key)] == 1 else min(files.values()).name
            name = "/".join(filter(None, (where, short)))
            yield FoundRun(name or "run", files.get("vasprun"), files.get("outcar"))
            self._seen |= {path.resolve() for path in paths if _role(path)[1] == key}

    def _archive(self, path: Path, name: str) -> Iterator[FoundRun]:
        if _NO_ARCHIVE.match(path.name):
            self.put_aside += 1
            return
        if path.resolve() in self._seen:
            return
        self._seen.add(path.resolve())
        if _FOREIGN.fullmatch(path.name):
            yield FoundRun(
                name, None, None, "archives of this kind are not supported: pack it again as .tar.gz or .zip"
            )
            return
        with tempfile.TemporaryDirectory(prefix="pesatlas-runs-") as temporary:
            try:
                _unpack(path, Path(temporary))
            except _DAMAGED as error:
                yield FoundRun(name, None, None, f"{type(error).__name__}: {error}")
                return
            yield from self._folder(Path(temporary), name)

    def _store(self, folder: Path, where: str) -> Iterator[FoundRun]:
        """Yield what is archived in our own store of outputs; records of other kinds are passed over."""
        keys: dict[str, None] = {}
        for path in sorted(folder.glob("*.ledger")):
            with path.open("rb") as handle:
                keys |= dict.fromkeys(record.key for record in records(handle))
        store = Store(folder)
        store.refresh()
        for key in keys:
            payload = store.get(key)
            if payload is None or not payload.startswith(_ZSTD):
                continue
            with tempfile.TemporaryDirectory(prefix="pesatlas-runs-") as temporary:
                packed = Path(temporary) / "outputs.tar.zst"
                packed.write_bytes(payload)
                yield from self._archive(packed, f"{where}/{key}")


def _short(key: str) -> str:
    """Return what an output's name has beyond VASP's without what joins them.

    ``relax1`` of ``.relax1``, ``-2`` of ``--2``.
    """
    return re.sub(r"^[._-]|[._-]$", "", key)


def _role(path: Path) -> tuple[str, str, bool]:
    """Return kind (``vasprun``, ``outcar`` or none) and name suffix of a file, and whether it is packed."""
    if not _NO_OUTPUT.search(path.name) and not _is_archive(path):
        for role, pattern in (("vasprun", _VASPRUN), ("outcar", _OUTCAR)):
            if matched := pattern.fullmatch(path.name):
                key = "".join(matched[part] for part in ("before", "middle", "after"))
                return role, key, bool(matched["packed"])
    return "", "", False


def _expand(place: str) -> list[Path]:
    path = Path(place).expanduser()
    if path.exists():
        known = path.is_dir() or _is_output(path) or _is_archive(path)
        if not known:
            raise UserError(
                f"{place}: neither a folder, an archive (.tar, .tar.gz, .tar.zst, .zip, ...), a vasprun.xml "
                "nor an OUTCAR."
            )
        return [path]
    if any(sign in place for sign in "*?["):
        anchor = Path(path.anchor or ".")
        found = sorted(anchor.glob(str(path.relative_to(path.anchor))))
        chosen = [p for p in found if p.is_dir() or _is_output(p) or _is_archive(p)]
        if chosen:
            return chosen
        raise UserError(
            f"'{place}' matches {len(found)} files, none of them a folder, an archive or outputs of VASP. "
            "Correct the pattern."
        )
    raise UserError(f"{place}: no such file or folder (looked from {Path.cwd()}). Correct the path.")


def _is_output(path: Path) -> bool:
    return bool(_role(path)[0])


def _is_archive(path: Path) -> bool:
    return bool(_ARCHIVE.fullmatch(path.name) or _FOREIGN.fullmatch(path.name))


def _wanted(name: str) -> bool:
    path = Path(name)
    return _is_output(path) or _is_archive(path)


def _unpack(path: Path, folder: Path) -> None:
    """Write the outputs and archives that an archive holds below ``folder``.

    Nothing of it can lie elsewhere.
    """
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path) as zipped:
            for entry in zipped.infolist():
                if not entry.is_dir() and _wanted(entry.filename):
                    with zipped.open(entry) as content:
                        _write(content, entry.filename, folder)
        return
    with open_file(path) as stream, tarfile.open(fileobj=stream, mode="r|") as packed:
        _unpack_tar(packed, folder)


def _unpack_tar(packed: tarfile.TarFile, folder: Path) -> None:
    for member in packed:
        content = packed.extractfile(member) if member.isreg() and _wanted(member.name) else None
        if content is not None:
            with content:
                _write(content, member.name, folder)


def _write(content: IO[bytes], name: str, folder: Path) -> None:
    parts = [part for part in Path(name.replace("\\", "/")).parts if part not in {"/", "..", "."}]
    target = folder.joinpath(*parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as out:
        shutil.copyfileobj(content, out)
