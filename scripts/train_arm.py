"""Train one potential on what one policy picked for a share of the cost, and test it."""

from pathlib import Path

from pesatlas.campaign.job import job
from pesatlas.campaign.rounds import datasets_before

with job(snakemake) as campaign:
    from pesatlas.train.comparison_arm import train_arm

    named = snakemake.wildcards
    train_arm(
        campaign.train,
        campaign.compare,
        campaign.train_level,
        (named.policy, float(named.share), int(named.seed)),
        results=Path(snakemake.input.manifest).parent,
        arms=Path(snakemake.input.arms),
        folder=Path(snakemake.output.card).parent,
        work=Path(snakemake.params.work),
        store=Path(campaign.campaign.store),
        before=datasets_before(campaign.round, campaign.train_level),
    )
