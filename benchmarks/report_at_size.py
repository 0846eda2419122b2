"""Time, memory and size of the report of campaigns of any size, made of random numbers.

Python benchmarks/report_at_size.py --rows 5000 500000.

Each report is made in a process of its own, and opened in Chromium if it is there: until the first chart is
drawn, and until all are.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from synthetic_campaign import Campaign

from pesatlas.campaign.layout import RESULTS, Results, below, folder_of

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
SOME = "[...document.querySelectorAll('figure')].some((figure) => figure.view)"
ALL = "[...document.querySelectorAll('figure:has(.chart)')].every((figure) => figure.view)"


def build(results: Path) -> None:
    """Make a report and say what it took."""
    from pesatlas.report.build import build_report  # noqa: PLC0415 - its import is measured too

    manifest = json.loads(below(results, "manifest").read_text())
    files = Results(results, manifest["label_batches"], tuple(manifest["levels"])).files
    files["parity"] = [below(results, "parity")]
    build_report(files, below(results, "report"), results / folder_of("figure"))
    print(json.dumps([time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3]))


def look(report: Path) -> list[float]:
    """Return how long it takes a browser to draw the first chart, and all, s."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - not everybody has it

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(120_000)
        started = time.perf_counter()
        page.goto(report.as_uri())
        found = []
        for condition in (SOME, ALL):
            page.wait_for_function(condition)
            found.append(time.perf_counter() - started)
        browser.close()
    return found


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[5000], help="labelled snapshots")
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.build:
        build(given.build)
        return
    print("| labels | pool | made in, CPU s | s | memory, MB | page, MB | first chart, s | all charts, s |")
    print("|---|---|---|---|---|---|---|---|")
    for rows in given.rows:
        with tempfile.TemporaryDirectory() as folder:
            results = Path(folder) / RESULTS
            Campaign(results, rows).write()
            started = time.perf_counter()
            said = subprocess.run(
                [sys.executable, __file__, "--build", results], check=True, capture_output=True, text=True
            ).stdout
            wall = time.perf_counter() - started
            cpu, memory = json.loads(said.splitlines()[-1])
            report = below(results, "report")
            seen = " | ".join(f"{seconds:.1f}" for seconds in look(report)) if CHROMIUM else "- | -"
            size = report.stat().st_size / 1e6
            print(
                f"| {rows:,} | {2 * rows:,} | {cpu:.0f} | {wall:.0f} | {memory:.0f} | {size:.1f} | {seen} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
