"""Compare the disagreement of the committee with its errors on labels of the round before."""

from pathlib import Path

from pesatlas.campaign.job import job

with job(snakemake) as campaign:
    from pesatlas.select.calibrate import calibrate_disagreement

    calibrate_disagreement(
        campaign.round,
        level=campaign.round.level or campaign.label.levels[0],
        seed=campaign.campaign.seed,
        calibration=Path(snakemake.output.calibration),
    )
