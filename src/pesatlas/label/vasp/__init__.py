"""What the backend ``vasp`` is made of: inputs, runs under custodian, outputs."""
