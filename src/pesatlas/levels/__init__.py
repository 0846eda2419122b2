"""Tools: reference levels, immutable and fingerprinted."""
