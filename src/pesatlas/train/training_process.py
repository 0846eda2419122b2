"""Training in a process of its own, which lightning starts for each device.

Its command is ``python -m pesatlas.train.training_process task.json``. The job's own process does not serve:
lightning starts the others by the command line of the first, which here is Snakemake's.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pesatlas.config.train import Train
from pesatlas.errors import UserError
from pesatlas.runtime import supervise
from pesatlas.train.loop import Training, fabric_of
from pesatlas.train.model import base_potential, new_potential
from pesatlas.train.scan import Scanned, scan

log = logging.getLogger(__name__)

_LOOK_S = 2.0
_LIMIT_S = 30 * 24 * 3600.0
"""The batch system's limit counts, not this one."""


def start(
    settings: Train,
    datasets: Sequence[Path],
    found: Scanned,
    energies: tuple[float, ...],
    seed: int,
    folder: Path,
) -> None:
    """Train on all devices and return when that has ended; the checkpoint in ``folder`` then has the result.

    Raises
    ------
    UserError
        If it failed; the message has the end of what it said.
    """
    folder.mkdir(parents=True, exist_ok=True)
    task = {
        "settings": settings.model_dump(mode="json"),
        "datasets": [str(path) for path in datasets],
        "level": found.level,
        "fingerprints": found.fingerprints,
        "only": found.only,
        "energies": energies,
        "seed": seed,
        "folder": str(folder),
    }
    (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
    output = folder / "output.txt"
    command = [sys.executable, "-m", "pesatlas.train.training_process", str(folder / "task.json")]
    output.unlink(missing_ok=True)
    # the job's threads are those of all processes together
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = supervise.start(command, Path.cwd(), output, _LIMIT_S, environment=environment)
    status = _log_output(process, output)
    if status != 0:
        said = output.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-15:]
        raise UserError(
            f"training on {settings.devices} devices ended with status {status}; the whole output is in "
            f"{output}:\n" + "\n".join(said)
        )


def _log_output(process: subprocess.Popen[bytes], output: Path) -> int:
    """Repeat in the log what the processes say, until they end; return their status."""
    status, seen = None, 0
    while status is None:
        with suppress(subprocess.TimeoutExpired):
            status = process.wait(timeout=_LOOK_S)
        lines = output.read_text(encoding="utf-8", errors="replace").splitlines() if output.is_file() else []
        for line in lines[seen:]:
            log.info("%s", line)
        seen = len(lines)
    return status


def main(task: dict[str, Any]) -> None:
    """Train as the task says, as one of its processes."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    settings = Train.model_validate(task["settings"])
    fabric = fabric_of(settings)
    fabric.launch()
    if fabric.is_global_zero:
        logging.getLogger("pesatlas").setLevel(logging.INFO)
    paths = [Path(path) for path in task["datasets"]]
    found = scan(paths, task["level"], task["fingerprints"], task["only"])
    if settings.base is None:
        potential = new_potential(settings, found, tuple(task["energies"]), task["seed"])
    else:
        potential = base_potential(settings, found)
    Training(settings, potential, found, task["seed"], Path(task["folder"]) / "checkpoint.pt").run(fabric)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
