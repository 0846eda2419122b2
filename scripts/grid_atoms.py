"""Gather the atoms of a group of batches into cells of grids."""

from pathlib import Path

from pesatlas.campaign.job import job

with job(snakemake) as campaign:
    from pesatlas.select.clustering import grid_atoms

    grid_atoms(
        campaign.select,
        features=[Path(p) for p in snakemake.input.features],
        pca=Path(snakemake.input.pca),
        structures=Path(snakemake.input.structures),
        cells=Path(snakemake.output.cells),
    )
