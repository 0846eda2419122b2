"""The command ``pesatlas cluster``."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from pesatlas.cli.checkout import snakefile_of
from pesatlas.config.load import read_campaign
from pesatlas.errors import UserError
from pesatlas.monitor.cluster.facts import Cluster, ask_cluster
from pesatlas.monitor.cluster.requests import requests_of
from pesatlas.monitor.cluster.write import decide, render, write

PROFILE = Path("profiles/slurm")


def write_profile(config: Path, console: Console, *, force: bool) -> None:
    """Write the Slurm profile of the campaign of this folder; print what was chosen, and what is left to choose.

    Raises
    ------
    UserError
        If there is no campaign, Slurm does not answer, no partition gives what the campaign needs, or the profile was changed by hand.
    """
    campaign = read_campaign(config)
    cluster = cluster_here()
    profile = decide(cluster, requests_of(campaign, config, None, snakefile_of(Path())))
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
            f"Look at the lines marked CHOOSE in {file}, and correct them if others are right.",
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
    cluster = ask_cluster()
    if cluster is None:
        raise UserError(
            "Slurm does not answer (scontrol). Start on a login node of the cluster, `module load slurm` where that is needed."
        )
    return cluster
