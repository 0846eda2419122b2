"""One module for each kind of potential."""
