"""Running jobs, and jobs that ended without results, from their progress files."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

from pesatlas.campaign.layout import log_of
from pesatlas.monitor.process import is_alive
from pesatlas.runtime.progress import FOLDER, State

_FIELDS = {field.name for field in fields(State)}


@dataclass(frozen=True)
class Job:
    """One job whose results are not there.

    Attributes
    ----------
    state : what its file says
    alive : whether its process still runs; None if that is not to be told from here
    """

    state: State
    alive: bool | None

    @property
    def running(self) -> bool:
        """Whether it is under way, as far as can be told."""
        return self.state.state == "running" and self.alive is not False

    @property
    def fate(self) -> str:
        """State of the job, in a word or two."""
        if self.state.state in {"failed", "stopped"}:
            return self.state.state
        return "running" if self.running else "killed"

    @property
    def log(self) -> str:
        """Its log file, below the campaign's folder."""
        return log_of(self.state.rule, self.state.batch)

    @property
    def duration_s(self) -> float | None:
        """Total time by its own estimate, s; None while unknown."""
        state = self.state
        return None if state.left_s is None else state.updated - state.started + state.left_s

    @property
    def share(self) -> float:
        """Completed share, from 0 to 1; by time where known, else by count."""
        state = self.state
        if self.duration_s:
            return (state.updated - state.started) / self.duration_s
        return state.done / state.total if state.total else 0.0


def read_jobs(
    folder: Path, has_results: Callable[[str, str], bool], in_slurm: frozenset[str] | None
) -> list[Job]:
    """Return the jobs of the campaign in ``folder`` that have no results.

    Parameters
    ----------
    has_results : whether the job of a rule and batch is finished; the files of those, which are most, are not
        opened
    in_slurm : numbers of the Slurm jobs that are there; None if Slurm cannot be asked
    """
    found = []
    for name in _names(folder / FOLDER):
        rule, _, batch = name.removesuffix(".json").partition("-")
        if has_results(rule, batch):
            continue
        state = _read(folder / FOLDER / name)
        if state is not None and state.state != "finished":
            found.append(Job(state, _alive(state, in_slurm)))
    return found


def mean_duration(folder: Path, rule: str, batches: list[str]) -> float | None:
    """Return how long the finished jobs of some batches took on average, s.

    None if nothing is known of them.
    """
    states = [_read(folder / FOLDER / f"{rule}-{batch}.json") for batch in batches]
    times = [state.updated - state.started for state in states if state and state.state == "finished"]
    return sum(times) / len(times) if times else None


def _names(folder: Path) -> list[str]:
    with suppress(FileNotFoundError):
        names = [path.name for path in folder.iterdir()]
        return sorted(name for name in names if name.endswith(".json") and not name.startswith("."))
    return []


def _read(path: Path) -> State | None:
    """Read one file; None if it went away, or is not one."""
    try:
        raw = json.loads(path.read_bytes())
        return State(**{name: value for name, value in raw.items() if name in _FIELDS})
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _alive(state: State, in_slurm: frozenset[str] | None) -> bool | None:
    here = is_alive(state.pid, state.host, state.started)
    if here is not None or not state.slurm_job or in_slurm is None:
        return here
    return state.slurm_job in in_slurm
