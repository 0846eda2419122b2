"""Make a release, and compare two."""

import json
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown

from pesatlas.dataset.changes import compare, page
from pesatlas.dataset.release import CHANGES, release


def make_release(results: Path, version: str, folder: Path, since: Path | None, console: Console) -> None:
    """Make a release, and tell what is new in it."""
    made = release(results, version, folder, since)
    if (made / CHANGES).is_file():
        console.print(Markdown((made / CHANGES).read_text(encoding="utf-8")))
    console.print(
        f"[green]{made}[/green]: check it with `pesatlas verify {made}`, or `sha256sum --check SHA256SUMS` "
        "in it."
    )


def show_changes(before: Path, after: Path, console: Console, *, as_json: bool) -> None:
    """Print what is new in one folder against another."""
    changes = compare(before, after)
    if as_json:
        console.print_json(json.dumps(changes))
    else:
        console.print(Markdown(page(changes, str(before), str(after))))
