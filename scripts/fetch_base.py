"""Fetch the weights that a potential is fine-tuned from, once."""

from pesatlas.campaign.job import job

with job(snakemake) as campaign:
    from pesatlas.potentials.loading import fetch_potential

    fetch_potential(campaign.train.base)
