"""The Slurm jobs of a campaign, from ``squeue``."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field

ALLOCATION = "allocation"
"""Comment and name of the Slurm job of an allocation (`--profile profiles/allocation`)."""
_FIELDS = "%A|%T|%P|%M|%r|%N|%j|%k"  # what a user may have filled in comes last
PATIENCE_S = 10.0
_UNITS_S = (1, 60, 3600, 86400)


@dataclass(frozen=True)
class SlurmJob:
    """One job of this user.

    Attributes
    ----------
    rule, batch : what it does for a campaign; empty for any other job, and ``ALLOCATION`` for one in which
        all of it runs
    reason : why it waits
    elapsed_s : how long it has run, s
    """

    job: str
    state: str
    partition: str
    elapsed_s: int
    reason: str
    node: str
    name: str
    rule: str = ""
    batch: str = ""


@dataclass(frozen=True)
class Queue:
    """What Slurm answered.

    Attributes
    ----------
    jobs : those of the campaign
    alive : numbers of all jobs of this user; None if there is no Slurm here, or no answer
    problem : why there is no answer; empty if there is one, or no Slurm
    """

    jobs: list[SlurmJob] = field(default_factory=list)
    alive: frozenset[str] | None = None
    problem: str = ""


def call_slurm(*command: str, patience_s: float = PATIENCE_S) -> subprocess.CompletedProcess[str] | None:
    """Run a command of Slurm's; None if it does not end in time, or there is no such command here.

    What others named, jobs and reasons of nodes, need not be UTF-8.
    """
    program = shutil.which(command[0])
    if program is None:
        return None
    try:
        return subprocess.run(
            [program, *command[1:]],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=patience_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None


def error_of(done: subprocess.CompletedProcess[str] | None, patience_s: float = PATIENCE_S) -> str:
    """Return what a command of Slurm's complains of; empty if it did as told."""
    if done is None:
        return f"no answer within {patience_s:.0f} s"
    return (done.stderr.strip() or f"exit status {done.returncode}") if done.returncode else ""


def read_queue(prefix: str) -> Queue:
    """Ask Slurm for this user's jobs; those whose names begin with ``prefix`` are the campaign's."""
    if shutil.which("squeue") is None:
        return Queue()
    done = call_slurm("squeue", "--me", "--noheader", "--format", _FIELDS)
    if done is None:
        return Queue(problem=f"squeue did not answer within {PATIENCE_S:.0f} s")
    if done.returncode != 0:
        if "configuration source" in done.stderr:
            return Queue()  # Slurm's programs are installed, but this machine belongs to no cluster
        said = done.stderr.strip().splitlines()
        return Queue(problem=said[-1] if said else f"squeue ended with status {done.returncode}")
    return parse(done.stdout.splitlines(), prefix)


def parse(lines: Sequence[str], prefix: str) -> Queue:
    """Read the lines of ``squeue``; without being asked for them it tells of no jobs that are over."""
    jobs = [job for line in lines if (job := _job(line))]
    return Queue([job for job in jobs if job.name.startswith(prefix)], frozenset(job.job for job in jobs))


def _job(line: str) -> SlurmJob | None:
    parts = line.split("|", 7)
    if len(parts) < 8:
        return None
    number, state, partition, elapsed, reason, node, name, comment = parts
    # the comment by which Snakemake says what a job does
    about = re.match(r"rule_(\w+?)(?:_wildcards_(\d{5}))?$", comment)
    rule, batch = (about[1], about[2] or "") if about else (ALLOCATION * (comment == ALLOCATION), "")
    return SlurmJob(number, state, partition, seconds(elapsed), reason, node, name, rule, batch)


def seconds(elapsed: str) -> int:
    """Read ``[days-][hours:]minutes:seconds``; 0 for anything else."""
    numbers = re.split(r"[-:]", elapsed)
    if not all(number.isdigit() for number in numbers):
        return 0
    return sum(int(number) * unit for number, unit in zip(reversed(numbers), _UNITS_S, strict=False))
