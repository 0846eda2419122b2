"""Entries of foreign files: read alike, accepted and refused alike, their labels understood alike, whichever command asks."""
