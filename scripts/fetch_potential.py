"""Fetch weights that the configuration names, once."""

from pesatlas.job import job

with job(snakemake) as campaign:
    from pesatlas.potentials.registry import fetch_potential

    fetch_potential(campaign.explore.potential)
