"""The state of a dataset, carried by card, citation, crate, report and exports.

A run that was killed between the dataset and its card leaves a card of the dataset before; the state tells
the two apart.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pesatlas.campaign.layout import within
from pesatlas.config.section import digest

CARD, PAGE, CITATION, CRATE, REPORT = map(within, ("card", "card_page", "citation", "crate", "report"))
PREFIX = "pesatlas-dataset-"
_IN_TEXT = re.compile(PREFIX + r"([0-9a-f]{16})")


def state_of(manifest: Mapping[str, Any]) -> str:
    """Return a hash of everything that the manifest of a campaign tells.

    Its tables, its settings, its sums.
    """
    return digest({key: value for key, value in manifest.items() if key != "state"})


def identifier(manifest: Mapping[str, Any]) -> str | None:
    """Return the name of the state of a dataset in texts.

    None for one of an older pesatlas, which has none.
    """
    return f"{PREFIX}{manifest['state']}" if "state" in manifest else None


def files_that_show(formats: Iterable[str]) -> list[str]:
    """Return the files below ``results`` that describe the dataset: with its exports in these formats."""
    return [CARD, PAGE, CITATION, CRATE, REPORT, *(within("export", format=kind) for kind in formats)]


def state_shown(path: Path) -> str | None:
    """Return the dataset state recorded in a file; None if it has none."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = _IN_TEXT.search(text)
    return found[1] if found else None


def other_states(results: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Return sentences on files that belong to another dataset state than ``manifest``."""
    state = manifest.get("state")
    formats = manifest["configuration"]["dataset"].get("exports", {}).get("formats", [])
    return [
        f"{results / name}: describes another state of the dataset than {within('manifest')}. "
        "`pesatlas run` makes it again."
        for name in (files_that_show(formats) if state else ())
        if (results / name).is_file() and state_shown(results / name) != state
    ]
