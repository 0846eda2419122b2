"""Fetch weights that the configuration names, once."""

from pathlib import Path

from pesatlas.job import job

with job(snakemake) as campaign:
    from pesatlas.potentials.fetch import fetch_potential
    from pesatlas.tables.atomic import write_text

    options = campaign.explore.potential
    folder = fetch_potential(options, Path(getattr(options, "cache", ".")))
    write_text(Path(snakemake.output.done), f"{folder}\n")
