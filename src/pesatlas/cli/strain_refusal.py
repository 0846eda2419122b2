"""Refusal to start a campaign with a level that failed its strain test."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from pesatlas.campaign.layout import RESULTS, below
from pesatlas.cli.again import files_to_make_again, forcing
from pesatlas.cli.until import read_dag
from pesatlas.config.campaign import Campaign
from pesatlas.errors import UserError
from pesatlas.monitor.strain_gate import refusals

_SHOWN_BY = frozenset({"write_card", "build_report"})
"""Rules that only show a finished dataset: they have to tell what a test found later."""


def check_strain_tests(
    command: list[str],
    options: Sequence[str],
    folder: Path,
    campaign: Campaign | None,
    console: Console,
    *,
    only_looking: bool,
) -> None:
    """Refuse to run a campaign whose level failed its strain test; a dry run only warns.

    A finished campaign may write its card and its report again, so that they show the test.

    Parameters
    ----------
    command : how Snakemake is started, without its options
    campaign : that of the run; None if it is not known, and then nothing is refused

    Raises
    ------
    UserError
        If a level failed its strain test, and there is more to do than to show it.
    """
    try:
        found = refusals(campaign, folder / RESULTS) if campaign is not None else []
    except UserError as error:
        if not only_looking:
            raise
        # the levels are not on this machine, where a campaign may be looked at all the same
        found = [f"strain tests of the levels cannot be looked up here. {error}"]
    if not found:
        return
    if only_looking:
        for refusal in found:
            console.print(
                f"[yellow]Warning:[/yellow] `pesatlas run` will refuse: {escape(refusal)}", soft_wrap=True
            )
        return
    if below(folder / RESULTS, "manifest").is_file():
        again = files_to_make_again(command, options, folder, campaign)
        dag = read_dag(command, forcing(again, options), folder)
        if dag is not None and dag.pending <= _SHOWN_BY:
            for refusal in found:
                console.print(f"[yellow]Warning:[/yellow] {escape(refusal)}", soft_wrap=True)
            return
    raise UserError("the campaign does not start: " + "\n".join(found))
