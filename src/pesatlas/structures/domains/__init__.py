"""Domains, one module each: regions of the PES to explore."""
