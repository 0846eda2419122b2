"""Selection policies, one module each."""
