"""Write the dataset in one of the forms that people train on."""

from pathlib import Path

from pesatlas.campaign.job import job

with job(snakemake):
    from pesatlas.dataset.export import export_dataset

    export_dataset(
        results=Path(snakemake.input.manifest).parent,
        kind=snakemake.wildcards.format,
        folder=Path(snakemake.output.record).parent,
        verdicts=snakemake.params.verdicts,
    )
