"""One process at work: progress, terminal output, other programs under supervision."""
