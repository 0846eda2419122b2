"""Facts of a Slurm cluster from ``scontrol`` and ``sacctmgr``: partitions, nodes, accounts, limits.

Both print ``Key=value`` (``scontrol --oneliner``) and ``a|b|c`` (``sacctmgr --parsable2``) in all versions;
their ``--json`` changes its layout with every release.
"""

import getpass
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from pesatlas.monitor.squeue import call_slurm, seconds

_PATIENCE_S = 30.0
_UNLIMITED = {"", "UNLIMITED", "INFINITE", "NONE", "N/A", "(null)"}


@dataclass(frozen=True)
class Node:
    """A computer of the cluster.

    Attributes
    ----------
    cores : as Slurm counts them for jobs (CPUs), without those that are kept for the system
    memory_mb : the same, MB
    gpus : number of GPUs by type; the type is empty where Slurm knows none
    """

    name: str
    cores: int
    memory_mb: int
    gpus: dict[str, int]
    partitions: tuple[str, ...]


@dataclass(frozen=True)
class Partition:
    """A partition and its limits; None where there is none.

    Attributes
    ----------
    minutes : longest time of a job
    max_mb, max_mb_per_core : memory of a job on one node, or for each of its cores
    max_cores : cores of a job on one node
    preempted : what becomes of a job that one of another partition pushes out: requeue, cancel, suspend;
        empty if none can
    only, never : accounts that may, and may not, use it; ``only`` is empty if all may
    qos : the quality of service whose limits count here
    least_nodes : nodes that a job has to ask for
    """

    name: str
    default: bool
    up: bool
    minutes: int | None
    max_mb: int | None
    max_mb_per_core: int | None
    max_cores: int | None
    preempted: str
    only: frozenset[str]
    never: frozenset[str]
    qos: str
    least_nodes: int
    nodes: tuple[Node, ...]

    @property
    def cores(self) -> int:
        """Cores of a job on the largest node."""
        most = max((node.cores for node in self.nodes), default=0)
        return most if self.max_cores is None else min(most, self.max_cores)

    @property
    def memory_mb(self) -> int:
        """Memory of a job on the largest node, MB."""
        most = max((node.memory_mb for node in self.nodes), default=0)
        caps = [most, *([self.max_mb] if self.max_mb is not None else [])]
        if self.max_mb_per_core is not None:
            caps.append(self.max_mb_per_core * self.cores)
        return min(caps)

    @property
    def gpus(self) -> int:
        """GPUs of the node that has most."""
        return max((sum(node.gpus.values()) for node in self.nodes), default=0)

    @property
    def gpu_types(self) -> list[str]:
        """Types of its GPUs, where Slurm tells them."""
        return sorted({kind for node in self.nodes for kind in node.gpus if kind})

    def open_to(self, account: str | None) -> bool:
        """Return whether jobs of ``account`` may use it; None: it is not known which account."""
        if account is None:
            return True
        return account not in self.never and (not self.only or account in self.only)


@dataclass(frozen=True)
class Association:
    """An account of this user, and the limits of the user in it; None where there are none."""

    account: str
    partition: str = ""
    minutes: int | None = None
    submitted: int | None = None
    qos: str = ""


@dataclass(frozen=True)
class Cluster:
    """All that is known of a cluster.

    Attributes
    ----------
    accounting : sacct and sacctmgr answer
    enforced : limits of accounts and of qualities of service are held up
    refuses : sbatch refuses what a partition does not give; else the job waits for ever
    forgets_s : for how long squeue knows a job that is over, s
    """

    partitions: dict[str, Partition]
    version: str = ""
    accounting: bool = False
    enforced: bool = False
    refuses: bool = False
    forgets_s: int = 300
    associations: list[Association] = field(default_factory=list)
    default_account: str = ""
    qos_minutes: dict[str, int] = field(default_factory=dict)

    @property
    def accounts(self) -> list[str]:
        """Accounts of this user, each once."""
        return sorted({association.account for association in self.associations})

    @property
    def default_partition(self) -> str | None:
        """The partition of jobs that name none."""
        return next((name for name, partition in self.partitions.items() if partition.default), None)

    def minutes(self, partition: Partition, account: str | None, qos: str | None = None) -> int | None:
        """Return the longest time of a job.

        Of the partition, its quality of service, that of the job, and the user's.
        """
        limits = [partition.minutes]
        if self.enforced:
            mine = [
                each
                for each in self.associations
                if each.account == account and each.partition in {"", partition.name}
            ]
            limits += [each.minutes for each in mine]
            names = {partition.qos, *([qos] if qos else [each.qos for each in mine])}
            limits += [self.qos_minutes.get(name) for name in names]
        known = [limit for limit in limits if limit is not None]
        return min(known) if known else None

    def submitted(self, account: str | None) -> int | None:
        """Return how many jobs the user may have in the queue; None if that is not limited."""
        if not self.enforced:
            return None
        known = [each.submitted for each in self.associations if each.account == account]
        return min((limit for limit in known if limit is not None), default=None)


def query_cluster() -> Cluster | None:
    """Return the facts of this node's cluster from Slurm; None if it does not answer."""
    partitions, nodes = (
        command_output("scontrol", "--oneliner", "show", "partition"),
        command_output("scontrol", "--oneliner", "show", "node"),
    )
    config = command_output("scontrol", "show", "config")
    if partitions is None or nodes is None or config is None:
        return None
    settings = read_config(config)
    cluster = settings.get("ClusterName", "")
    # jobs of one cluster; its name keeps accounts of others that share the database away
    of_user = [f"user={getpass.getuser()}", *([f"cluster={cluster}"] if cluster else [])]
    accounting = "slurmdbd" in settings.get("AccountingStorageType", "")
    told: list[str | None] = [None, None, None]
    if accounting:
        told = [
            _sacctmgr("assoc", *of_user, fields="Account,Partition,MaxWall,MaxSubmitJobs,DefaultQOS,QOS"),
            _sacctmgr("user", f"name={getpass.getuser()}", fields="DefaultAccount"),
            _sacctmgr("qos", fields="Name,MaxWall"),
        ]
    associations, default, qos = (text or "" for text in told)
    return Cluster(
        partitions=read_partitions(partitions, read_nodes(nodes), settings),
        version=settings.get("SLURM_VERSION", ""),
        accounting=accounting,
        enforced=bool(
            {"limits", "qos", "safe", "all"} & set(settings.get("AccountingStorageEnforce", "").split(","))
        ),
        refuses=settings.get("EnforcePartLimits", "NO") not in {"NO", ""},
        forgets_s=int((re.match(r"\d+", settings.get("MinJobAge", "")) or ["300"])[0]),
        associations=read_associations(associations),
        default_account=next(iter(default.split()), ""),
        qos_minutes={
            name: limit
            for name, wall in (line.split("|", 1) for line in qos.splitlines() if "|" in line)
            if (limit := minutes_of(wall)) is not None
        },
    )


def _sacctmgr(what: str, *where: str, fields: str) -> str | None:
    condition = ["where", *where] if where else []
    return command_output(
        "sacctmgr", "--noheader", "--parsable2", "show", what, *condition, f"format={fields}"
    )


def command_output(*command: str) -> str | None:
    """Return what a command of Slurm says; None if there is no such command, or no answer."""
    done = call_slurm(*command, patience_s=_PATIENCE_S)
    return done.stdout if done is not None and done.returncode == 0 else None


def read_config(text: str) -> dict[str, str]:
    """Read ``scontrol show config``."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def read_nodes(text: str) -> list[Node]:
    """Read ``scontrol --oneliner show node``."""
    return [
        Node(
            record["NodeName"],
            # Slurm 22.05 and later tell what is left to jobs; before, cores of the system were not taken off
            int(record.get("CPUEfctv") or record.get("CPUTot") or 0),
            int(record.get("RealMemory") or 0) - int(record.get("MemSpecLimit") or 0),
            read_gpus(record.get("Gres", "")),
            tuple(filter(None, record.get("Partitions", "").split(","))),
        )
        for record in _records(text)
        if "NodeName" in record
    ]


def read_gpus(gres: str) -> dict[str, int]:
    """Read the GPUs in a list of generic resources, e.g. ``gpu:a100:4(S:0-1),nvme:3500`` or ``gpu:2``."""
    found: dict[str, int] = {}
    for entry in re.sub(r"\([^)]*\)", "", gres).split(","):
        name, *rest = entry.split(":")
        if name != "gpu":
            continue
        count = rest.pop() if rest and rest[-1].isdigit() else "1"
        kind = ":".join(rest)
        found[kind] = found.get(kind, 0) + int(count)
    return found


def read_partitions(text: str, nodes: list[Node], settings: dict[str, str]) -> dict[str, Partition]:
    """Read ``scontrol --oneliner show partition``."""
    records = [record for record in _records(text) if "PartitionName" in record]
    tiers = {record["PartitionName"]: int(record.get("PriorityTier") or 1) for record in records}
    by_tier = "partition_prio" in settings.get("PreemptType", "")
    found = {}
    for record in records:
        name = record["PartitionName"]
        own = tuple(node for node in nodes if name in node.partitions)
        rivals = {other for node in own for other in node.partitions if tiers.get(other, 0) > tiers[name]}
        mode = record.get("PreemptMode", "OFF").lower()
        found[name] = Partition(
            name=name,
            default=record.get("Default") == "YES",
            up=record.get("State", "UP") == "UP",
            minutes=minutes_of(record.get("MaxTime", "")),
            max_mb=_number(record.get("MaxMemPerNode", "")),
            max_mb_per_core=_number(record.get("MaxMemPerCPU", "")),
            max_cores=_number(record.get("MaxCPUsPerNode", "")),
            preempted=mode if by_tier and rivals and mode != "off" else "",
            only=_names(record.get("AllowAccounts", "ALL")),
            never=_names(record.get("DenyAccounts", "")),
            qos=record.get("QoS", "").replace("N/A", ""),
            least_nodes=_number(record.get("MinNodes", "")) or 0,
            nodes=own,
        )
    return found


def read_associations(text: str) -> list[Association]:
    """Read associations: account, partition, MaxWall, MaxSubmitJobs, DefaultQOS, QOS."""
    found = []
    for line in text.splitlines():
        account, partition, wall, submitted, default, qos = [*line.split("|"), *[""] * 6][:6]
        if not account:
            continue
        single = qos if "," not in qos else ""
        found.append(
            Association(
                account,
                partition,
                minutes_of(wall),
                int(submitted) if submitted.isdigit() else None,
                default or single,
            )
        )
    return found


def minutes_of(text: str) -> int | None:
    """Read ``[days-][hours:]minutes:seconds``, in minutes; None if it is no limit."""
    time = text.strip()
    return seconds(time) // 60 if re.fullmatch(r"\d+([-:]\d+)*", time) else None


def _records(text: str) -> Iterator[dict[str, str]]:
    """Yield the records of ``scontrol --oneliner``; only values without blanks are read whole."""
    for line in text.splitlines():
        pairs = re.findall(r"(?:^|\s)(\w+)=(\S*)", line)
        if pairs:
            # the first one counts: a comment at the end may look like anything
            yield dict(reversed(pairs))


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _names(text: str) -> frozenset[str]:
    return frozenset() if text.upper() in {"ALL", *_UNLIMITED} else frozenset(text.split(","))
