"""A Snakemake job of a campaign: its checked configuration; tables that record settings and inputs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pesatlas.campaign.load import load_campaign
from pesatlas.campaign.made_with import made_with
from pesatlas.config.campaign import Campaign
from pesatlas.runtime.job_process import run_job
from pesatlas.tables.manifest import made_by_job


@contextmanager
def job(snakemake: Any) -> Iterator[Campaign]:
    """Run a script's call inside this: yields the checked configuration of the campaign.

    Log, threads, progress and messages are those of ``run_job``; manifest entries of the tables that are
    written tell what they were made with and of.
    """
    with run_job(snakemake.rule, Path(snakemake.log[0]), snakemake.threads):
        campaign = load_campaign(snakemake.config)
        settings = made_with(snakemake.rule, campaign, dict(snakemake.wildcards.items()))
        with made_by_job(settings, map(str, snakemake.input)):
            yield campaign
