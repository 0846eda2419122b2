"""Fetch the weights that a potential is fine-tuned from, once."""

from pesatlas.job import job

with job(snakemake) as campaign:
    from pesatlas.potentials.registry import fetch_potential

    fetch_potential(campaign.train.base)
