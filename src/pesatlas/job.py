"""What every script does around its one call: log, threads, configuration, errors for people."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from pesatlas.config.campaign import Campaign
from pesatlas.config.load import load_campaign
from pesatlas.config.made_with import made_with
from pesatlas.errors import UserError
from pesatlas.progress import progress_file
from pesatlas.tables.manifest import made_by_job

log = logging.getLogger(__name__)


@contextmanager
def job(snakemake: Any) -> Iterator[Campaign]:
    """Run a script's call inside this: yields the checked configuration of the campaign.

    Threads are limited to what the rule asked for, before numerical libraries are imported. Log lines go to the rule's
    log file and to the terminal, progress to a file that ``pesatlas status`` reads; manifest entries of what is written tell what it was
    made with and of. A ``UserError`` ends the process with status 1 and its message, without a traceback.
    """
    signal.signal(signal.SIGTERM, _stop)  # time limit, preemption, scancel: clean up, then end
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(snakemake.threads)
    log_file = Path(snakemake.log[0])
    # of rules with many jobs, each has its log in a folder of the rule's name, and is called as its log is
    batch = log_file.stem if log_file.parent.name == snakemake.rule else ""
    with (
        progress_file(snakemake.rule, batch),
        _log_to(log_file, f"{snakemake.rule} {batch}".strip()),
    ):
        campaign = load_campaign(snakemake.config)
        settings = made_with(snakemake.rule, campaign, dict(snakemake.wildcards.items()))
        with made_by_job(settings, map(str, snakemake.input)):
            yield campaign


def _stop(number: int, _: Any) -> NoReturn:
    log.warning("told to stop (%s); what is finished is kept", signal.Signals(number).name)
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
    except Exception:
        log.exception("unexpected error; please report it with this log (%s)", path)
        raise
    finally:
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()
