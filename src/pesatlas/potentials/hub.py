"""Download of named weights from the hub into a cache; compute nodes then need no network."""

import logging
import os
import shutil
from pathlib import Path

from pesatlas.errors import UserError
from pesatlas.potentials.weights import MODEL_FILES, directory_sha256, missing_files
from pesatlas.storage.atomic import atomic_path

log = logging.getLogger(__name__)

HUB_OWNER = "materialyze"
"""Account under which matgl's authors publish; a name with a slash is somebody else's."""


def fetch_weights(name: str, folder: Path) -> None:
    """Make sure that the weights ``name`` of the hub are in ``folder``.

    A file ``<folder>.sha256`` beside the folder keeps the checksum of what was fetched, or of what a person
    put there first.

    Raises
    ------
    UserError
        If they are absent and cannot be fetched, or have changed since.
    """
    if missing_files(folder):
        _download(name, folder)
    note = folder.with_name(f"{folder.name}.sha256")
    found = directory_sha256(folder)
    if not note.exists():
        with atomic_path(note) as temporary:
            temporary.write_text(found + "\n", encoding="utf-8")
        log.info("%s: weights kept in %s, sha256 %s", name, folder, found)
    elif note.read_text(encoding="utf-8").strip() != found:
        raise UserError(
            f"{folder}: the weights changed since they were fetched: sha256 {found}, not "
            f"{note.read_text(encoding='utf-8').strip()} as in {note.name}. Remove the folder to fetch them "
            f"again; remove {note.name} if the change is intended."
        )


def _download(name: str, folder: Path) -> None:
    repository = name if "/" in name else f"{HUB_OWNER}/{name}"
    partial = folder.with_name(f"{folder.name}.partial")
    try:
        # Import the hub's client only here: it looks at the network when it likes.
        from huggingface_hub import hf_hub_download  # noqa: PLC0415

        for file in MODEL_FILES:
            hf_hub_download(repo_id=repository, filename=file, local_dir=partial)
    except Exception as error:
        raise UserError(
            f"The weights of '{name}' are not in {folder} and could not be fetched ({type(error).__name__}: "
            f"{_first_line(error)}). On a machine with a network, fetch {', '.join(MODEL_FILES)} of the "
            f"hub's repository {repository} and put these {len(MODEL_FILES)} files into {folder}{os.sep}; "
            "then run again."
        ) from error
    shutil.rmtree(partial / ".cache", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    for file in MODEL_FILES:
        (partial / file).replace(folder / file)
    shutil.rmtree(partial)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0]
