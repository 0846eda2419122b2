"""Collect accepted labels into the dataset and account for every loss."""

from pesatlas.campaign.job import job
from pesatlas.campaign.layout import named
from pesatlas.campaign.rounds import datasets_before

with job(snakemake) as campaign:
    from pesatlas.dataset.collect import collect_dataset

    collect_dataset(
        campaign,
        named(dict(snakemake.input.items()) | dict(snakemake.output.items())),
        before=[path for level in campaign.label.levels for path in datasets_before(campaign.round, level)],
    )
