"""Resource requests of a campaign's jobs, by Snakemake under a profile, attempt by attempt."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pesatlas.config.campaign import Campaign
from pesatlas.errors import UserError

_LAST_LINES = 5
_UNQUOTED = "must be evaluated within the context of a rule"
"""Said by Snakemake of a resource whose value became a function."""


@dataclass(frozen=True)
class Request:
    """The jobs of a rule.

    Attributes
    ----------
    minutes, memory_mb : of each attempt
    wanted_minutes, wanted_mb : of the first attempt, without max_runtime and max_mem_mb of the profile
    options : other resources that the profile names, e.g. slurm_partition, slurm_account, qos
    """

    rule: str
    cores: int
    gpus: int
    minutes: tuple[int, ...]
    memory_mb: tuple[int, ...]
    wanted_minutes: int
    wanted_mb: int
    options: dict[str, Any]

    @property
    def partition(self) -> str | None:
        """The partition that the profile names for this rule."""
        name = self.options.get("slurm_partition")
        return None if name is None else str(name)

    @property
    def account(self) -> str | None:
        """The account that the profile names for this rule."""
        name = self.options.get("slurm_account")
        return None if name is None else str(name)


def requests_of(campaign: Campaign, config: Path, profile: Path | None, snakefile: Path) -> list[Request]:
    """Return what jobs of the campaign in this folder will ask for.

    Those that run where ``pesatlas run`` runs ask for nothing.

    Parameters
    ----------
    profile : folder of a profile; None: what the rules themselves ask for

    Raises
    ------
    UserError
        If Snakemake does not take the profile or the workflow.
    """
    arguments = ["--snakefile", str(snakefile), "--configfile", str(config)]
    arguments += ["--profile", str(profile)] if profile else []
    # a process of its own: Snakemake sets up logging and changes global state as it reads a workflow
    done = subprocess.run(
        [sys.executable, "-m", "pesatlas.monitor.cluster.evaluate", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        _, misused, message = done.stderr.rpartition("error: argument ")
        last = message if misused else "\n".join(done.stderr.strip().splitlines()[-_LAST_LINES:])
        if _UNQUOTED in last:
            last = (
                f"{last}\nA name that Python knows too, e.g. of a partition all or open, is quoted twice: "
                "slurm_partition: \"'all'\"."
            )
        raise UserError(f"Snakemake cannot compute the requests of jobs: {last.strip()}")
    rules = json.loads(done.stdout.splitlines()[-1])
    # rules of a section that the campaign does not have are in a file of its name, and have no jobs
    return [_request(rule) for rule in rules if getattr(campaign, rule["file"], "") is not None]


def _request(rule: dict[str, Any]) -> Request:
    attempts, free = rule["attempts"], rule["free"]
    first = attempts[0]
    return Request(
        rule=rule["rule"],
        cores=first["_cores"],
        gpus=_gpus(first),
        minutes=tuple(attempt.get("runtime", 0) for attempt in attempts),
        memory_mb=tuple(_memory(attempt) for attempt in attempts),
        wanted_minutes=free.get("runtime", 0),
        wanted_mb=_memory(free),
        options={name: value for name, value in first.items() if name not in {"tmpdir", "runtime"}},
    )


def _memory(resources: dict[str, Any]) -> int:
    each = resources.get("mem_mb_per_cpu")
    return int(each * resources["_cores"] if each else resources.get("mem_mb", 0))


def _gpus(resources: dict[str, Any]) -> int:
    """Return how many GPUs are asked for: by ``gpu``, or by ``gres``, e.g. ``gpu:a100:2``."""
    name, *rest = str(resources.get("gres", "")).split(":")
    if name == "gpu":
        return int(rest[-1]) if rest and rest[-1].isdigit() else 1
    return int(resources.get("gpu") or 0)
