"""Ask the exploring potential about a sample of the labelled rows."""

from pathlib import Path

from pesatlas.campaign.job import job

with job(snakemake) as campaign:
    from pesatlas.report.parity import evaluate_potential

    evaluate_potential(
        campaign.explore,
        campaign.campaign.seed,
        dataset=Path(snakemake.input.dataset),
        parity=Path(snakemake.output.parity),
    )
