"""Say whether another thousand labels are worth their cost, and where."""

from pathlib import Path

from pesatlas.campaign.job import job
from pesatlas.config.round import required

with job(snakemake) as campaign:
    from pesatlas.report.advice import advise_round

    advise_round(
        required(campaign.round),
        results=Path(snakemake.input.manifest).parent,
        disagreement=[Path(p) for p in snakemake.input.disagreement],
        advice=Path(snakemake.output.advice),
    )
