"""Stage: training of a potential on the dataset of one level."""
