"""Stage: molecular dynamics of a batch of cells, to snapshots."""
