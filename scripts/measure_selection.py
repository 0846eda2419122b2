"""Measure how well the selection covers what was explored."""

from pathlib import Path

from pesatlas.campaign.job import job

with job(snakemake) as campaign:
    from pesatlas.select.quality import measure_selection

    measure_selection(
        campaign.select,
        sampled=[Path(p) for p in snakemake.input.drawn],
        features=[Path(p) for p in snakemake.input.features],
        reference=[Path(p) for p in snakemake.input.reference],
        pca=Path(snakemake.input.pca),
        selection=Path(snakemake.input.selection),
        quality=Path(snakemake.output.quality),
    )
