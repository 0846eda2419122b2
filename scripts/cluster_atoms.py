"""Cluster the atoms of all batches within each cluster of structures."""

from pathlib import Path

from pesatlas.campaign.job import job

with job(snakemake) as campaign:
    from pesatlas.select.clustering import cluster_atoms

    cluster_atoms(
        campaign.select,
        cells=[Path(p) for p in [*snakemake.input.cells, *snakemake.input.reference]],
        structures=Path(snakemake.input.structures),
        centres=Path(snakemake.output.centres),
    )
