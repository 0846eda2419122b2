"""Job requests compared with the limits of partitions, rule by rule and attempt by attempt."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pesatlas.config.campaign import Campaign
from pesatlas.errors import UserError
from pesatlas.monitor.check import Check
from pesatlas.monitor.cluster.facts import Cluster, Partition, query_cluster
from pesatlas.monitor.cluster.requests import Request, requests_of

SHORT_MEMORY_S = 120
"""squeue has to know a job that is over for this long.

The executor asks every three minutes at most, sooner for short jobs.
"""


def check_slurm(
    campaign: Campaign, config: Path, profile: dict[str, Any], file: Path, snakefile: Path
) -> Iterator[Check]:
    """Check what the profile read from ``file`` asks of Slurm for this campaign."""
    cluster = query_cluster()
    if cluster is None:
        yield Check(
            False,
            "Slurm does not answer (scontrol)",
            "run this on a login node of the cluster, or use --profile profiles/local",
        )
        return
    yield _status_command(profile, cluster, file)
    try:
        requests = requests_of(campaign, config, file.parent, snakefile)
    except UserError as error:
        yield Check(False, "not so: Snakemake takes the profile", str(error))
        return
    for account in sorted({request.account for request in requests if request.account}):
        yield _account(account, cluster, file)
    yield from compare(requests, cluster, file)


def _status_command(profile: dict[str, Any], cluster: Cluster, file: Path) -> Check:
    command = profile.get("slurm-status-command", "sacct")
    if command == "sacct" and not cluster.accounting:
        return Check(
            False,
            "this Slurm has no accounting, so sacct would never report the end of a job",
            f"slurm-status-command: squeue in {file}",
        )
    if command == "squeue" and cluster.forgets_s < SHORT_MEMORY_S:
        remedy = (
            f"slurm-status-command: sacct in {file}"
            if cluster.accounting
            else "ask the administrators of the cluster for MinJobAge=300"
        )
        return Check(
            False,
            f"Slurm forgets a job {cluster.forgets_s} s after its end (MinJobAge), before squeue is asked "
            "again",
            remedy,
        )
    waits = ", by which a job that is cancelled is noticed late" if command == "sacct" else ""
    return Check(
        True, f"Slurm {'with' if cluster.accounting else 'without'} accounting, asked by {command}{waits}"
    )


def _account(name: str, cluster: Cluster, file: Path) -> Check:
    if not cluster.accounting:
        return Check(True, f"account {name}: not checked, because Slurm has no accounting")
    if not cluster.accounts:
        return Check(True, f"account {name}: not checked, because sacctmgr does not answer")
    if name not in cluster.accounts:
        return Check(
            False,
            f"you have no account {name}",
            f"set slurm_account in {file} to one of {', '.join(cluster.accounts)}",
        )
    return Check(True, f"account {name}")


def compare(requests: Sequence[Request], cluster: Cluster, file: Path) -> Iterator[Check]:
    """Yield the limits of each partition, and the fit of each group of rules with equal requests."""
    by_partition: dict[tuple[str | None, str | None, str | None], list[Request]] = {}
    for request in requests:
        qos = request.options.get("qos")
        by_partition.setdefault((request.partition, request.account, qos), []).append(request)
    for (name, account, qos), group in by_partition.items():
        rules = _named(group)
        found = cluster.default_partition if name is None else name
        if found is None or found not in cluster.partitions:
            known = ", ".join(sorted(cluster.partitions))
            missing = (
                f"there is no partition {found}"
                if found
                else "no partition is named, and the cluster has no default"
            )
            yield Check(False, f"{rules}: {missing}", f"set slurm_partition in {file} to one of {known}")
            continue
        partition = cluster.partitions[found]
        minutes = cluster.minutes(partition, account, qos)
        yield from _partition(partition, minutes, account, cluster, file)
        shown: set[str] = set()
        for same in _equal(group):
            yield _request(same, list(_wrong(same[0], partition, minutes, cluster, file)), shown)


def _partition(
    partition: Partition, minutes: int | None, account: str | None, cluster: Cluster, file: Path
) -> Iterator[Check]:
    limit = "of any length" if minutes is None else f"of up to {duration(minutes)}"
    gpus = f", {count(partition.gpus, 'GPU')}" if partition.gpus else ""
    yield Check(
        True,
        f"partition {partition.name}: jobs {limit}, {count(partition.cores, 'core')}, "
        f"{memory(partition.memory_mb)}{gpus}",
    )
    others = [each for each in cluster.partitions.values() if each.up and each.open_to(account)]
    remedy = (
        f"set slurm_partition in {file} to another, e.g. "
        f"{', '.join(each.name for each in others) or 'none is open'}"
    )
    if not partition.up:
        yield Check(False, f"partition {partition.name} accepts no jobs now: its state is not UP", remedy)
    if not partition.open_to(account):
        yield Check(False, f"partition {partition.name} is closed to the account {account}", remedy)
    if partition.least_nodes > 1:
        yield Check(
            False,
            f"partition {partition.name} accepts no jobs of less than {partition.least_nodes} nodes",
            remedy,
        )
    if partition.preempted == "cancel":
        # no mistake: such a job is submitted again when Slurm has forgotten it
        yield Check(
            True,
            f"partition {partition.name} cancels jobs when others want their nodes (PreemptMode), which is "
            "noticed late",
            doubtful=True,
        )


def _request(group: list[Request], wrong: list[tuple[str, str]], shown: set[str]) -> Check:
    """Return the line of rules that ask for the same.

    A remedy that was told with a line before is not told again.
    """
    request = group[0]
    requested = [
        _attempts(request.minutes, duration),
        _attempts(request.memory_mb, memory),
        count(request.cores, "core"),
        *([count(request.gpus, "GPU")] if request.gpus else []),
    ]
    text = f"  {' | '.join(requested)} | {_named(group)}"
    remedies = [remedy for _, remedy in wrong if remedy not in shown]
    shown.update(remedies)
    reasons = "; ".join(reason for reason, _ in wrong)
    return Check(False, f"{text} | {reasons}", "; ".join(remedies)) if wrong else Check(True, text)


def _wrong(
    request: Request, partition: Partition, minutes: int | None, cluster: Cluster, file: Path
) -> Iterator[tuple[str, str]]:
    """Yield what is not given, and what to do about it."""
    fate = (
        "sbatch refuses more time"
        if cluster.refuses
        else "a job that requests more waits for ever (PartitionTimeLimit)"
    )
    if minutes is not None and (too_long := _over(request.minutes, minutes)):
        yield (
            f"too long from attempt {too_long}",
            (
                f"{fate}: write max_runtime: {minutes} (minutes) into default-resources of "
                f"{file}{_beside(request, 'runtime')}"
            ),
        )
    elif sum(request.minutes) < request.wanted_minutes:
        attempts = -(-request.wanted_minutes // max(request.minutes[-1], 1))
        yield (
            (
                f"it may take {duration(request.wanted_minutes)}, and all attempts together have "
                f"{duration(sum(request.minutes))}"
            ),
            f"write retries: {attempts - 1} into {file}: each attempt continues where the last one ended",
        )
    if too_much := _over(request.memory_mb, partition.memory_mb):
        remedy = (
            f"sbatch refuses more memory than a node gives: write max_mem_mb: {partition.memory_mb} into "
            f"default-resources of {file}{_beside(request, 'mem_mb')}"
        )
        if request.wanted_mb > partition.memory_mb:
            remedy = (
                "use a partition whose nodes have more: "
                f"{_others(cluster, lambda p: p.memory_mb >= request.wanted_mb)}"
            )
        yield f"too much memory from attempt {too_much}", remedy
    elif max(request.memory_mb) < request.wanted_mb:
        yield (
            (
                f"{memory(request.wanted_mb)} are needed, and no attempt has more than "
                f"{memory(max(request.memory_mb))}"
            ),
            (
                f"raise max_mem_mb in {file}, or use a partition whose nodes have more: "
                f"{_others(cluster, lambda p: p.memory_mb >= request.wanted_mb)}"
            ),
        )
    if request.cores > partition.cores:
        yield (
            f"no node of {partition.name} has {count(request.cores, 'core')}",
            (
                f"make label.parallel times label.cores (or train.loaders) {partition.cores} at most in "
                "config.yaml, or use another partition: "
                f"{_others(cluster, lambda p: p.cores >= request.cores)}"
            ),
        )
    if request.gpus > partition.gpus:
        yield (
            f"no node of {partition.name} has {count(request.gpus, 'GPU')}",
            (
                f"use a partition that has ({_others(cluster, lambda p: p.gpus >= request.gpus)}) for these "
                f"rules in set-resources of {file}, or device: cpu in config.yaml"
            ),
        )


def _over(requested: Sequence[int], given: int) -> int:
    """Return the first attempt that asks for more than is given; 0 if none does."""
    return next((attempt for attempt, value in enumerate(requested, start=1) if value > given), 0)


def _beside(request: Request, resource: str) -> str:
    """Return that a number in set-resources is not capped, where there is a cap already."""
    limit = request.options.get("max_runtime" if resource == "runtime" else "max_mem_mb")
    return f", and take {resource} out of set-resources" if limit is not None else ""


def _others(cluster: Cluster, fits: Any) -> str:
    return (
        ", ".join(name for name, partition in sorted(cluster.partitions.items()) if fits(partition))
        or "none has"
    )


def _equal(requests: Sequence[Request]) -> list[list[Request]]:
    """Return the requests in groups that ask for the same."""
    groups: dict[Any, list[Request]] = {}
    for request in requests:
        key = (request.minutes, request.memory_mb, request.cores, request.gpus, request.wanted_minutes)
        groups.setdefault(key, []).append(request)
    return list(groups.values())


def _named(requests: Sequence[Request]) -> str:
    return ", ".join(request.rule for request in requests)


def _attempts(values: Sequence[int], text: Any) -> str:
    """Return the values of all attempts, the last one that changes last: ``4, 8, 16 GB``."""
    texts = [text(value) for i, value in enumerate(values) if i == 0 or value != values[i - 1]]
    units = {each.partition(" ")[2] for each in texts}
    if len(units) == 1:
        return f"{', '.join(each.partition(' ')[0] for each in texts)} {units.pop()}"
    return ", ".join(texts)


def count(number: int, what: str) -> str:
    """Return a number of things: 1 core, 2 cores."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def duration(minutes: int) -> str:
    """Return minutes as people say them: 45 min, 4 h, 1 h 30 min."""
    hours, rest = divmod(minutes, 60)
    return " ".join([*([f"{hours} h"] if hours else []), *([f"{rest} min"] if rest or not hours else [])])


def memory(megabytes: int) -> str:
    """Return memory as Slurm counts it (1 GB is 1,000 MB here, so that a number of GB is one to type)."""
    return f"{megabytes / 1000:.3g} GB"
