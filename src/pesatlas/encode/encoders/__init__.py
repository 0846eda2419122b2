"""Encoders, one module each."""
