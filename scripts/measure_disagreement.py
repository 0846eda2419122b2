"""Ask the committee about the candidates of a group of batches."""

from pathlib import Path

from pesatlas.campaign.job import job

with job(snakemake) as campaign:
    from pesatlas.select.disagreement import measure_disagreement

    measure_disagreement(
        campaign.round,
        snapshots=[Path(p) for p in snakemake.input.snapshots],
        clusters=Path(snakemake.input.clusters),
        candidates=Path(snakemake.input.candidates),
        disagreement=Path(snakemake.output.disagreement),
    )
