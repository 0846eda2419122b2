"""Train one potential on the dataset of one level."""

from pathlib import Path

from pesatlas.campaign.job import job
from pesatlas.campaign.rounds import datasets_before

with job(snakemake) as campaign:
    from pesatlas.train.training import train_potential

    train_potential(
        campaign.train,
        campaign.train_level,
        seed=int(snakemake.wildcards.seed),
        results=Path(snakemake.input.manifest).parent,
        folder=Path(snakemake.output.card).parent,
        work=Path(snakemake.params.work),
        store=Path(campaign.campaign.store),
        before=datasets_before(campaign.round, campaign.train_level),
    )
