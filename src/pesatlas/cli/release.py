"""Make a release, and compare two."""

from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown

from pesatlas.cli.app import print_json
from pesatlas.dataset.changes import compare, page
from pesatlas.dataset.release import ABOUT, CHANGES, release
from pesatlas.tables.manifest import read_json


def make_release(
    results: Path, version: str, folder: Path, since: Path | None, console: Console, *, as_json: bool = False
) -> None:
    """Make a release, and tell what is new in it."""
    made = release(results, version, folder, since)
    if as_json:
        print_json({"release": str(made)} | read_json(made / ABOUT))
        return
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
        print_json(changes)
    else:
        console.print(Markdown(page(changes, str(before), str(after))))
