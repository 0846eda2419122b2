"""Fetch the benchmark sets once, unless they are given as files."""

from pesatlas.campaign.job import job
from pesatlas.campaign.named_potentials import benchmarked_potentials

with job(snakemake) as campaign:
    from pesatlas.benchmark.matcalc_sets import fetch_data
    from pesatlas.potentials.loading import fetch_potential

    if campaign.benchmark.data is None:
        fetch_data(campaign.benchmark.folder, campaign.benchmark.chosen().values())
    for options, _ in benchmarked_potentials(campaign).values():
        fetch_potential(options)
