"""The manifest of a finished campaign, or of a release."""

import json
from pathlib import Path
from typing import Any

from pesatlas.campaign.layout import RESULTS, below, within
from pesatlas.errors import UserError

_IN_EVERY_MANIFEST = frozenset({"campaign", "files", "levels", "label_batches"})


def read_campaign_manifest(results: Path) -> dict[str, Any]:
    """Read ``manifest.json`` of a finished campaign or of a release.

    Raises
    ------
    UserError
        If there is none, or it is not one; the message says what is near.
    """
    path = below(results, "manifest")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(_no_campaign(results)) from None
    except ValueError as error:
        raise UserError(
            f"{path} is not readable ({error}): it was changed or truncated. Delete it; `pesatlas run` "
            "writes it again from the labels."
        ) from None
    if not isinstance(manifest, dict) or not manifest.keys() >= _IN_EVERY_MANIFEST:
        raise UserError(
            f"{path} is not the manifest of a campaign: it lacks {', '.join(sorted(_IN_EVERY_MANIFEST))}. "
            "Name a folder of results or a release."
        )
    return manifest


def _no_campaign(results: Path) -> str:
    """Return a message on what is missing, with the remedy."""
    if not results.exists():
        near = f"there is no folder {results}"
        near += f" in {Path.cwd()}" if not results.is_absolute() else ""
    elif not results.is_dir():
        near = f"{results} is a file"
    elif below(results, "structures").is_file():
        return (
            f"{below(results, 'manifest')} is not there: this campaign has not finished. `pesatlas status` "
            "shows its progress, `pesatlas run` continues."
        )
    else:
        near = f"{results} has no {within('manifest')}"
    for folder in (results / RESULTS, *results.parents, results.parent / RESULTS):
        if below(folder, "manifest").is_file():
            return f"no finished campaign: {near}. Did you mean {folder}?"
    return (
        f"no finished campaign: {near}. Name the folder of its results (`{RESULTS}` where `pesatlas run` "
        "ran) or of a release; `pesatlas run` makes one."
    )
