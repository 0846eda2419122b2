"""Measure one property of one potential on its share of the structures."""

from pathlib import Path

from pesatlas.campaign.job import job

with job(snakemake) as campaign:
    from pesatlas.benchmark.measure import run_benchmark

    run_benchmark(
        campaign,
        snakemake.wildcards.potential,
        snakemake.wildcards.property,
        int(snakemake.wildcards.batch),
        dataset=Path(snakemake.input.dataset),
        work=Path(snakemake.params.work),
        scores=Path(snakemake.output.scores),
    )
