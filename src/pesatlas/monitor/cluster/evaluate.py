"""A process that prints, as JSON, the resources of every rule: ``python -m`` with Snakemake's options."""

import contextlib
import json
import logging
import sys
from pathlib import Path
from typing import Any

from snakemake.api import SnakemakeApi
from snakemake.cli import parse_args
from snakemake.iocontainers import InputFiles, Wildcards
from snakemake.resources import Resources
from snakemake.settings.types import (
    ConfigSettings,
    OutputSettings,
    Quietness,
    ResourceSettings,
)

LIMITS = ("max_runtime", "max_mem_mb")
"""Resources by which a profile caps what rules ask for: see workflow/rules/common.smk."""
_NOT_ASKED = {"tmpdir", "disk", "disk_mb", "disk_mib"}


def evaluate(arguments: list[str]) -> list[dict[str, Any]]:
    """Return of each rule whose jobs are submitted.

    Its file, and the resources of every attempt, with limits and without.
    """
    _, given = parse_args(arguments)
    settings = ResourceSettings(
        cores=given.cores,
        nodes=given.jobs,
        max_threads=given.max_threads,
        resources=given.resources,
        overwrite_threads=given.set_threads,
        overwrite_resources=given.set_resources,
        default_resources=given.default_resources,
    )
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        loaded = api.workflow(
            resource_settings=settings,
            config_settings=ConfigSettings(configfiles=given.configfile),
            snakefile=given.snakefile,
        )
        workflow = loaded._workflow  # noqa: SLF001 - Snakemake has no public way to its rules
        attempts = range(1, (given.retries or 0) + 2)
        found = []
        for rule in workflow.rules:
            if rule.name in workflow._localrules:  # noqa: SLF001
                continue
            capped = [_expand(rule, attempt) for attempt in attempts]
            # the functions of a rule look its limits up when they are called
            rule.resources = Resources(
                {name: rule.resources[name] for name in rule.resources if name not in LIMITS}
            )
            found.append(
                {
                    "rule": rule.name,
                    "file": Path(str(rule.snakefile)).stem,
                    "attempts": capped,
                    "free": _expand(rule, 1),
                }
            )
    return found


def _expand(rule: Any, attempt: int) -> dict[str, Any]:
    expanded = rule.expand_resources(Wildcards(), InputFiles(), attempt, skip_evaluation=_NOT_ASKED)
    return {name: value for name, value in expanded.items() if name not in _NOT_ASKED}


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    with contextlib.redirect_stdout(sys.stderr):
        rules = evaluate(sys.argv[1:])
    print(json.dumps(rules))  # noqa: T201 - for the process that asks
