"""Measure one property of one potential on its share of the structures."""

from pathlib import Path

from pesatlas.campaign.job import job

with job(snakemake) as campaign:
    from pesatlas.benchmark.benchmarked import benchmarked_potential
    from pesatlas.benchmark.measure import run_benchmark
    from pesatlas.campaign.named_potentials import benchmarked_potentials

    name = snakemake.wildcards.potential
    run_benchmark(
        campaign.benchmark,
        benchmarked_potential(name, *benchmarked_potentials(campaign)[name]),
        snakemake.wildcards.property,
        int(snakemake.wildcards.batch),
        level=campaign.train_level,
        seed=campaign.campaign.seed,
        store=Path(campaign.campaign.store),
        dataset=Path(snakemake.input.dataset),
        work=Path(snakemake.params.work),
        scores=Path(snakemake.output.scores),
    )
