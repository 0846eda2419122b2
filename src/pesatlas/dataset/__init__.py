"""Stage: accepted labels as a dataset, with every loss accounted for."""
