"""Stage: single-point calculations of the selection at every reference level."""
