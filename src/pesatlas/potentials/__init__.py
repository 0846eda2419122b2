"""Tools: machine-learning potentials behind one interface, found by name, gated, evaluated in batches."""
