"""Stage: what a person reads at the end."""
