"""One module for each electronic-structure code."""
