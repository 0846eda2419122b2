"""Potentials of other environments: a worker process there, its client here, batches in shared memory."""
