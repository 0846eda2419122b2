"""Build the report that a person opens first, and its figures as pictures."""

from pathlib import Path

from pesatlas.campaign.job import job

with job(snakemake):
    from pesatlas.report.build import build_report

    build_report(
        results=Path(snakemake.input.manifest).parent,
        report=Path(snakemake.output.report),
        pictures=Path(snakemake.output.figures[0]).parent,
        potentials=[Path(card).parent for card in snakemake.input.potentials],
        benchmark=next(map(Path, snakemake.input.benchmark), None),
        advice=Path(snakemake.input.advice) if snakemake.input.advice else None,
        compared=tuple(Path(p) for p in snakemake.input.compared) or None,
    )
