"""Stage: two-stage DIRECT sampling of the snapshots."""
