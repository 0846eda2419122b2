"""Calculate isolated atoms at every reference level."""

from pathlib import Path

from pesatlas.campaign.job import job

with job(snakemake) as campaign:
    from pesatlas.label.isolated_atoms import label_atoms

    label_atoms(
        campaign.label,
        campaign.campaign,
        structures=Path(snakemake.input.structures),
        atoms=Path(snakemake.output.atoms),
        failures=Path(snakemake.output.failures),
        work=Path(snakemake.params.work),
        memory_mb=snakemake.resources.mem_mb,
    )
