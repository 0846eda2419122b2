"""Turn scores into statistics with intervals, differences between potentials, and a figure."""

from pathlib import Path

from pesatlas.campaign.job import job

with job(snakemake):
    from pesatlas.benchmark.score import score_benchmark

    score_benchmark([Path(p) for p in snakemake.input.scores], folder=Path(snakemake.output.summary).parent)
