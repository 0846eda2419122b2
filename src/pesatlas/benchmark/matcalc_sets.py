"""Download of matcalc's benchmark sets from the hub, once; compute nodes then need no network."""

import logging
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pesatlas.config.benchmark import PROPERTIES
from pesatlas.config.plugins import find
from pesatlas.errors import UserError
from pesatlas.storage.atomic import write_text
from pesatlas.tables.manifest import sha256_of

log = logging.getLogger(__name__)

HUB = "materialyze/matcalc-bench"
NOTE = "sha256.txt"
"""Beside the files: what they were when they came, so that a change is noticed."""


def fetch_data(folder: Path, properties: Iterable[Any]) -> None:
    """Make sure that the files of ``properties`` are in ``folder``, unchanged.

    Raises
    ------
    UserError
        If one is absent and cannot be fetched, or has changed since.
    """
    for options in properties:
        names = getattr(find(PROPERTIES, options.kind), "FILES", ())
        wanted = (options.file,) if getattr(options, "file", None) else names
        if wanted and not any((folder / name).is_file() for name in wanted):
            _download(folder, wanted[-1])
    note = folder / NOTE
    lines = note.read_text(encoding="utf-8").splitlines() if note.is_file() else []
    known = {name: sha for sha, _, name in (line.partition("  ") for line in lines)}
    found = {path.name: sha256_of(path) for path in sorted(folder.glob("*.json*"))}
    changed = sorted(name for name, sha in known.items() if found.get(name, sha) != sha)
    if changed:
        raise UserError(
            f"{folder / changed[0]}: changed since it was fetched. Remove it to fetch it again; remove "
            f"{note} if the change is intended."
        )
    if known != found and folder.is_dir():
        write_text(note, "".join(f"{sha}  {name}\n" for name, sha in found.items()))


def _download(folder: Path, name: str) -> None:
    partial = folder / ".partial"
    try:
        # the hub's client looks at the network when it likes
        from huggingface_hub import hf_hub_download  # noqa: PLC0415

        fetched = hf_hub_download(repo_id=HUB, filename=name, repo_type="dataset", local_dir=partial)
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise UserError(
            f"{name} is not in {folder} and could not be fetched ({type(error).__name__}: {first}). On a "
            f"machine with a network, fetch it from the dataset {HUB} of huggingface.co and put it there, or "
            "name a folder of such files with benchmark.data."
        ) from error
    Path(fetched).replace(folder / name)
    shutil.rmtree(partial, ignore_errors=True)
    log.info("%s: fetched from %s", folder / name, HUB)
