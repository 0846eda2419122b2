"""Stage: feature vectors of snapshots and of their atoms."""
