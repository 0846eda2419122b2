"""Cluster structures, then atoms within each cluster."""

from pathlib import Path

from pesatlas.job import job

with job(snakemake) as campaign:
    from pesatlas.select.cluster import cluster_snapshots

    cluster_snapshots(
        campaign,
        features=[Path(p) for p in snakemake.input.features],
        pca=Path(snakemake.input.pca),
        clusters=Path(snakemake.output.clusters),
    )
