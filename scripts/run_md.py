"""Run molecular dynamics of one batch of cells."""

from pathlib import Path

from pesatlas.campaign.job import job

with job(snakemake) as campaign:
    from pesatlas.explore.explore_batch import run_md

    run_md(
        campaign.explore,
        campaign.campaign,
        batch=int(snakemake.wildcards.batch),
        structures=Path(snakemake.input.structures),
        snapshots=Path(snakemake.output.snapshots),
        failures=Path(snakemake.output.failures),
        work=Path(snakemake.params.work),
        # only where trajectories end when they are saturated
        **{
            argument: Path(path)
            for argument, name in (("trajectories", "trajectories"), ("features", "explored_features"))
            if (path := snakemake.output.get(name))
        },
    )
