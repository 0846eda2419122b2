"""Fetch crystals from databases into their caches."""

from pesatlas.campaign.job import job

with job(snakemake) as campaign:
    from pesatlas.structures.source_caches import fetch_structures

    fetch_structures(campaign.structures)
