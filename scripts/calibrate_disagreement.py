"""Compare the disagreement of the committee with its errors on labels of the round before."""

from pathlib import Path

from pesatlas.campaign.job import job

with job(snakemake) as campaign:
    from pesatlas.select.calibrate import calibrate_disagreement

    calibrate_disagreement(campaign, calibration=Path(snakemake.output.calibration))
