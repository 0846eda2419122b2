"""Parts of the backend ``qe``: inputs, runs of pw.x, outputs."""
