"""One line as each stage of a run begins: its task, its potential or code, and for the demo its time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from pesatlas.campaign.layout import RESULTS, below
from pesatlas.campaign.rules import RULES
from pesatlas.cli.repeated import repeated
from pesatlas.config.campaign import Campaign
from pesatlas.config.presets import preset
from pesatlas.errors import UserError
from pesatlas.runtime.progress import FOLDER
from pesatlas.tables import read_entry

_LOOK_S = 1.0
_EARLIER_S = 5.0
"""Clocks of file servers and of this machine differ a little."""
_STAGE_OF = {rule: stage for stage, rules in RULES.items() for rule in rules if not rule.startswith("fetch_")}
DEMO_TIMES = {
    "structures": "5 seconds",
    "explore": "10 seconds",
    "encode": "5 seconds",
    "select": "10 seconds",
    "atoms": "a minute, beside the others",
    "label": "four and a half minutes",
    "dataset": "5 seconds",
    "report": "10 seconds",
}
"""Time of each stage of the demo on two cores, starts of the jobs included."""


@contextmanager
def stage_lines(folder: Path, campaign: Campaign, console: Console) -> Iterator[None]:
    """Context: print a line as the first job of each stage begins."""
    since, told = time.time() - _EARLIER_S, set[str]()
    # what is made again comes from the store in no time
    timed = campaign == preset("demo")[0] and not below(folder / RESULTS, "manifest").exists()

    def look() -> None:
        for stage in begun_since(folder, since, told):
            told.add(stage)
            line = stage_line(stage, campaign, folder / RESULTS, timed=timed)
            console.print(f"[bold]{stage}[/bold]: {escape(line)}", highlight=False, soft_wrap=True)

    with repeated(look, _LOOK_S, "stages"):
        yield


def begun_since(folder: Path, since: float, known: set[str]) -> list[str]:
    """Return the stages of which a job began after ``since`` (seconds since 1970), without the known ones."""
    found: dict[str, float] = {}
    with suppress(FileNotFoundError):
        for path in (folder / FOLDER).iterdir():
            stage = _STAGE_OF.get(path.name.removesuffix(".json").partition("-")[0])
            if stage is None or stage in known:
                continue
            with suppress(FileNotFoundError):  # it is replaced at this very moment
                written = path.stat().st_mtime
                if written >= since:
                    found[stage] = min(written, found.get(stage, written))
    return sorted(found, key=lambda stage: (found[stage], list(RULES).index(stage)))


def stage_line(stage: str, campaign: Campaign, results: Path, *, timed: bool) -> str:
    """Return what a stage does, with which potential or code.

    Parameters
    ----------
    timed : say about how long the stage takes in the demo
    """
    text = _task(stage, campaign, results)
    if timed and stage in DEMO_TIMES:
        text += f". About {DEMO_TIMES[stage]} on two cores"
    return f"{text}."


def _task(stage: str, campaign: Campaign, results: Path) -> str:
    explore, label = campaign.explore, campaign.label
    potential, levels = _named(explore.potential), " and ".join(label.levels)
    code = _named(label.backend)
    policy: Any = campaign.select.policy
    cells = _count(results, "structures", "trajectories")
    picks = _count(results, "selection") or f"up to {campaign.most_labels:,} "
    texts = {
        "structures": "reads the crystals, checks each, and makes the cells of "
        + ", ".join(domain.kind for domain in campaign.structures.domains),
        "explore": f"molecular dynamics with {potential} on {explore.device}: {cells}trajectories of "
        f"{explore.length_ps:g} ps",
        "encode": f"describes every frame by a vector of {_named(campaign.encode.encoder)}",
        "select": f"picks at most {campaign.select.target:,} frames (policy {policy.kind})",
        "atoms": f"isolated atoms of every element with {code} at {levels}, for cohesive energies",
        "label": f"energies, forces and stresses of {picks}frames with {code} at {levels}",
        "dataset": "checks the labels, collects them, and exports them as "
        + (", ".join(campaign.dataset.exports.formats) or "no format"),
        "train": f"trains potentials on the labels at {campaign.train_level}",
        "compare": "trains potentials on the picks of several policies, and compares them",
        "benchmark": "benchmarks the potentials",
        "round": "compares the committee's predictions, and advises on another round",
        "report": f"compares {potential} with the labels, and builds one page for a browser",
    }
    return texts[stage]


def _named(options: Any) -> str:
    """Return the name of a potential, an encoder or a code: its kind, and which one of that kind."""
    which = next((str(value) for key in ("version", "name") if (value := getattr(options, key, None))), "")
    path = getattr(options, "path", None)
    return "/".join([options.kind, *([which] if which else [Path(path).name] if path else [])])


def _count(results: Path, table: str, count: str | None = None) -> str:
    """Return how many there are, with a space behind it; empty while it is not known."""
    with suppress(OSError, UserError, KeyError, ValueError):
        entry = read_entry(below(results, table))
        return f"{entry.rows if count is None else entry.counts[count]:,} "
    return ""
