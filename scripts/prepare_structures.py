"""Prepare the cells that are explored."""

from pathlib import Path

from pesatlas.campaign.job import job

with job(snakemake) as campaign:
    from pesatlas.structures.prepare import prepare_structures

    prepare_structures(
        campaign.structures,
        campaign.explore,
        campaign.label.backend,
        structures=Path(snakemake.output.structures),
        failures=Path(snakemake.output.failures),
    )
