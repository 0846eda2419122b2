"""Encode the snapshots of one batch."""

from pathlib import Path

from pesatlas.campaign.job import job

with job(snakemake) as campaign:
    from pesatlas.encode.encode_shard import encode_snapshots

    encode_snapshots(
        campaign.encode,
        snapshots=Path(snakemake.input.snapshots),
        features=Path(snakemake.output.features),
        moments=Path(snakemake.output.moments),
        kept=next(map(Path, snakemake.input.get("kept", [])), None),
    )
