"""A Slurm cluster: its facts, the profile of a campaign, what jobs ask for and what they are given."""

from pesatlas.monitor.cluster.profile import read_profile

__all__ = ["read_profile"]
