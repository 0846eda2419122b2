"""One module for each source of crystals."""
