"""Pick the snapshots to label."""

from pathlib import Path

from pesatlas.job import job

with job(snakemake) as campaign:
    from pesatlas.select.pick import pick_snapshots

    pick_snapshots(
        campaign,
        snapshots=[Path(p) for p in snakemake.input.snapshots],
        clusters=Path(snakemake.input.clusters),
        selection=Path(snakemake.output.selection),
    )
