"""Identification of a campaign's Slurm jobs by their names."""

import hashlib
from pathlib import Path


def job_prefix(folder: Path) -> str:
    """Return what the names of all Slurm jobs of the campaign in ``folder`` begin with."""
    return f"pesatlas-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]}"
