"""Collect accepted labels into the dataset and account for every loss."""

from pathlib import Path

from pesatlas.campaign.job import job

with job(snakemake) as campaign:
    from pesatlas.dataset.collect import collect_dataset

    collect_dataset(
        campaign,
        results=Path(snakemake.output.manifest).parent,
        labels=[Path(p) for p in snakemake.input.labels],
    )
