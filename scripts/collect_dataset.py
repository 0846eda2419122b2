"""Collect accepted labels into the dataset and account for every loss."""

from pathlib import Path

from pesatlas.campaign.job import job
from pesatlas.campaign.rounds import datasets_before

with job(snakemake) as campaign:
    from pesatlas.dataset.collect import collect_dataset

    collect_dataset(
        campaign,
        results=Path(snakemake.output.manifest).parent,
        labels=[Path(p) for p in snakemake.input.labels],
        before=[path for level in campaign.label.levels for path in datasets_before(campaign.round, level)],
    )
