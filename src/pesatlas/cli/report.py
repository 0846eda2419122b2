"""The command ``pesatlas report``: the page of a campaign made again from its tables so far, and as PDF."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.markup import escape

from pesatlas.cli.app import Results, command, console
from pesatlas.errors import UserError

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_DRAWN_WITHIN_MS = 60_000
_PRINTED_WITHIN_S = 300


@command("report")
def report(
    results: Results = Path(),
    to: Annotated[
        Path | None,
        typer.Option(
            help="File to write: .html. Default: the campaign's own report; of one that has not finished, "
            "report-unfinished.html beside it."
        ),
    ] = None,
    pdf: Annotated[
        bool, typer.Option("--pdf", help="Also print it to a PDF beside it, with Chromium.")
    ] = False,
) -> None:
    """Make the report of a campaign again from its tables, and print it to PDF.

    Of a campaign that has not finished, it shows what is there and says what is not.
    """
    from pesatlas.campaign.layout import below  # noqa: PLC0415 - starting is quick
    from pesatlas.campaign.so_far import has_finished  # noqa: PLC0415
    from pesatlas.report.build import build_report  # noqa: PLC0415

    browser = _browser() if pdf else ""
    finished = has_finished(results)
    page = to or below(results, "report" if finished else "report_so_far")
    if page.suffix != ".html":
        raise UserError(f"--to {page}: the report is a page, so name a file that ends in .html.")
    with nullcontext(_files(results)) if finished else _so_far(results) as files:
        build_report(files, page)
    console.print(f"[green]{escape(str(page))}[/green]", soft_wrap=True)
    if pdf:
        console.print(f"[green]{escape(str(_print(browser, page)))}[/green]", soft_wrap=True)


@contextmanager
def _so_far(results: Path) -> Iterator[dict[str, list[Path]]]:
    """Yield the files of the report of a campaign that has not finished."""
    from pesatlas.cli.open_campaign import campaign_of  # noqa: PLC0415 - starting is quick
    from pesatlas.dataset.complete_so_far import complete_so_far  # noqa: PLC0415

    campaign = campaign_of(results.resolve().parent, None)
    with TemporaryDirectory(prefix="pesatlas-report-") as folder:
        yield complete_so_far(results, Path(folder), campaign.model_dump(mode="json"))


def _files(results: Path) -> dict[str, list[Path]]:
    """Return the files of the report of a finished campaign, also those that not every campaign has."""
    from pesatlas.campaign.finished import read_campaign_manifest  # noqa: PLC0415 - starting is quick
    from pesatlas.campaign.layout import REFERENCE, Results, below, within  # noqa: PLC0415

    manifest = read_campaign_manifest(results)
    files = Results(results, manifest["label_batches"], tuple(manifest["levels"])).files
    missing = [
        path
        for name in ("structures", "snapshots", "selection", "dataset")
        for path in files[name]
        if not path.exists()
    ]
    if missing:
        raise UserError(
            f"{missing[0]} is not there. A report needs all tables of a campaign, and a release has not "
            "all: name the "
            "folder in which `pesatlas run` ran."
        )
    for name in ("parity", "advice", "benchmark_summary", "comparison", "contrasts", "efficiency"):
        files[name] = [path] if (path := below(results, name)).is_file() else []
    before = {"frames_before": ("snapshots", "batch"), "clusters_before": ("clusters", "group")}
    for name, (table, wildcard) in before.items():
        path = below(results, table, **{wildcard: REFERENCE})
        files[name] = [path] if manifest["configuration"].get("round") and path.is_file() else []
    files["potential_card"] = sorted(results.glob(re.sub(r"{\w+}", "*", within("potential_card"))))
    return files


def _browser() -> str:
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        raise UserError(
            "--pdf prints with Chromium or Chrome, and neither is on the PATH. Install one (Debian: "
            "apt-get install "
            "chromium), or leave --pdf out, open the report in any browser and print it from there."
        )
    return found


def _print(browser: str, page: Path) -> Path:
    """Print a page to a PDF beside it.

    Raises
    ------
    UserError
        If the browser fails, or does not end.
    """
    made = page.with_suffix(".pdf")
    options = [
        "--headless",
        "--disable-gpu",
        "--disable-background-networking",
        "--no-pdf-header-footer",
        f"--virtual-time-budget={_DRAWN_WITHIN_MS}",
        # Chromium refuses root otherwise; it opens nothing but our own file
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
        f"--print-to-pdf={made.resolve()}",
        f"{page.resolve().as_uri()}#print",
    ]
    made.unlink(missing_ok=True)
    try:
        done = subprocess.run(
            [browser, *options], capture_output=True, text=True, check=False, timeout=_PRINTED_WITHIN_S
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"{browser} did not print {page} within {_PRINTED_WITHIN_S} s. Open it and print it from there."
        ) from None
    if not made.is_file():
        lines = done.stderr.strip().splitlines()
        raise UserError(
            f"{browser} printed no PDF (exit status {done.returncode}; "
            f"{lines[-1] if lines else 'no message'}). Open "
            f"{page} and print it from there."
        )
    return made
