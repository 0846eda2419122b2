"""Fetch crystals from databases into their caches."""

from pathlib import Path

from pesatlas.job import job

with job(snakemake) as campaign:
    from pesatlas.structures.fetch import fetch_structures

    fetch_structures(campaign, done=Path(snakemake.output.done))
