"""Read-only view of a campaign: progress, expected cost, readiness. Nothing here writes or locks."""
