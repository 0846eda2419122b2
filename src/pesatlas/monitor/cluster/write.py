"""Write a campaign's Slurm profile from the facts of the cluster; open choices are marked CHOOSE."""

import builtins
import difflib
import hashlib
import json
import re
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from snakemake.ioutils import register_in_globals

from pesatlas.errors import UserError
from pesatlas.monitor.cluster.facts import Cluster, Partition
from pesatlas.monitor.cluster.partition_fit import SHORT_MEMORY_S, count, duration, memory
from pesatlas.monitor.cluster.requests import Request
from pesatlas.runtime import templates

_TEMPLATE = Path(__file__).with_name("profile.yaml.j2")
_WIDTH = 140
_MOST_JOBS = 200
_RETRIES = 3
_IN_ALL_MIN = 2 * 1440
"""Time that all attempts at a job have together, where partitions are short."""
_SHORT_MIN = 240
"""A default partition with less is for trying things out, and not simply taken."""
_PREEMPTED = {
    "requeue": "jobs go back to the queue when others want the nodes",
    "cancel": "jobs are cancelled when others want the nodes, which is noticed late",
    "suspend": "jobs are suspended while others want the nodes",
}
_CHECKSUM = "# Written by `pesatlas cluster`; checksum of the rest: "


@dataclass(frozen=True)
class Choice:
    """The value of a key, and its reason; ``open`` if the user has to choose."""

    value: str
    reason: str
    open: bool = False


@dataclass(frozen=True)
class Profile:
    """All that differs between clusters.

    Without any fact, these are the values of profiles/slurm in the repository.
    """

    title: str = (
        "# A Slurm cluster. `pesatlas cluster` writes this file for a campaign, from the answers of the "
        "cluster. This file is for no specific cluster: lines marked\n# YOURS must be set by you; "
        "docs/clusters.md explains how."
    )
    account: Choice = Choice(
        "account",
        "YOURS. Without accounts on your cluster, delete this line: `slurm-no-account` does nothing in "
        "version 2.8.0 of the executor.",
    )
    partition: Choice = Choice("cpu", "YOURS: where jobs without a GPU run.")
    minutes: int | None = None
    memory_mb: int | None = None
    gpu: Choice = Choice(
        "gpu",
        "YOURS: where rules run that request a GPU. With explore.device and encode.device at `cpu`, the "
        "partition of the others; with train.device or another at `cuda`, these rules too: train_potential, "
        "train_arm, run_benchmark, label_batch (backend mlip).",
    )
    gpu_rules: Sequence[str] = ("run_md", "encode_snapshots", "evaluate_potential")
    gpu_minutes: int | None = None
    gpu_memory_mb: int | None = None
    gpu_types: Sequence[str] = ()
    jobs: Choice = Choice(
        str(_MOST_JOBS), "Jobs that wait or run at the same time. Many sites allow some hundreds for a user."
    )
    retries: int = _RETRIES
    status: Choice = Choice(
        "squeue",
        "Slurm forgets finished jobs after MinJobAge (usually 300 s): if yours forgets them within two "
        "minutes, write sacct here.",
    )
    generic: bool = field(default=True)

    @property
    def open(self) -> list[Choice]:
        """Choices left to the user."""
        return [each for each in (self.account, self.partition, self.gpu) if each.open]


def decide(cluster: Cluster, requests: Sequence[Request]) -> Profile:
    """Return the profile for jobs that ask for ``requests`` on ``cluster``.

    Raises
    ------
    UserError
        If no partition gives what they ask for.
    """
    account = _account(cluster)
    name = account.value or None
    plain = [request for request in requests if not request.gpus]
    on_gpus = [request for request in requests if request.gpus]
    partition = _partition(cluster, name, plain or requests, "jobs without a GPU run")
    gpu = (
        _partition(cluster, name, on_gpus, "rules run that request a GPU")
        if on_gpus
        else Choice("", "No stage of this campaign requests a GPU: each `device` in config.yaml is cpu.")
    )
    chosen = cluster.partitions[partition.value]
    other = cluster.partitions.get(gpu.value)
    minutes = cluster.minutes(chosen, name)
    gpu_minutes = cluster.minutes(other, name) if other else None
    if other and minutes is not None and gpu_minutes is None:
        gpu_minutes = 1440  # the limit of the other partition is not that of this one
    shortest = min(each for each in (minutes, gpu_minutes, 1440) if each is not None)
    return Profile(
        title=f"# The Slurm profile of one campaign on one cluster (Slurm {cluster.version}), yours to "
        "change. "
        "Choices that the cluster leaves open are\n# marked CHOOSE. `pesatlas doctor --profile "
        "profiles/slurm` compares it with the cluster.",
        account=account,
        partition=partition,
        minutes=minutes,
        memory_mb=chosen.memory_mb,
        gpu=gpu,
        gpu_rules=[request.rule for request in on_gpus],
        gpu_minutes=gpu_minutes,
        gpu_memory_mb=other.memory_mb if other else None,
        gpu_types=other.gpu_types if other else (),
        jobs=_jobs(cluster, name),
        retries=max(_RETRIES, -(-_IN_ALL_MIN // shortest) - 1),
        status=_status(cluster),
        generic=False,
    )


def _account(cluster: Cluster) -> Choice:
    if not cluster.accounting:
        return Choice("", "No slurm_account: this Slurm has no accounting.")
    accounts = cluster.accounts
    if not accounts:
        return Choice(
            "", "No slurm_account: sacctmgr lists none for you. If sbatch requires one: slurm_account: NAME"
        )
    if len(accounts) == 1:
        return Choice(accounts[0], "Your only account.")
    asked = f"CHOOSE an account. Your accounts: {', '.join(accounts)}."
    if cluster.default_account in accounts:
        return Choice(cluster.default_account, f"{asked} This one is your default.", open=True)
    return Choice(accounts[0], f"{asked} None of them is your default.", open=True)


def _partition(cluster: Cluster, account: str | None, requests: Sequence[Request], purpose: str) -> Choice:
    """Return the partition for jobs.

    The only one that gives what they ask for, the default one, or the one with most time, marked.
    """
    cores = max(request.cores for request in requests)
    memory_mb = max(request.wanted_mb for request in requests)
    gpus = max(request.gpus for request in requests)
    fitting = [
        each
        for each in cluster.partitions.values()
        if each.up
        and each.open_to(account)
        and each.least_nodes <= 1
        and each.cores >= cores
        and each.memory_mb >= memory_mb
        and each.gpus >= gpus
    ]
    if not gpus:
        fitting = [each for each in fitting if not each.gpus] or fitting
    fitting = [each for each in fitting if each.preempted != "cancel"] or fitting
    if not fitting:
        asked = ", ".join([count(cores, "core"), memory(memory_mb), *([count(gpus, "GPU")] if gpus else [])])
        given = "; ".join(_described(each, cluster, account) for each in cluster.partitions.values())
        raise UserError(
            f"no partition of this cluster that you may use has a node with {asked}, as requested by "
            f"{', '.join(r.rule for r in requests)}. There are: {given}. Request less in config.yaml: "
            "label.cores and label.parallel, train.devices and train.loaders, or device: cpu."
        )

    def rank(each: Partition) -> tuple[bool, float, int]:
        minutes = cluster.minutes(each, account)
        return not each.preempted, minutes or float("inf"), len(each.nodes)

    best = max(fitting, key=rank)
    default = next((each for each in fitting if each.default), None)
    where = f"Where {purpose}"
    others = "; ".join(_described(each, cluster, account) for each in fitting)
    cancelled = best.preempted == "cancel"
    if len(fitting) == 1 and not cancelled:
        return Choice(
            best.name,
            f"{where}: the only partition with enough resources. {_described(best, cluster, account)}.",
        )
    limit = cluster.minutes(default, account) if default else None
    if default and (limit is None or limit >= _SHORT_MIN) and not cancelled:
        return Choice(
            default.name, f"{where}: the default of the cluster. Partitions with enough resources: {others}."
        )
    return Choice(
        best.name,
        f"CHOOSE: {where[0].lower()}{where[1:]}? Partitions with enough resources: {others}. This one "
        "allows the longest time.",
        open=True,
    )


def _described(partition: Partition, cluster: Cluster, account: str | None) -> str:
    minutes = cluster.minutes(partition, account)
    facts = [
        "any time" if minutes is None else f"up to {duration(minutes)}",
        f"{count(partition.cores, 'core')} and {memory(partition.memory_mb)} a node",
        *([count(partition.gpus, "GPU")] if partition.gpus else []),
        f"{count(len(partition.nodes), 'node')}",
        *([_PREEMPTED[partition.preempted]] if partition.preempted in _PREEMPTED else []),
    ]
    return f"{partition.name} ({', '.join(facts)})"


def _jobs(cluster: Cluster, account: str | None) -> Choice:
    limit = cluster.submitted(account)
    if limit is None:
        return Choice(
            str(_MOST_JOBS), "Jobs that wait or run at the same time. This cluster sets no limit for you."
        )
    return Choice(
        str(max(min(_MOST_JOBS, limit), 1)),
        f"Jobs that wait or run at the same time. This cluster lets you have {limit}, including those of "
        "other campaigns.",
    )


def _status(cluster: Cluster) -> Choice:
    forgets = f"This Slurm forgets finished jobs after {cluster.forgets_s} s (MinJobAge)"
    if cluster.forgets_s >= SHORT_MEMORY_S:
        return Choice("squeue", f"{forgets}, which is long enough for squeue.")
    if cluster.accounting:
        return Choice("sacct", f"{forgets}, before squeue would be asked again.")
    return Choice(
        "squeue",
        f"{forgets}, which is too short, and it has no accounting: ask the administrators of the cluster "
        "for MinJobAge=300.",
    )


def render(profile: Profile) -> str:
    """Return the text of a profile, every key with its reason."""
    text = templates.render(_TEMPLATE, asdict(profile), {"comment": _comment, "text": _text})
    return re.sub(r"\n{3,}", "\n\n", text)


def _text(value: str) -> str:
    """Return a name as YAML that Snakemake takes as text.

    What is Python, as partitions `all` and `open` or account 1234, it evaluates.
    """
    names: dict[str, Any] = {}
    register_in_globals(names)
    taken = {*dir(builtins), *names, "wildcards", "attempt", "system_tmpdir", "shutil", "async_run"}
    return json.dumps(value if value.isidentifier() and value not in taken else repr(value))


def _comment(text: str, indent: int) -> str:
    prefix = " " * indent + "# "
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=prefix,
        subsequent_indent=prefix,
        break_long_words=False,
        break_on_hyphens=False,
    )


def write(text: str, file: Path, *, force: bool) -> None:
    """Write a profile to ``file``; one that was changed since it was written is kept, unless ``force``.

    Raises
    ------
    UserError
        If there is another file that somebody wrote or changed.
    """
    signed = f"{_CHECKSUM}{_digest(text)}\n{text}"
    if file.exists() and not force:
        first, _, rest = file.read_text(encoding="utf-8").partition("\n")
        if first != f"{_CHECKSUM}{_digest(rest)}" and rest != text:
            old = rest if first.startswith(_CHECKSUM) else f"{first}\n{rest}"
            changes = "\n".join(
                difflib.unified_diff(
                    old.splitlines(), text.splitlines(), "as it is", "as the cluster has it", "", "", 0, ""
                )
            )
            raise UserError(
                f"{file} was changed by hand, or not written by `pesatlas cluster`, and is kept. To "
                f"overwrite it: pesatlas cluster --force. These lines differ:\n{changes}"
            )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(signed, encoding="utf-8")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
