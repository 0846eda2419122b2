"""VASP runs that somebody made without pesatlas: found, read, verified, and compared with a level key by key."""
