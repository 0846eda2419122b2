"""A look at the jobs of a campaign on a machine that cannot calculate its labels."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from pesatlas.campaign.load import ONLY_LOOKING, labels_lack
from pesatlas.config.campaign import Campaign


@contextmanager
def labels_elsewhere(campaign: Campaign | None, console: Console) -> Iterator[None]:
    """Let the workflow be read inside this without what calculates labels; print a line if it is not here.

    Parameters
    ----------
    campaign : None if it is not known: then nothing is printed, and Snakemake says what is wrong
    """
    lack = labels_lack(campaign) if campaign is not None else ""
    if lack:
        console.print(
            f"Warning: labels cannot be calculated on this machine, and a run would be refused. {lack}",
            style="yellow",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    os.environ[ONLY_LOOKING] = "1"
    try:
        yield
    finally:
        del os.environ[ONLY_LOOKING]
