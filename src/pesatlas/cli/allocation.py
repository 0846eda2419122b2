"""A campaign inside one Slurm allocation: jobs run as steps, and further allocations continue it.

``pesatlas run --profile profiles/allocation`` on a login node submits ``job.sh`` of the profile, which runs
this module on the first node of the allocation. It starts the controlling process (``pesatlas run`` again)
and watches it and the time.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from pesatlas.cli.live_view import campaign_of_run
from pesatlas.cli.slurm_jobs import job_prefix
from pesatlas.errors import UserError
from pesatlas.monitor.squeue import ALLOCATION, call_slurm, read_queue, seconds
from pesatlas.monitor.status import read_status

EXECUTOR = "cluster-sync"
"""Snakemake's executor that starts a command for each job and waits for it: here `srun`."""
MOST_FRUITLESS = 2
"""Allocations in a row that finish nothing, after which none is submitted."""
_STOP_S = 120.0
"""Time before the end at which jobs that still run are told to stop.

A third of the time left, if that is less.
"""
_TURN_S = 1.0


def must_submit(executor: str) -> bool:
    """Return whether a run with this executor of Snakemake's needs an allocation, and is not in one."""
    return executor == EXECUTOR and "SLURM_JOB_ID" not in os.environ


def submit(folder: Path, profile: Path, arguments: list[str], console: Console) -> int:
    """Submit the allocation of the campaign in ``folder`` with the options of ``job.sh``; return 0.

    Raises
    ------
    UserError
        If there is one already, or Slurm does not take it.
    """
    if shutil.which("sbatch") is None:
        raise UserError(
            f"--profile {profile} submits an allocation to Slurm, but there is no sbatch here. Run on a "
            "login node of the cluster, or use another profile, e.g. --profile profiles/local."
        )
    there = [job for job in read_queue(job_prefix(folder)).jobs if job.rule == ALLOCATION]
    if there:
        raise UserError(
            f"this campaign has an allocation already: Slurm job {there[0].job}, {there[0].state.lower()}. "
            f"`pesatlas status` shows its progress; `scancel {there[0].job}` ends it and keeps finished "
            "work."
        )
    number = _sbatch(folder, profile, arguments, 0, [])
    console.print(
        f"Submitted: Slurm job {number}. The campaign runs in it until it is finished or the time is up; a "
        "further allocation then continues it. `pesatlas status` shows its progress; its output: "
        f"logs/slurm/allocation-{number}.log."
    )
    return 0


def _sbatch(folder: Path, profile: Path, arguments: list[str], fruitless: int, options: list[str]) -> str:
    """Submit an allocation; return its number."""
    (folder / "logs" / "slurm").mkdir(parents=True, exist_ok=True)
    inside = [sys.executable, "-m", "pesatlas.cli.allocation", str(fruitless), str(profile), *arguments]
    named = [f"--job-name={job_prefix(folder)}", f"--comment={ALLOCATION}"]
    done = subprocess.run(
        [
            shutil.which("sbatch") or "sbatch",
            "--parsable",
            *named,
            *options,
            str(profile / "job.sh"),
            *inside,
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise UserError(
            f"Slurm does not accept {profile / 'job.sh'}: {done.stderr.strip()}. Correct its #SBATCH lines, "
            "then run the same command again."
        )
    return done.stdout.strip().partition(";")[0]


@dataclass(frozen=True)
class Share:
    """Cores and GPUs that the steps of this allocation may use together."""

    cores: int
    gpus: int


def share(environment: dict[str, str]) -> Share:
    """Return what Slurm says in the environment of a batch script."""
    cores = sum(
        int(count) * int(nodes or 1)
        for count, nodes in re.findall(r"(\d+)(?:\(x(\d+)\))?", environment["SLURM_JOB_CPUS_PER_NODE"])
    )
    nodes = int(environment.get("SLURM_JOB_NUM_NODES", "1"))
    return Share(cores, nodes * int(environment.get("SLURM_GPUS_ON_NODE", "0")))


def run_inside(folder: Path, profile: Path, arguments: list[str], fruitless: int, console: Console) -> int:
    """Run the campaign in ``folder`` in this allocation; return the exit status of its controlling process.

    SIGUSR1, by Slurm some time before the end, lets no more jobs start, and submits a further allocation.
    SIGTERM (somebody's ``scancel``) submits none.

    Parameters
    ----------
    fruitless : allocations in a row before this one that finished nothing
    """
    number = os.environ["SLURM_JOB_ID"]
    told: list[int] = []
    for each in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(each, lambda got, _: told.append(got))
    before = _finished(folder, arguments)
    room = share(dict(os.environ))
    command = [sys.executable, "-m", "pesatlas.cli.main", "run", "--profile", str(profile)]
    limits = ["--resources", f"cores_of_allocation={room.cores}", f"gpu={room.gpus}"]
    controller = subprocess.Popen([*command, *arguments, *limits], cwd=folder, start_new_session=True)
    further = partial(_submit_further, folder, profile, arguments, fruitless, before, console)
    while controller.poll() is None and not told:
        time.sleep(_TURN_S)
    after = ""
    if controller.poll() is None:
        if told[0] == signal.SIGUSR1:
            console.print("The time of this allocation ends: no more jobs are started.")
            after = further()
        controller.send_signal(signal.SIGTERM)
        _wait(controller, number)
    elif controller.returncode < 0 or controller.returncode > 128:
        # killed, for its memory or by somebody: what it started on this node would go on
        with suppress(ProcessLookupError):
            os.killpg(controller.pid, signal.SIGKILL)
        time.sleep(_TURN_S)  # scancel tells both
        if signal.SIGTERM not in told:
            after = further()
    status = controller.wait()
    if status == 0 and after:
        call_slurm("scancel", after)
        console.print(f"The campaign is finished: Slurm job {after} is cancelled.")
    return status


def _submit_further(
    folder: Path, profile: Path, arguments: list[str], fruitless: int, before: int, console: Console
) -> str:
    """Submit the allocation after this one, unless it would be as fruitless; return its number.

    Parameters
    ----------
    before : how much of the campaign there was when this allocation began
    """
    count = 0 if _finished(folder, arguments) > before else fruitless + 1
    if count >= MOST_FRUITLESS:
        console.print(
            f"{count} allocations in a row finished nothing: no further one is submitted. See logs/ for the "
            "reason; the same command continues."
        )
        return ""
    after_this = f"--dependency=afterany:{os.environ['SLURM_JOB_ID']}"
    try:
        found = _sbatch(folder, profile, arguments, count, [after_this])
    except UserError as error:
        console.print(
            f"No further allocation could be submitted from here; the same command continues. {error}",
            markup=False,
        )
        return ""
    console.print(f"A further allocation continues: Slurm job {found}.")
    return found


def _wait(controller: subprocess.Popen[bytes], number: str) -> None:
    """Wait for running jobs to end, and tell them to stop when time runs out: each keeps what it finished."""
    left = _left_s(number)
    deadline = time.monotonic() + left - min(_STOP_S, left / 3)
    while controller.poll() is None and time.monotonic() < deadline:
        time.sleep(_TURN_S)
    if controller.poll() is None:
        # steps alone: not the batch script, which this is
        call_slurm("scancel", "--signal=TERM", number)


def _left_s(number: str) -> float:
    """Return the time left of this allocation, s; 0 if Slurm does not answer."""
    done = call_slurm("squeue", "--noheader", "--jobs", number, "--format=%L")
    return seconds(done.stdout.strip()) if done else 0


def _finished(folder: Path, arguments: list[str]) -> int:
    """Return how much of the campaign there is: items and jobs of all stages; 0 if that is not known."""
    campaign = campaign_of_run(folder, arguments)
    if campaign is None:
        return 0
    stages = read_status(folder, campaign, job_prefix(folder)).stages
    return sum(stage.done + stage.failed + stage.batches_done for stage in stages)


if __name__ == "__main__":
    sys.exit(run_inside(Path(), Path(sys.argv[2]), sys.argv[3:], int(sys.argv[1]), Console()))
