"""Cluster the structures of all batches."""

from pathlib import Path

from pesatlas.campaign.job import job

with job(snakemake) as campaign:
    from pesatlas.select.clustering import cluster_structures

    cluster_structures(
        campaign.select,
        cells=[Path(p) for p in [*snakemake.input.cells, *snakemake.input.reference]],
        pca=Path(snakemake.input.pca),
        centres=Path(snakemake.output.centres),
    )
