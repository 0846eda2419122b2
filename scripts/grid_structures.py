"""Gather the structures of a group of batches into cells of a grid."""

from pathlib import Path

from pesatlas.campaign.job import job

with job(snakemake) as campaign:
    from pesatlas.select.clustering import grid_structures

    grid_structures(
        campaign.select,
        features=[Path(p) for p in snakemake.input.features],
        pca=Path(snakemake.input.pca),
        cells=Path(snakemake.output.cells),
    )
