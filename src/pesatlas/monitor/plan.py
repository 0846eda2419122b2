"""Expected jobs, GPU and core hours, time and disk of a campaign, stage by stage."""

import math
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table

from pesatlas.campaign.layout import below, groups
from pesatlas.campaign.named_potentials import benchmarked_potentials
from pesatlas.campaign.rules import RULES
from pesatlas.config.campaign import Campaign
from pesatlas.errors import UserError
from pesatlas.monitor.assumed_costs import ASSUMED
from pesatlas.monitor.counts import OF_GROUPS
from pesatlas.monitor.format import duration, size
from pesatlas.monitor.rates import UNITS, Rate, Rates
from pesatlas.tables import read_entry

_HOUR_S = 3600.0
_PLAIN = 1000
_LONG_S = 24 * _HOUR_S
"""Longer than any job asks for (workflow/rules), and than many partitions allow."""
_SMALLER = {
    "atoms": "make label.parallel larger",
    "explore": "make explore.structures_per_job smaller",
    "label": "make label.structures_per_job smaller, or label.parallel larger",
}


@dataclass(frozen=True)
class Machine:
    """Numbers of GPUs and cores in use at the same time."""

    gpus: int
    cores: int


@dataclass(frozen=True)
class Amounts:
    """Amount of work, from crystals to labels.

    Trajectories that may end before are as long as expected in ``steps`` and ``snapshots``, and all as long
    as they may be in ``most_steps``.
    """

    structures: int
    source: str
    cells: int
    trajectories: int
    steps: int
    most_steps: int
    snapshots: int
    picks: int
    elements: int


@dataclass(frozen=True)
class Need:
    """Cost of one stage.

    Attributes
    ----------
    amount : what it does, in words
    job_s : how long one of its jobs takes, s; None if its rate is not known
    gpus, cores : of one job
    disk : bytes that stay
    in_turn : how many of its jobs, at least, wait for one another
    beside : it needs nothing but the crystals, and runs beside the other stages
    """

    stage: str
    amount: str
    jobs: int
    job_s: float | None
    gpus: int
    cores: int
    disk: float = 0.0
    in_turn: int = 1
    beside: bool = False

    @property
    def hours(self) -> float | None:
        """Hours of all jobs, one after the other."""
        return None if self.job_s is None else self.jobs * self.job_s / _HOUR_S

    def wall_s(self, machine: Machine) -> float | None:
        """Time until the last job ends, s."""
        if self.job_s is None:
            return None
        at_once = machine.gpus // self.gpus if self.gpus else machine.cores // self.cores
        return max(math.ceil(self.jobs / max(at_once, 1)), self.in_turn) * self.job_s


def count(
    campaign: Campaign, results: Path, structures: int | None, rates: Rates, source: str = "--structures"
) -> Amounts:
    """Return the amounts, from the structures that are there, or else a given number of them.

    Parameters
    ----------
    source : where the given number comes from, in words

    Raises
    ------
    UserError
        If neither is known.
    """
    prepared = below(results, "structures")
    if structures is None and prepared.is_file():
        structures, source = read_entry(prepared).counts["accepted"], str(prepared)
    if structures is None:
        raise UserError(
            f"the number of crystals is not known before {prepared} is made. Give it, e.g. --structures "
            "150000, or make the table: pesatlas run --until prepare_structures."
        )
    cells = round(structures * rates["cells"].value)
    trajectories = round(cells * rates["trajectories"].value)
    most_steps = round(trajectories * rates["lengths"].value * campaign.explore.total_steps)
    long_steps = round(most_steps * rates["stop"].value)
    pace = rates["pace"].value
    snapshots = long_steps // campaign.explore.frame_steps + structures
    picks = min(campaign.most_labels, snapshots)
    elements = round(rates["elements"].value)
    return Amounts(
        structures,
        source,
        cells,
        trajectories,
        steps=round(long_steps * pace),
        most_steps=round(most_steps * pace),
        snapshots=snapshots,
        picks=picks,
        elements=elements,
    )


def plan(campaign: Campaign, amounts: Amounts, rates: Rates) -> list[Need]:
    """Return what each stage takes, in the order in which data flow.

    Jobs are those of the DAG, but for its target.
    """
    atoms = rates["atoms"].value
    batches = math.ceil(amounts.cells / campaign.explore.structures_per_job)
    # frames of select.reference, and of rounds before, are a batch and a group of their own
    known = int(bool(campaign.select.reference or campaign.round))
    select_jobs = len(RULES["select"]) + len(OF_GROUPS) * (len(groups(batches)) - 1 + known)
    select_jobs += (1 + len(groups(batches))) if campaign.round else 0
    dataset_jobs = len(RULES["dataset"]) - 1 + len(campaign.dataset.exports.formats) + len(RULES["report"])
    structure_jobs = len(RULES["structures"]) + known
    work, saturated = amounts.steps * atoms, campaign.explore.stop.kind == "saturated"
    seen = amounts.snapshots * atoms
    levels = len(campaign.label.levels)
    labels = amounts.picks * levels
    made = labels * (atoms * rates["label_bytes"].value + rates["output_bytes"].value)
    label_cores = campaign.label.parallel * campaign.label.cores
    return [
        Need(
            "structures",
            f"{amounts.structures} crystals",
            structure_jobs,
            rates["prepare"].value * amounts.structures / structure_jobs,
            0,
            1,
            in_turn=2,
        ),
        Need(
            "explore",
            f"{amounts.trajectories} trajectories, {_large(work)} steps·atoms"
            + (f" expected, {_large(amounts.most_steps * atoms)} at most" if saturated else ""),
            batches,
            _each(rates.get("md"), work / batches),
            int(campaign.explore.device != "cpu"),
            1,
            seen * (rates["snapshot_bytes"].value + rates["trajectory_bytes"].value),
        ),
        Need(
            "encode",
            f"{_large(amounts.snapshots)} snapshots",
            batches + known,
            _each(rates.get("encode"), seen / (batches + known)),
            int(campaign.encode.device != "cpu"),
            1,
            seen * rates["feature_bytes"].value,
        ),
        Need(
            "select",
            f"{amounts.picks} of {_large(amounts.snapshots)} snapshots",
            select_jobs,
            rates["select"].value * amounts.snapshots / select_jobs,
            0,
            1,
            in_turn=len(RULES["select"]),
        ),
        Need(
            "atoms",
            f"{amounts.elements * levels} isolated atoms, each as long as a label",
            1,
            _labelling(campaign, rates, amounts.elements),
            0,
            label_cores,
            amounts.elements * levels * rates["output_bytes"].value,
            beside=True,
        ),
        Need(
            "label",
            f"{labels} labels at {', '.join(campaign.label.levels)}",
            campaign.label_batches,
            _labelling(campaign, rates, amounts.picks / campaign.label_batches),
            int(campaign.label.device != "cpu"),
            label_cores,
            made,
        ),
        # the dataset holds every label once more, of which the store's half is not in the table; then come
        # the exports
        Need(
            "dataset",
            f"{labels} rows, {len(campaign.dataset.exports.formats)} exports",
            dataset_jobs,
            rates["dataset"].value * labels / dataset_jobs,
            0,
            1,
            labels * atoms * (rates["label_bytes"].value / 2 + rates["export_bytes"].value),
            in_turn=2,
        ),
    ]


def _labelling(campaign: Campaign, rates: Rates, geometries: float) -> float | None:
    """Return how long one job labels ``geometries`` at every level, s; None if that is not known."""
    each = [rates.get(f"label_{level}") for level in campaign.label.levels]
    if None in each:
        return None
    return math.ceil(geometries / campaign.label.parallel) * sum(rate.value for rate in each if rate)


def _wall_s(needs: list[Need], machine: Machine) -> float | None:
    """Time until everything has ended, s: stages one after the other, and those beside them."""
    times = [(need.wall_s(machine), need.beside) for need in needs]
    if any(time is None for time, _ in times):
        return None
    return max(sum(time for time, beside in times if time and beside is here) for here in (False, True))


def render(
    campaign: Campaign, amounts: Amounts, needs: list[Need], rates: Rates, machine: Machine
) -> RenderableType:
    """Return the plan, to be printed by rich: the stages, their sum, and where every number comes from."""
    table = Table(
        title=f"Campaign {campaign.campaign.name}: {amounts.structures} crystals ({amounts.source}), "
        f"{amounts.cells} cells",
        title_justify="left",
        box=None,
        padding=(0, 2, 0, 0),
    )
    table.add_column("stage", no_wrap=True)
    table.add_column("what")
    for heading in ("jobs", "each job", "GPU h", "core h", "time", "disk"):
        table.add_column(heading, justify="right", no_wrap=True)
    for need in needs:
        table.add_row(
            need.stage,
            need.amount,
            str(need.jobs),
            duration(need.job_s) or "?",
            _hours(need, need.gpus),
            _hours(need, 0 if need.gpus else need.cores),
            duration(need.wall_s(machine)) or "?",
            size(need.disk) if need.disk else "",
        )
    table.add_row(
        "[bold]all[/bold]",
        "",
        str(sum(need.jobs for need in needs)),
        "",
        _sum([(need.hours, need.gpus) for need in needs]),
        _sum([(need.hours, 0 if need.gpus else need.cores) for need in needs]),
        duration(_wall_s(needs, machine)) or "?",
        size(sum(need.disk for need in needs)),
    )
    sources = Table.grid(padding=(0, 2))
    for name, unit in UNITS.items():
        rate = rates.get(name)
        if rate is not None:
            sources.add_row(
                f"{rate.value:.3g}" if rate.value < _PLAIN else f"{rate.value:.0f}",
                unit,
                f"[dim]{rate.source}[/dim]",
            )
        elif name.removeprefix("label_") in campaign.label.levels or not name.startswith("label_"):
            sources.add_row(
                "?", unit, "[yellow]not known: set it, or measure it in a small campaign (--from)[/yellow]"
            )
    at_once = f"--gpus {machine.gpus} and --cores {machine.cores} at work at once"
    remarks = [f"Time: with {at_once}, without waiting in queues, and without attempts that fail."]
    guessed = [name for name in ASSUMED if name in rates and rates[name].source.startswith("assumed")]
    if guessed:
        remarks.append(
            f"[yellow]Assumed, not measured: {', '.join(guessed)}.[/yellow] They may be off by several "
            "times; those of a few crystals, run before, replace them: `pesatlas plan --from FOLDER`."
        )
    if campaign.train:
        remarks.append(
            f"Training {len(campaign.train.seeds)} potentials is not counted: its time depends on the "
            "number of epochs."
        )
    if campaign.compare:
        remarks.append(f"Nor are the {len(campaign.compare.runs)} potentials of the comparison.")
    if campaign.benchmark:
        remarks.append(
            f"Benchmarking {len(benchmarked_potentials(campaign))} potentials is not counted: "
            "docs/benchmark.md describes the properties."
        )
    remarks += [
        f"[yellow]A job of {need.stage} takes longer than 24 h, so it would be stopped and "
        f"resumed:[/yellow] {_SMALLER[need.stage]}."
        for need in needs
        if need.job_s and need.job_s > _LONG_S and need.stage in _SMALLER
    ]
    return Group(table, "", *remarks, "", sources)


def _each(rate: Rate | None, work: float) -> float | None:
    return work / rate.value if rate else None


def _hours(need: Need, of: int) -> str:
    if not of:
        return ""
    return "?" if need.hours is None else f"{need.hours * of:.0f}"


def _sum(parts: list[tuple[float | None, int]]) -> str:
    """Return hours times how many; unknown if one of the parts is."""
    if any(hours is None and of for hours, of in parts):
        return "?"
    return f"{sum(hours * of for hours, of in parts if hours is not None):.0f}"


def _large(number: float) -> str:
    return f"{number:.0f}" if number < 1e7 else f"{number:.2g}"
