"""A Slurm cluster: its facts, the profile of a campaign, requests and limits of jobs."""

from pesatlas.monitor.cluster.profile import read_profile

__all__ = ["read_profile"]
