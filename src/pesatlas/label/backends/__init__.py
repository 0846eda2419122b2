"""Labelling backends: one module per electronic-structure code."""
