"""Elements, geometry and units, without heavy imports."""
