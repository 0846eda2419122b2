"""Parts of the backend ``vasp``: inputs, runs under custodian, outputs."""
