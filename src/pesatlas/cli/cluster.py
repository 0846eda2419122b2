"""The command ``pesatlas cluster``."""

import signal
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pesatlas.campaign.load import load_campaign, read_campaign
from pesatlas.cli.checkout import profile_folder, snakefile_of
from pesatlas.cli.dry_run import labels_elsewhere
from pesatlas.config.campaign import Campaign
from pesatlas.errors import UserError
from pesatlas.levels.lookup import supported_elements
from pesatlas.monitor.cluster.facts import Cluster, query_cluster
from pesatlas.monitor.cluster.profile import read_profile
from pesatlas.monitor.cluster.requests import requests_of
from pesatlas.monitor.cluster.trial import STEPS, Trial, try_cluster
from pesatlas.monitor.cluster.write import decide, render, write
from pesatlas.monitor.doctor import elements_in
from pesatlas.monitor.format import duration

PROFILE = Path("profiles/slurm")


def write_profile(config: Path, console: Console, *, force: bool) -> None:
    """Write the Slurm profile of the campaign of this folder.

    Print what was chosen, and what is left to choose.

    Raises
    ------
    UserError
        If there is no campaign, Slurm does not answer, no partition gives what the campaign needs, or the
        profile was changed by hand.
    """
    campaign = read_campaign(config, labels_here=False)
    cluster = cluster_here()
    with labels_elsewhere(campaign, console):
        requests = requests_of(campaign, config, None, snakefile_of(Path()))
    profile = decide(cluster, requests)
    file = PROFILE / "config.yaml"
    write(render(profile), file, force=force)
    console.print(f"[green]{file}[/green] is written, for Slurm {cluster.version}.", soft_wrap=True)
    for what, choice in (
        ("account", profile.account),
        ("partition", profile.partition),
        ("partition of GPUs", profile.gpu),
    ):
        mark = "[yellow]CHOOSE[/yellow]" if choice.open else "[green]ok[/green]    "
        reason = choice.reason.removeprefix("CHOOSE: ")
        console.print(f"{mark} {what} {escape(choice.value or 'none')}: {escape(reason)}", soft_wrap=True)
    if profile.open:
        console.print(
            f"Check the lines marked CHOOSE in {file}, and correct them if needed.",
            soft_wrap=True,
        )
    console.print(f"Then: pesatlas doctor --profile {PROFILE}, and pesatlas cluster --try", soft_wrap=True)


def cluster_here() -> Cluster:
    """Return the cluster that this machine is a login node of.

    Raises
    ------
    UserError
        If Slurm does not answer.
    """
    cluster = query_cluster()
    if cluster is None:
        raise UserError(
            "Slurm does not answer (scontrol). Run on a login node of the cluster, after `module load "
            "slurm` if that is needed."
        )
    return cluster


def try_profile(config: Path, named: Path, wait_min: float, console: Console) -> bool:
    """Send a small job to each partition that a profile uses, print a table of what they found.

    Return whether all is well.

    Raises
    ------
    UserError
        If there is no campaign or profile, or Slurm does not answer.
    """
    campaign = load_campaign(read_campaign(config).model_dump(), str(config))
    profile = profile_folder(named)
    if read_profile(profile).get("executor") != "slurm":
        raise UserError(
            f"{profile} is not a profile for Slurm, or does not exist. `pesatlas cluster` writes {PROFILE}."
        )
    cluster = cluster_here()
    requests = requests_of(campaign, config, profile, snakefile_of(Path()))
    # SIGTERM ends this as Ctrl-C does: jobs are cancelled
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    trials = try_cluster(
        campaign,
        config,
        requests,
        cluster,
        element=_element(campaign),
        patience_s=wait_min * 60,
        show=lambda line: console.print(line, markup=False, soft_wrap=True),
    )
    console.print(_table(trials))
    for trial in trials:
        for text, remedy in _wrong(trial):
            console.print(f"[red]WRONG[/red]  {escape(text)}", soft_wrap=True)
            if remedy:
                console.print(f"       {escape(remedy)}", soft_wrap=True)
    well = all(trial.ok for trial in trials)
    if well:
        console.print(
            f"[green]All requirements are met.[/green] pesatlas run --profile {named}", soft_wrap=True
        )
    return well


def _element(campaign: Campaign) -> int:
    """Return the lightest element of the campaign that its backend knows."""
    known = supported_elements(campaign.label.backend)
    found, _ = elements_in(campaign, Path("results"))
    return min(found & known or known)


def _table(trials: list[Trial]) -> Table:
    table = Table("partition", "node", "waited", *STEPS, box=None, pad_edge=False)
    for trial in trials:
        cells = []
        for name in STEPS:
            step = trial.steps.get(name)
            if step is None:
                cells.append("")
            else:
                mark = "" if step["ok"] else "[red]WRONG[/red] "
                cells.append(f"{mark}{escape(step['text'])} [dim]({step['seconds']:.1f} s)[/dim]")
        waited = duration(trial.waited_s)
        table.add_row(
            escape(trial.partition), escape(trial.node or trial.results.get("node", "")), waited, *cells
        )
    return table


def _wrong(trial: Trial) -> list[tuple[str, str]]:
    """Return problems with their remedies."""
    name = f"{trial.partition} {trial.node}".strip()
    found = [
        (f"{name}, {step}: {each['text']}", each["remedy"])
        for step, each in trial.steps.items()
        if not each["ok"]
    ]
    return [*found, *([(f"{name}: {trial.problem}", trial.remedy)] if trial.problem else [])]
