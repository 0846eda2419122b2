"""Fetch weights that the configuration names, once.

Of the potential that explores, and of the one that labels, if one does.
"""

from pesatlas.campaign.job import job

with job(snakemake) as campaign:
    from pesatlas.potentials.loading import fetch_potential

    for options in campaign.potentials:
        fetch_potential(options)
