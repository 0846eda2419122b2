"""Label one batch of the selection at every reference level."""

from pathlib import Path

from pesatlas.campaign.job import job

with job(snakemake) as campaign:
    from pesatlas.label.batch import label_batch

    label_batch(
        campaign.label,
        campaign.campaign,
        batch=int(snakemake.wildcards.batch),
        selection=Path(snakemake.input.selection),
        labels=Path(snakemake.output.labels),
        failures=Path(snakemake.output.failures),
        work=Path(snakemake.params.work),
        memory_mb=snakemake.resources.mem_mb,
    )
