"""Outputs that take long to make and are only read: the first worker that needs one makes it for all of
them."""

import fcntl
import os
from contextlib import contextmanager


@contextmanager
def made_once(tmp_path_factory, name):
    """Give a folder of all workers of pytest-xdist, and whether what belongs in it is there; one at a time
    is in this context.

    Once the context was left without an exception it is there.
    """
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"for-all-{name}"
    place.mkdir(exist_ok=True)
    made = place / "made"
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield place, made.exists()
        made.touch()
