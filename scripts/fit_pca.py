"""Fit principal components to the summed moments."""

from pathlib import Path

from pesatlas.campaign.job import job

with job(snakemake) as campaign:
    from pesatlas.select.pca import fit_pca

    fit_pca(
        campaign.select,
        moments=[Path(p) for p in [*snakemake.input.moments, *snakemake.input.reference]],
        pca=Path(snakemake.output.pca),
    )
