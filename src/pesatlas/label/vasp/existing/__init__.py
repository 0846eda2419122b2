"""Existing VASP runs: found, read, verified, and compared with a level key by key."""
