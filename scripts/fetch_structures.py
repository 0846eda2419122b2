"""Fetch crystals from databases into their caches."""

from pesatlas.job import job

with job(snakemake) as campaign:
    from pesatlas.structures.fetch import fetch_structures

    fetch_structures(campaign)
