"""One module for each architecture."""
