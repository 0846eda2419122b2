"""Read the datasets of select.reference as a table of snapshots."""

from pathlib import Path

from pesatlas.campaign.job import job
from pesatlas.campaign.rounds import references

with job(snakemake) as campaign:
    from pesatlas.structures.external_frames import read_external

    read_external(
        references(campaign),
        snapshots=Path(snakemake.output.snapshots),
        failures=Path(snakemake.output.failures),
    )
