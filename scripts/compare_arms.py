"""Compare the arms by the errors of the potentials that were trained on them."""

from pathlib import Path

from pesatlas.campaign.job import job

with job(snakemake) as campaign:
    from pesatlas.train.comparison import compare_arms

    compare_arms(
        campaign.compare,
        campaign.train_level,
        campaign.campaign.seed,
        arms=Path(snakemake.input.arms),
        errors=[Path(p) for p in snakemake.input.errors],
        comparison=Path(snakemake.output.comparison),
        contrasts=Path(snakemake.output.contrasts),
        efficiency=Path(snakemake.output.efficiency),
    )
