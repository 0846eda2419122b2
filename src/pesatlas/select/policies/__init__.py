"""One module for each selection policy."""
