"""One module for each domain: where on the surface to look."""
