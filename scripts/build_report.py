"""Build the report that a person opens first, and its figures as pictures."""

from pathlib import Path

from pesatlas.campaign.job import job
from pesatlas.campaign.layout import named

with job(snakemake):
    from pesatlas.report.build import build_report

    build_report(
        named(dict(snakemake.input.items())),
        report=Path(snakemake.output.report),
        pictures=Path(snakemake.output.figures[0]).parent,
    )
