"""The status of a campaign on one screen."""

import time
from collections import Counter

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table

from pesatlas.monitor.bar import NARROWEST, StageBar, is_plain, legend
from pesatlas.monitor.controlling_process import controller_text
from pesatlas.monitor.counts import Stage
from pesatlas.monitor.format import duration
from pesatlas.monitor.jobs import Job
from pesatlas.monitor.squeue import Queue
from pesatlas.monitor.status import Pace, Status
from pesatlas.report.texts import advice_text

_NARROW, _WIDE = 78, 120
"""Columns of a terminal below and from which the table has fewer and more columns."""
_HEADINGS = (
    "unit",
    "done",
    "failed",
    "running",
    "left",
    "total",
    "jobs",
    "at work",
    "per hour",
    "time left",
)
_WIDE_ONLY = {"unit", "running", "per hour"}
_NOT_NARROW = {"left", "jobs", "at work"}
_LARGE = 10_000_000
_SHOWN = 8
"""Lines of one kind at most: it has to stay one screen."""
_AT_WORK = 4
"""Jobs that are shown one by one."""


def screen(status: Status, console: Console) -> RenderableType:
    """Return the status, to be printed by rich on this console."""
    plain = is_plain(console)
    bars = " [dim]|[/dim] ".join(f"[{style}]{text}[/{style}]" for text, style in legend(plain=plain))
    parts: list[RenderableType] = [
        _controller_line(status),
        _stages(status, console.width),
        f"{' ' * 12}{bars}",
    ]
    at_work = sorted((job for job in status.jobs if job.running), key=lambda job: job.state.started)
    parts += [_at_work(job) for job in at_work[:_AT_WORK]]
    if len(at_work) > _AT_WORK:
        parts.append(f"[dim]and {len(at_work) - _AT_WORK} more jobs at work[/dim]")
    parts += [f"{each.level}: {each.sentence(status.exported)}" for each in status.accounts]
    if any(stage.reasons for stage in status.stages):
        parts.append(_reasons(status.stages))
    if any(stage.stale for stage in status.stages):
        parts.append(_stale(status))
    if status.queue.problem:
        parts.append(f"[yellow]Slurm does not answer:[/yellow] {escape(status.queue.problem)}")
    if status.queue.jobs:
        parts.append(_slurm(status.queue))
    if status.advice and status.finished:
        parts.append(f"[bold]Round {status.advice['round']}[/bold]: {advice_text(status.advice)}")
    return Group(*parts, *_remarks(status))


def _controller_line(status: Status) -> str:
    title = (
        f"[bold]Campaign {status.campaign}[/bold] in {escape(str(status.folder))}, "
        f"{time.strftime('%Y-%m-%d %H:%M:%S')}"
    )
    controller = status.controller
    if status.finished:
        said = "[green]finished[/green]"
    elif controller is None:
        said = "no `pesatlas run` is alive here; the same command continues"
    elif controller.alive is False or controller.orphaned or controller.suspended:
        said = f"[red]{escape(controller_text(controller))}[/red]"
    else:
        said = escape(controller_text(controller))
    return f"{title}\n{said}"


def _table(padding: int = 2) -> Table:
    return Table(show_edge=False, pad_edge=False, box=None, padding=(0, padding, 0, 0))


def _stages(status: Status, width: int) -> Table:
    wide = width >= _WIDE
    table = _table(2 if wide else 1)
    table.add_column("stage", no_wrap=True)
    table.add_column("", min_width=NARROWEST)
    hidden = (set() if wide else _WIDE_ONLY) | (_NOT_NARROW if width < _NARROW else set())
    shown = [heading for heading in _HEADINGS if heading not in hidden]
    for heading in shown:
        left = heading == "unit"
        table.add_column(
            "" if left else heading,
            justify="left" if left else "right",
            no_wrap=True,
            style="dim" if left else None,
        )
    for stage in status.stages:
        cells = _cells(stage, status.paces[stage.name])
        colour = "green" if stage.complete else "yellow" if stage.stale else ""
        name = f"[{colour}]{stage.name}[/{colour}]" if colour else stage.name
        table.add_row(name, _bar(stage), *(cells[heading] for heading in shown))
    return table


def _bar(stage: Stage) -> StageBar:
    """Return the bar of a stage; without pieces while its total is not known."""
    left = stage.left
    return StageBar([0] if left is None else [stage.done, stage.under_way, stage.failed, left])


def _at_work(job: Job) -> str:
    """Return what a job that runs is at: of a rule without a count, only that it runs."""
    state = job.state
    name = f"{state.rule} {state.batch}".strip()
    if not state.what:
        return f"[cyan]{name}[/cyan]: for {duration(time.time() - state.started)}"
    count = f"{state.done} of {state.total}" if state.total is not None else f"{state.done}"
    failed = f", [red]{state.failed} failed[/red]" if state.failed else ""
    left = f", {duration(state.left_s)} left" if state.left_s and state.done else ""
    return f"[cyan]{name}[/cyan]: {state.what} {count}{failed}{left}"


def _cells(stage: Stage, pace: Pace) -> dict[str, str]:
    return {
        "unit": stage.unit,
        "done": _number(stage.done),
        "failed": f"[red]{_number(stage.failed)}[/red]" if stage.failed else "0",
        "running": _number(stage.under_way),
        "left": _number(stage.left),
        "total": _number(stage.total),
        "jobs": f"{stage.batches_done}/{_number(stage.batches)}",
        "at work": str(pace.running or ""),
        "per hour": "" if pace.per_s is None else _number(round(pace.per_s * 3600)),
        "time left": duration(pace.left_s),
    }


def _number(count: int | None) -> str:
    if count is None:
        return "?"
    return str(count) if count < _LARGE else f"{count / 1e6:.1f} M"


def _reasons(stages: list[Stage]) -> str:
    lines = [
        f"{stage.name}: " + ", ".join(f"{count} {reason}" for reason, count in sorted(stage.reasons.items()))
        for stage in stages
        if stage.reasons
    ]
    return "[bold]failed[/bold]  " + "; ".join(lines)


def _stale(status: Status) -> str:
    """Return the stages with stale results, and the differences."""
    counts = ", ".join(
        f"{stage.name} {stage.stale}/{stage.batches_done}" for stage in status.stages if stage.stale
    )
    reasons = list(dict.fromkeys(reason for why in status.stale.values() for reason in why))
    why = "; ".join(reasons[:_SHOWN]) + (
        f" and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else ""
    )
    return (
        f"[yellow]stale[/yellow]  jobs with results that differ from the configuration: {counts}. "
        f"{escape(why)}. `pesatlas run` makes them again."
    )


def _slurm(queue: Queue) -> Table:
    groups = Counter((job.state, job.rule, job.partition, job.reason) for job in queue.jobs)
    table = _table()
    for heading in ("Slurm", "rule", "partition", "reason"):
        table.add_column(heading)
    for heading in ("jobs", "longest"):
        table.add_column(heading, justify="right")
    for (state, rule, partition, reason), count in groups.most_common(_SHOWN):
        longest = max(
            job.elapsed_s
            for job in queue.jobs
            if (job.state, job.rule, job.partition, job.reason) == (state, rule, partition, reason)
        )
        table.add_row(
            state.lower(),
            rule or "?",
            partition,
            reason if reason != "None" else "",
            str(count),
            duration(longest),
        )
    if len(groups) > _SHOWN:
        table.add_row("…", "", "", "", str(sum(n for _, n in groups.most_common()[_SHOWN:])), "")
    return table


def _remarks(status: Status) -> list[str]:
    slurm, local = status.orphans
    lines = []
    if slurm:
        names = " ".join(f"--name={name}" for name in sorted({job.name for job in slurm}))
        lines.append(
            f"[yellow]{len(slurm)} Slurm jobs have no active `pesatlas run`.[/yellow] Their results are "
            f"kept. `pesatlas run` continues beside them; `scancel --me {names}` ends them."
        )
    if local:
        pids = " ".join(
            [*(str(job.state.pid) for job in local[:_SHOWN]), *(["…"] if len(local) > _SHOWN else [])]
        )
        lines.append(
            f"[yellow]{len(local)} processes have no active `pesatlas run`:[/yellow] {pids} on "
            f"{local[0].state.host}. Their results are kept; `kill {pids}` ends them."
        )
    lost = status.lost
    lines += [
        f"[red]{job.fate}[/red]  {job.state.rule} {job.state.batch}: see {job.log}" for job in lost[:_SHOWN]
    ]
    if len(lost) > _SHOWN:
        lines.append(f"… and {len(lost) - _SHOWN} more jobs ended without their results")
    return lines
