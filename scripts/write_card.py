"""Write what the dataset says of itself."""

from pathlib import Path

from pesatlas.campaign.job import job

with job(snakemake) as campaign:
    from pesatlas.dataset.card import write_card

    write_card(campaign.dataset.card, results=Path(snakemake.input.manifest).parent)
