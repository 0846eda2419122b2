"""The process of a job: log, threads, progress, signals, and error messages."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from pesatlas.errors import UserError
from pesatlas.runtime.extras import missing_extra
from pesatlas.runtime.progress import progress_file

log = logging.getLogger(__name__)


@contextmanager
def run_job(rule: str, log_file: Path, threads: int) -> Iterator[None]:
    """Run the work of a job inside this.

    Threads are limited to those that the rule asked for, before numerical libraries are imported. Log lines
    go to the job's log file and to the terminal, progress to a file that ``pesatlas status`` reads. A
    ``UserError``, or an extra that is not installed, ends the process with status 1 and its message, without
    a traceback; SIGTERM (a time limit, a preemption, scancel) ends it in order.
    """
    signal.signal(signal.SIGTERM, _stop)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    # of rules with many jobs, each has its log in a folder of the rule's name, and is called as its log is
    batch = log_file.stem if log_file.parent.name == rule else ""
    with progress_file(rule, batch), _log_to(log_file, f"{rule} {batch}".strip()):
        yield


def _stop(number: int, _: Any) -> NoReturn:
    log.warning("stopping (%s); finished work is kept", signal.Signals(number).name)
    sys.exit(128 + number)


@contextmanager
def _log_to(path: Path, name: str) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    form = logging.Formatter(f"%(asctime)s {name}: %(message)s", "%H:%M:%S")
    handlers: list[logging.Handler] = [logging.FileHandler(path, mode="w"), logging.StreamHandler(sys.stderr)]
    root = logging.getLogger()
    root.setLevel(logging.WARNING)
    logging.getLogger("pesatlas").setLevel(logging.INFO)
    for handler in handlers:
        handler.setFormatter(form)
        root.addHandler(handler)
    try:
        yield
    except UserError as error:
        log.error("%s", error)  # noqa: TRY400 - a message for a person, not a crash
        sys.exit(1)
    except Exception as error:
        if message := missing_extra(error):
            log.error("%s", message)  # noqa: TRY400 - as above
            sys.exit(1)
        log.exception("unexpected error; please report it with this log (%s)", path)
        raise
    finally:
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()
