"""Pick the snapshots to label."""

from pathlib import Path

from pesatlas.campaign.job import job

with job(snakemake) as campaign:
    from pesatlas.select.expected_errors import Committee
    from pesatlas.select.pick import pick_snapshots
    from pesatlas.select.reference import Reference

    tables = [*snakemake.input.reference, *snakemake.input.reference_clusters]
    reference = Reference(*map(Path, tables)) if tables else None
    asked = [Path(p) for p in snakemake.input.disagreement]
    pick_snapshots(
        campaign.select,
        campaign.campaign.seed,
        snapshots=[Path(p) for p in snakemake.input.snapshots],
        candidates=[Path(p) for p in snakemake.input.candidates],
        geometries=[Path(p) for p in snakemake.input.geometries],
        atoms=Path(snakemake.input.atoms),
        reference=reference,
        selection=Path(snakemake.output.selection),
        structures_per_job=campaign.label.structures_per_job,
        committee=Committee(asked, Path(snakemake.input.calibration)) if asked else None,
    )
