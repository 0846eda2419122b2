"""Pick the snapshots that the arms of a comparison and its test need."""

from pathlib import Path

from pesatlas.campaign.job import job

with job(snakemake) as campaign:
    from pesatlas.select.comparison_picks import Explored, pick_arms
    from pesatlas.select.reference import Reference

    tables = [*snakemake.input.reference, *snakemake.input.reference_clusters]
    explored = Explored(
        structures=Path(snakemake.input.structures),
        snapshots=[Path(p) for p in snakemake.input.snapshots],
        clusters=[Path(p) for p in snakemake.input.clusters],
        candidates=[Path(p) for p in snakemake.input.candidates],
        geometries=[Path(p) for p in snakemake.input.geometries],
        atoms=Path(snakemake.input.atoms),
        reference=Reference(*map(Path, tables)) if tables else None,
    )
    pick_arms(
        campaign.compare,
        campaign.select,
        campaign.dataset.split,
        campaign.campaign.seed,
        explored,
        selection=Path(snakemake.output.selection),
        arms=Path(snakemake.output.arms),
        structures_per_job=campaign.label.structures_per_job,
    )
