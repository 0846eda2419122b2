"""Assign the frames of a group of batches to clusters, and keep those that may be picked."""

from pathlib import Path

from pesatlas.campaign.job import job

with job(snakemake) as campaign:
    from pesatlas.select.assign import assign_frames
    from pesatlas.select.candidates import find_candidates
    from pesatlas.select.quality import sample_frames

    clusters = Path(snakemake.output.clusters)
    assign_frames(
        features=[Path(p) for p in snakemake.input.features],
        pca=Path(snakemake.input.pca),
        structures=Path(snakemake.input.structures),
        atoms=Path(snakemake.input.atoms),
        clusters=clusters,
    )
    find_candidates(
        campaign.select,
        campaign.campaign.seed,
        snapshots=[Path(p) for p in snakemake.input.snapshots],
        clusters=clusters,
        atoms=Path(snakemake.input.atoms),
        candidates=Path(snakemake.output.candidates),
        geometries=Path(snakemake.output.geometries),
    )
    sample_frames(
        campaign.campaign.seed,
        features=[Path(p) for p in snakemake.input.features],
        pca=Path(snakemake.input.pca),
        sampled=Path(snakemake.output.drawn),
    )
