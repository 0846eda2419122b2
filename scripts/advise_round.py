"""Say whether another thousand labels are worth their cost, and where."""

from pathlib import Path

from pesatlas.campaign.job import job
from pesatlas.campaign.layout import named
from pesatlas.config.round import required

with job(snakemake) as campaign:
    from pesatlas.report.advice import advise_round

    advise_round(
        required(campaign.round), named(dict(snakemake.input.items())), advice=Path(snakemake.output.advice)
    )
