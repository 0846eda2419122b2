"""Whether Slurm is what a profile takes it for: partitions, account, accounting, time limits."""

import getpass
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from pesatlas.monitor.check import Check

_PATIENCE_S = 20.0


def read_profile(profile: Path) -> dict[str, Any]:
    """Return what a profile's config.yaml says; nothing if there is none that can be read."""
    try:
        values = yaml.safe_load((profile / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return {}
    return values if isinstance(values, dict) else {}


def check_slurm(profile: dict[str, Any], file: Path) -> Iterator[Check]:
    """Check what the profile read from ``file`` asks of Slurm."""
    limits = _ask("sinfo", "--noheader", "--format=%R|%l")
    if limits is None:
        yield Check(
            False,
            "Slurm does not answer (sinfo)",
            "run this on a login node of the cluster, or use --profile profiles/local",
        )
        return
    partitions = dict(line.split("|", 1) for line in limits.splitlines() if "|" in line)
    defaults = _resources(profile.get("default-resources"))
    for rule, asked in [("default-resources", defaults), *_by_rule(profile)]:
        name = asked.get("slurm_partition")
        if name is not None:
            yield _partition(rule, str(name), partitions, file)
    accounting = "slurmdbd" in (_ask("scontrol", "show", "config") or "")
    yield _status_command(profile, accounting, file)
    account = defaults.get("slurm_account")
    if account is not None:
        yield _account(str(account), accounting, file)


def _partition(rule: str, name: str, partitions: dict[str, str], file: Path) -> Check:
    if name not in partitions:
        known = ", ".join(sorted(partitions))
        return Check(
            False, f"{rule}: there is no partition {name}", f"set slurm_partition in {file} to one of {known}"
        )
    return Check(
        True, f"{rule}: partition {name}, jobs of up to {partitions[name]} (days-hours:minutes:seconds)"
    )


def _status_command(profile: dict[str, Any], accounting: bool, file: Path) -> Check:
    command = profile.get("slurm-status-command", "sacct")
    if command == "sacct" and not accounting:
        return Check(
            False,
            "this Slurm keeps no accounts, so sacct would never say that a job ended",
            f"slurm-status-command: squeue in {file}",
        )
    waits = (
        ", which waits for ever for a job that is cancelled: stop the run then, and start it again"
        if command == "sacct"
        else ""
    )
    return Check(True, f"Slurm {'with' if accounting else 'without'} accounting, asked by {command}{waits}")


def _account(name: str, accounting: bool, file: Path) -> Check:
    if not accounting:
        return Check(True, f"account {name}: not looked at by a Slurm without accounting")
    mine = _ask(
        "sacctmgr",
        "--noheader",
        "--parsable2",
        "show",
        "assoc",
        f"user={getpass.getuser()}",
        "format=account",
    )
    if mine is None:
        return Check(True, f"account {name}: sacctmgr does not answer, so it was not looked for")
    accounts = sorted(set(mine.split()))
    if name not in accounts:
        known = (
            f"set slurm_account in {file} to one of {', '.join(accounts)}"
            if accounts
            else "ask who runs the cluster"
        )
        return Check(False, f"you have no account {name}", known)
    return Check(True, f"account {name}")


def _by_rule(profile: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the resources of each rule; Snakemake takes a mapping, or a list of ``rule:name=value``."""
    rules = profile.get("set-resources") or {}
    if isinstance(rules, dict):
        yield from ((rule, _resources(values)) for rule, values in rules.items())
    else:
        for text in rules:
            rule, _, rest = str(text).partition(":")
            yield rule, _resources([rest])


def _resources(values: Any) -> dict[str, Any]:
    """Read resources: a mapping, or a list of ``name=value``."""
    if isinstance(values, dict):
        return values
    pairs = (str(text).split("=", 1) for text in values or [])
    return {pair[0]: re.sub(r"^['\"]|['\"]$", "", pair[1]) for pair in pairs if len(pair) == 2}


def _ask(*command: str) -> str | None:
    """Return what a command of Slurm says; None if there is no such command, or no answer."""
    program = shutil.which(command[0])
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *command[1:]], capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    return done.stdout if done.returncode == 0 else None
