"""Architectures, one module each."""
