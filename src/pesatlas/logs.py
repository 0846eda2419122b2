"""Logging of a job: plain lines to its log file and to the terminal, errors for people without a traceback."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pesatlas.errors import UserError

log = logging.getLogger(__name__)


@contextmanager
def job_log(path: str | Path, job: str) -> Iterator[None]:
    """Log what happens inside to ``path`` and to stderr; a UserError ends the process with status 1 and its message."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    form = logging.Formatter(f"%(asctime)s {job} %(levelname)s %(message)s", "%H:%M:%S")
    handlers: list[logging.Handler] = [logging.FileHandler(path, mode="w"), logging.StreamHandler(sys.stderr)]
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    for handler in handlers:
        handler.setFormatter(form)
        root.addHandler(handler)
    try:
        yield
    except UserError as error:
        log.error("%s", error)  # noqa: TRY400 - a person's message, not a crash
        sys.exit(1)
    except Exception:
        log.exception("unexpected error: please report it with this log")
        raise
    finally:
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()
