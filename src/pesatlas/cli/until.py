"""``--until RULE`` for rules whose jobs Snakemake knows only once the structures are prepared.

How many batches of structures there are, the checkpoint tells. Snakemake looks for the jobs of ``--until``
before it takes that into account, and finds none of a rule with a job for each batch or group: it ends with
success, and has made nothing. So such a run is made in two: until the checkpoint, then until the files of
that rule, which Snakemake lists by then.
"""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pesatlas.campaign.layout import path_of
from pesatlas.campaign.rules import RULES
from pesatlas.cli.snakemake_options import find_options
from pesatlas.errors import UserError

CHECKPOINT = "prepare_structures"
BEHIND_IT = frozenset(
    {"run_md", "encode_snapshots", "grid_structures", "grid_atoms", "reduce_frames", "measure_disagreement"}
)
"""Rules with a job for each batch or group of structures."""
DRY_RUN = frozenset({"-n", "--dry-run", "--dryrun"})
_UNTIL = ("--until", "-U")
_PENDING = "update pending"


@dataclass(frozen=True)
class Dag:
    """Jobs of a campaign that Snakemake knows now.

    Attributes
    ----------
    files : output files by rule
    open : whether jobs have to run until the checkpoint is reached
    pending : rules that have a job to run
    """

    files: dict[str, list[str]]
    open: bool
    pending: frozenset[str]


def until_of(arguments: Sequence[str]) -> list[str]:
    """Return what ``--until`` names in arguments of Snakemake: rules or files."""
    return [value for option in find_options(arguments, *_UNTIL) for value in option.values]


def behind(arguments: Sequence[str]) -> list[str]:
    """Return which of the rules that ``--until`` names are behind the checkpoint."""
    return [name for name in until_of(arguments) if name in BEHIND_IT]


def first_part(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of the first run: the checkpoint in place of what ``--until`` names."""
    return _replaced(arguments, {name: [CHECKPOINT] for name in until_of(arguments)})


def second_part(arguments: Sequence[str], dag: Dag) -> list[str]:
    """Return the arguments of the second run.

    Files in place of the rules behind the checkpoint, which has run.

    Raises
    ------
    UserError
        If such a rule makes no file in this campaign.
    """
    _check_there_are_jobs(behind(arguments), dag)
    return _replaced(arguments, {name: dag.files[name] for name in behind(arguments)})


def read_dag(command: list[str], arguments: Sequence[str], folder: Path) -> Dag | None:
    """Return what Snakemake knows of the jobs that ``--until`` would be looked for in.

    None if it refuses the other arguments.

    Parameters
    ----------
    command : how Snakemake is started, without the arguments

    Raises
    ------
    UserError
        If ``--until`` names a rule that is not behind the checkpoint and makes no file in this campaign.
    """
    everything = [*command, *_without_until(arguments)]
    text = _output([*everything, "--summary"], folder)
    if text is None:
        return None
    rows = [line.split("\t") for line in text.splitlines() if line.count("\t") >= 5][1:]
    files: dict[str, list[str]] = {}
    for row in rows:
        files.setdefault(row[2], []).append(row[0])
    pending = frozenset(row[2] for row in rows if row[-1] == _PENDING)
    dag = Dag(files, CHECKPOINT in pending, pending)
    others = [name for name in until_of(arguments) if name not in files and name not in BEHIND_IT | {"all"}]
    # what is no rule is a file: whether it can be made, Snakemake says
    rules = (_output([*everything, "--list-rules"], folder) or "").split() if others else []
    _check_there_are_jobs([name for name in others if name in rules], dag)
    for name in others:
        if name in RULES and name not in rules:
            raise UserError(
                f"--until {name}: this is a stage. Name one of its rules: {', '.join(RULES[name])}."
            )
    return dag


def _check_there_are_jobs(named: Sequence[str], dag: Dag) -> None:
    missing = [name for name in named if name not in dag.files]
    if missing:
        known = {*dag.files, *(BEHIND_IT if dag.open else ())} - set(missing)
        raise UserError(
            f"--until {' '.join(missing)}: this campaign has no job of that rule, so there is nothing to "
            f"run. It has jobs of: {', '.join(sorted(known))}. Name one of these, or a file, e.g. "
            f"{path_of('snapshots', batch=0)}."
        )


def _replaced(arguments: Sequence[str], by: dict[str, list[str]]) -> list[str]:
    """Return the arguments with other values of ``--until``, where there are others."""
    found = list(arguments)
    for option in reversed(find_options(arguments, *_UNTIL)):
        name = "--until" if option.joined else arguments[option.at]
        values = [new for value in option.values for new in by.get(value, [value])]
        found[option.indices.start : option.indices.stop] = [name, *values]
    return found


def _without_until(arguments: Sequence[str]) -> list[str]:
    gone = {i for option in find_options(arguments, *_UNTIL) for i in option.indices}
    return [each for i, each in enumerate(arguments) if i not in gone and each not in DRY_RUN]


def _output(command: list[str], folder: Path) -> str | None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return None if done.returncode else done.stdout
