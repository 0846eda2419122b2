"""Clusters other than the small Slurm of the tests: what their scontrol and sacctmgr print, and the profile
that comes of it.

The stand-ins print what sites of versions 20.02 and 24.05 do (shown in their documentation and in issues),
with other names and numbers.
"""

import getpass
from dataclasses import replace

import pytest
import yaml
from snakemake.resources import Resource

from pesatlas.errors import UserError
from pesatlas.monitor.cluster.facts import minutes_of, query_cluster, read_gpus
from pesatlas.monitor.cluster.partition_fit import compare
from pesatlas.monitor.cluster.requests import Request
from pesatlas.monitor.cluster.write import Choice, Profile, decide, render
from pesatlas.monitor.squeue import read_queue
from small_campaign import ROOT

OLD = {
    "config": """Configuration data as of 2021-03-02T10:11:12
AccountingStorageEnforce = associations,limits,qos,safe
AccountingStorageType   = accounting_storage/slurmdbd
ClusterName             = north
EnforcePartLimits       = ANY
MinJobAge               = 300 sec
PreemptMode             = OFF
PreemptType             = preempt/none
SLURM_VERSION           = 20.02.7

Slurmctld(primary) at head1 is UP
""",
    "partition": """\
PartitionName=small AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default=YES QoS=N/A DefaultTime=00:10:00 DisableRootJobs=YES ExclusiveUser=NO GraceTime=0 Hidden=NO MaxNodes=1 MaxTime=3-00:00:00 MinNodes=0 LLN=NO MaxCPUsPerNode=UNLIMITED Nodes=c[1-2] PriorityJobFactor=10 PriorityTier=1 RootOnly=NO ReqResv=NO OverSubscribe=NO OverTimeLimit=NONE PreemptMode=OFF State=UP TotalCPUs=80 TotalNodes=2 SelectTypeParameters=NONE JobDefaults=(null) DefMemPerNode=UNLIMITED MaxMemPerNode=UNLIMITED
PartitionName=large AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default=NO QoS=accrue_large DefaultTime=00:10:00 DisableRootJobs=YES ExclusiveUser=NO GraceTime=0 Hidden=NO MaxNodes=26 MaxTime=7-00:00:00 MinNodes=2 LLN=NO MaxCPUsPerNode=UNLIMITED Nodes=c[1-2] PriorityJobFactor=10 PriorityTier=1 RootOnly=NO ReqResv=NO OverSubscribe=NO OverTimeLimit=NONE PreemptMode=OFF State=UP TotalCPUs=80 TotalNodes=2 SelectTypeParameters=NONE JobDefaults=(null) DefMemPerNode=UNLIMITED MaxMemPerNode=UNLIMITED
PartitionName=gpu AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default=NO QoS=gpus DefaultTime=00:10:00 DisableRootJobs=YES ExclusiveUser=NO GraceTime=0 Hidden=NO MaxNodes=20 MaxTime=3-00:00:00 MinNodes=0 LLN=NO MaxCPUsPerNode=UNLIMITED Nodes=g[1-2] PriorityJobFactor=10 PriorityTier=1 RootOnly=NO ReqResv=NO OverSubscribe=NO OverTimeLimit=NONE PreemptMode=OFF State=UP TotalCPUs=80 TotalNodes=2 SelectTypeParameters=NONE JobDefaults=(null) DefMemPerNode=UNLIMITED MaxMemPerNode=UNLIMITED
PartitionName=gputest AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default=NO QoS=N/A DefaultTime=00:05:00 DisableRootJobs=YES ExclusiveUser=NO GraceTime=0 Hidden=NO MaxNodes=2 MaxTime=00:15:00 MinNodes=0 LLN=NO MaxCPUsPerNode=UNLIMITED Nodes=g[1-2] PriorityJobFactor=10 PriorityTier=1 RootOnly=NO ReqResv=NO OverSubscribe=NO OverTimeLimit=NONE PreemptMode=OFF State=UP TotalCPUs=80 TotalNodes=2 SelectTypeParameters=NONE JobDefaults=(null) DefMemPerNode=UNLIMITED MaxMemPerNode=UNLIMITED
""",
    "node": """\
NodeName=c1 Arch=x86_64 CoresPerSocket=20  CPUAlloc=1 CPUTot=40 CPULoad=0.75 AvailableFeatures=type_m ActiveFeatures=type_m Gres=(null) NodeAddr=c1 NodeHostName=c1 Version=20.02.7 OS=Linux 3.10.0-1127.el7.x86_64 #1 SMP Tue Mar 31 23:36:51 UTC 2020  RealMemory=190000 AllocMem=0 FreeMem=180000 Sockets=2 Boards=1 MemSpecLimit=5120 State=MIXED ThreadsPerCore=1 TmpDisk=0 Weight=1 Owner=N/A MCS_label=N/A Partitions=small,large  BootTime=2020-09-29T17:48:54 SlurmdStartTime=2020-09-29T17:51:59 CfgTRES=cpu=40,mem=190000M,billing=40 AllocTRES=cpu=1 CapWatts=n/a CurrentWatts=0 AveWatts=0 ExtSensorsJoules=n/s ExtSensorsWatts=0 ExtSensorsTemp=n/s
NodeName=c2 Arch=x86_64 CoresPerSocket=20  CPUAlloc=0 CPUTot=40 CPULoad=0.01 AvailableFeatures=type_l ActiveFeatures=type_l Gres=nvme:3600 NodeAddr=c2 NodeHostName=c2 Version=20.02.7 OS=Linux 3.10.0-1127.el7.x86_64 #1 SMP Tue Mar 31 23:36:51 UTC 2020  RealMemory=382000 AllocMem=0 FreeMem=380000 Sockets=2 Boards=1 State=DOWN* ThreadsPerCore=1 TmpDisk=0 Weight=1 Owner=N/A MCS_label=N/A Partitions=small,large  BootTime=None SlurmdStartTime=None CfgTRES=cpu=40,mem=382000M,billing=40 AllocTRES= CapWatts=n/a CurrentWatts=0 AveWatts=0 ExtSensorsJoules=n/s ExtSensorsWatts=0 ExtSensorsTemp=n/s Reason=RealMemory=1 is low [root@2021-03-01T10:00:00]
NodeName=g1 Arch=x86_64 CoresPerSocket=20  CPUAlloc=0 CPUTot=40 CPULoad=0.01 AvailableFeatures=(null) ActiveFeatures=(null) Gres=gpu:v100:4(S:0-1),nvme:3600 NodeAddr=g1 NodeHostName=g1 Version=20.02.7 OS=Linux 3.10.0 RealMemory=382000 AllocMem=0 FreeMem=1 Sockets=2 Boards=1 State=IDLE ThreadsPerCore=1 TmpDisk=0 Weight=1 Owner=N/A MCS_label=N/A Partitions=gpu,gputest
NodeName=g2 Arch=x86_64 CoresPerSocket=20  CPUAlloc=0 CPUTot=40 CPULoad=0.01 AvailableFeatures=(null) ActiveFeatures=(null) Gres=gpu:a100:2,nvme:3600 NodeAddr=g2 NodeHostName=g2 Version=20.02.7 OS=Linux 3.10.0 RealMemory=382000 AllocMem=0 FreeMem=1 Sockets=2 Boards=1 State=IDLE ThreadsPerCore=1 TmpDisk=0 Weight=1 Owner=N/A MCS_label=N/A Partitions=gpu,gputest
""",
    "assoc": "physics||2-00:00:00|100|normal|normal,gpus\nchemistry||||normal|normal\n",
    "user": "physics\n",
    "qos": "normal|\naccrue_large|\ngpus|1-12:00:00\n",
}
NEW = {
    "config": """Configuration data as of 2025-03-02T10:11:12
AccountingStorageEnforce = associations
AccountingStorageType   = accounting_storage/slurmdbd
ClusterName             = south
EnforcePartLimits       = NO
MinJobAge               = 10 sec
PreemptMode             = CANCEL
PreemptType             = preempt/partition_prio
SLURM_VERSION           = 24.05.4
""",
    "partition": """\
PartitionName=debug AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default=YES CpuBind=cores  QoS=N/A DefaultTime=00:10:00 DisableRootJobs=NO ExclusiveUser=NO ExclusiveTopo=NO GraceTime=0 Hidden=NO MaxNodes=1 MaxTime=00:30:00 MinNodes=0 LLN=NO MaxCPUsPerNode=UNLIMITED MaxCPUsPerSocket=UNLIMITED NodeSets=cpu Nodes=n[1-3] PriorityJobFactor=1 PriorityTier=2 RootOnly=NO ReqResv=NO OverSubscribe=NO OverTimeLimit=NONE PreemptMode=CANCEL State=UP TotalCPUs=768 TotalNodes=3 SelectTypeParameters=NONE JobDefaults=(null) DefMemPerCPU=1930 MaxMemPerNode=UNLIMITED TRES=cpu=768,mem=2250G,node=3,billing=768 TRESBillingWeights=cpu=1.0,mem=1G
PartitionName=batch AllowGroups=ALL DenyAccounts=guests,ki-topml AllowQos=ALL AllocNodes=ALL Default=NO QoS=N/A DefaultTime=01:00:00 DisableRootJobs=NO ExclusiveUser=NO ExclusiveTopo=NO GraceTime=0 Hidden=NO MaxNodes=UNLIMITED MaxTime=12:00:00 MinNodes=0 LLN=NO MaxCPUsPerNode=64 MaxCPUsPerSocket=UNLIMITED NodeSets=cpu Nodes=n[1-3] PriorityJobFactor=1 PriorityTier=2 RootOnly=NO ReqResv=NO OverSubscribe=NO OverTimeLimit=NONE PreemptMode=CANCEL State=UP TotalCPUs=768 TotalNodes=3 SelectTypeParameters=NONE JobDefaults=(null) DefMemPerCPU=1930 MaxMemPerCPU=3900 TRES=cpu=768,mem=2250G,node=3,billing=768
PartitionName=scavenge AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default=NO QoS=N/A DefaultTime=01:00:00 DisableRootJobs=NO ExclusiveUser=NO ExclusiveTopo=NO GraceTime=120 Hidden=NO MaxNodes=UNLIMITED MaxTime=7-00:00:00 MinNodes=0 LLN=NO MaxCPUsPerNode=UNLIMITED MaxCPUsPerSocket=UNLIMITED Nodes=n[1-3] PriorityJobFactor=1 PriorityTier=1 RootOnly=NO ReqResv=NO OverSubscribe=NO OverTimeLimit=NONE PreemptMode=CANCEL State=UP TotalCPUs=768 TotalNodes=3 SelectTypeParameters=NONE JobDefaults=(null) DefMemPerCPU=1930 MaxMemPerNode=UNLIMITED TRES=cpu=768,mem=2250G,node=3,billing=768
PartitionName=theirs AllowGroups=ALL AllowAccounts=owners AllowQos=ALL AllocNodes=ALL Default=NO QoS=N/A DefaultTime=01:00:00 DisableRootJobs=NO ExclusiveUser=NO ExclusiveTopo=NO GraceTime=0 Hidden=NO MaxNodes=UNLIMITED MaxTime=UNLIMITED MinNodes=0 LLN=NO MaxCPUsPerNode=UNLIMITED MaxCPUsPerSocket=UNLIMITED Nodes=n3 PriorityJobFactor=1 PriorityTier=3 RootOnly=NO ReqResv=NO OverSubscribe=NO OverTimeLimit=NONE PreemptMode=OFF State=UP TotalCPUs=256 TotalNodes=1 SelectTypeParameters=NONE JobDefaults=DefCpuPerGPU=36 DefMemPerCPU=1930 MaxMemPerNode=UNLIMITED TRES=cpu=256,mem=750G,node=1,billing=256
""",
    "node": "".join(
        f"NodeName=n{i} Arch=x86_64 CoresPerSocket=64  CPUAlloc=88 CPUEfctv=252 CPUTot=256 CPULoad=18.41 "
        "AvailableFeatures=(null) "
        "ActiveFeatures=(null) Gres=(null) NodeAddr=n NodeHostName=n Version=24.05.4 OS=Linux 5.14.0 #1 SMP "
        "RealMemory=768000 AllocMem=706560 "
        "FreeMem=224124 Sockets=2 Boards=1 CoreSpecCount=4 CPUSpecList=96-99 MemSpecLimit=65536 State=MIXED "
        "ThreadsPerCore=2 TmpDisk=0 "
        f"Weight=1 Owner=N/A MCS_label=N/A Partitions=debug,batch,scavenge{',theirs' if i == 3 else ''}  "
        "BootTime=2025-01-01T00:00:00\n"
        for i in (1, 2, 3)
    ),
    "assoc": "chem||||normal|normal,long\n",
    "user": "chem\n",
    "qos": "normal|1:00:00\nlong|\n",
}


@pytest.fixture
def cluster_of(tmp_path, monkeypatch):
    """Return a function that gives what is read of a cluster that prints such texts."""

    def cluster_of(texts):
        for name, text in texts.items():
            (tmp_path / name).write_text(text)
        # `scontrol --oneliner show WHAT` or `scontrol show config`; `sacctmgr --noheader --parsable2 show
        # WHAT ...`
        scontrol = (
            f'#!/bin/sh\n[ "$1" = show ] && exec cat {tmp_path}/$2\n[ "$1 $2" = "--oneliner show" ] && exec '
            f"cat {tmp_path}/$3\nexit 1\n"
        )
        user = getpass.getuser()
        sacctmgr = (
            f'#!/bin/sh\n[ "$1 $2 $3" = "--noheader --parsable2 show" ] || exit 1\n'
            f'case "$4 $6" in "assoc user={user}"|"user name={user}"|"qos "*) exec cat {tmp_path}/$4;; '
            "esac\nexit 1\n"
        )
        for name, script in (("scontrol", scontrol), ("sacctmgr", sacctmgr)):
            (tmp_path / name).write_text(script)
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        return query_cluster()

    return cluster_of


def asks(rule, minutes, memory_mb, cores=1, gpus=0, partition=None):
    options = {"slurm_partition": partition} if partition else {}
    return Request(rule, cores, gpus, (minutes,), (memory_mb,), minutes, memory_mb, options)


LABEL, MD = asks("label_batch", 720, 66_000, cores=32), asks("run_md", 1440, 6000, gpus=1)


def test_a_cluster_with_time_limits_by_partition_user_and_quality_of_service(cluster_of):
    cluster = cluster_of(OLD)
    small, gpu = cluster.partitions["small"], cluster.partitions["gpu"]
    # memory of the system is not for jobs; the reason of a node that is down is none of its facts
    assert [node.memory_mb for node in small.nodes] == [190_000 - 5120, 382_000]
    assert (small.cores, small.memory_mb, small.gpus) == (40, 382_000, 0)
    assert (gpu.gpus, gpu.gpu_types) == (4, ["a100", "v100"])
    # three days of the partition, two of the user in this account, one and a half of the partition's quality
    # of service
    assert (small.minutes, cluster.minutes(small, "physics"), cluster.minutes(gpu, "physics")) == (
        4320,
        2880,
        2160,
    )
    assert cluster.minutes(small, "chemistry") == 4320
    assert cluster.refuses

    profile = decide(cluster, [LABEL, MD])
    assert (profile.account.value, profile.account.open) == ("physics", True)
    # of two nodes at least, or of 15 minutes: not the others
    assert (profile.partition.value, profile.partition.open) == ("small", False)
    assert profile.gpu.value == "gpu"
    text = render(profile)
    written = yaml.safe_load(text)
    assert written["default-resources"] == {
        "slurm_account": "physics",
        "slurm_partition": "small",
        "max_runtime": 2880,
        "max_mem_mb": 382_000,
    }
    assert written["set-resources"] == {
        "run_md": {"slurm_partition": "gpu", "max_runtime": 2160, "max_mem_mb": 382_000}
    }
    assert written["jobs"] == 100
    assert "# CHOOSE, or take what comes: a100, v100" in text
    assert "# CHOOSE an account. Your accounts: chemistry, physics." in text


def test_a_cluster_whose_partitions_cancel_jobs_are_closed_or_are_short(cluster_of):
    cluster = cluster_of(NEW)
    batch = cluster.partitions["batch"]
    assert (batch.cores, batch.memory_mb) == (64, 64 * 3900)  # cores of a job, and memory for each of them
    assert cluster.partitions["theirs"].cores == 252
    assert cluster.partitions["scavenge"].preempted == "cancel"
    assert cluster.partitions["theirs"].preempted == ""
    # of the highest tier of its nodes but for those of others
    assert batch.preempted == "cancel"
    profile = decide(cluster, [LABEL])
    assert (profile.partition.value, profile.partition.open) == ("scavenge", True)  # the one with most time
    assert "jobs are cancelled when others want the nodes" in profile.partition.reason
    with pytest.raises(
        UserError, match="no partition of this cluster that you may use has a node with 300 cores"
    ):
        decide(cluster, [asks("label_batch", 720, 6000, cores=300)])


def test_a_default_partition_for_trying_things_out_is_not_simply_taken(cluster_of):
    cluster = cluster_of(NEW | {"partition": NEW["partition"].replace("PriorityTier=3", "PriorityTier=2")})
    profile = decide(cluster, [LABEL])
    assert (profile.account.value, profile.account.open) == ("chem", False)
    assert (profile.partition.value, profile.partition.open) == ("batch", True)
    assert "debug (up to 30 min" in profile.partition.reason
    assert "theirs" not in profile.partition.reason  # closed to the account
    assert "scavenge" not in profile.partition.reason  # cancels its jobs
    # limits of qualities of service are not enforced here
    assert profile.minutes == 720
    assert (profile.retries, profile.status.value) == (3, "sacct")
    assert not profile.gpu.value
    written = yaml.safe_load(render(profile))
    assert "set-resources" not in written
    assert written["slurm-status-command"] == "sacct"


def test_short_partitions_get_as_many_attempts_as_make_two_days(cluster_of):
    cluster = cluster_of(
        NEW
        | {
            "partition": NEW["partition"]
            .replace("MaxTime=12:00:00", "MaxTime=01:00:00")
            .replace("PriorityTier=3", "PriorityTier=2")
        }
    )
    assert decide(cluster, [LABEL]).retries == 47


@pytest.mark.parametrize(
    "name", ["cpu", "gpu-a100", "all", "open", "threads", "1234", "0123", "1e3", "True", "it's"]
)
def test_snakemake_reads_names_of_accounts_and_partitions_as_they_are(name):
    choice = Choice(name, "")
    profile = yaml.safe_load(render(Profile(account=choice, partition=choice, gpu=choice)))
    defaults, of_rule = profile["default-resources"], profile["set-resources"]["run_md"]
    for written in (defaults["slurm_account"], defaults["slurm_partition"], of_rule["slurm_partition"]):
        read = Resource.cli_evaluator(
            "slurm_partition", written, wildcards=None, input=None, attempt=1, threads=1, async_run=None
        )
        assert read == name


def test_what_others_wrote_need_not_be_utf_8(cluster_of, tmp_path):
    cluster_of(NEW)
    nodes = tmp_path / "node"
    nodes.write_bytes(nodes.read_bytes().replace(b" State=", b" Comment=M\xe9moire State="))
    squeue = tmp_path / "squeue"
    squeue.write_bytes(
        b"#!/bin/sh\nprintf '7|RUNNING|batch|1:00|None|n1|calcul "
        b"\351tat|\\n8|RUNNING|batch|1:00|None|n1|mine|\\n'\n"
    )
    squeue.chmod(0o755)
    assert query_cluster().partitions["batch"].cores == 64
    queue = read_queue("mine")
    assert ([job.job for job in queue.jobs], queue.alive) == (["8"], {"7", "8"})


def test_the_doctor_tells_of_partitions_that_are_not_for_such_jobs(cluster_of, tmp_path):
    texts = NEW | {"partition": NEW["partition"].replace("State=UP", "State=DRAIN", 1)}
    requests = [
        asks("a", 20, 1000, partition="debug"),
        asks("b", 20, 1000, partition="scavenge"),
        asks("c", 20, 300_000, partition="batch"),
    ]
    checks = list(compare(requests, cluster_of(texts), tmp_path / "config.yaml"))
    wrong = [check.text for check in checks if not check.ok]
    assert "partition debug accepts no jobs now: its state is not UP" in wrong
    said = [check.text for check in checks if check.doubtful]
    assert any(text.startswith("partition scavenge cancels jobs when others want") for text in said)
    assert any("| c | too much memory from attempt 1" in text for text in wrong)
    theirs = [asks("a", 20, 1000, partition="theirs")]
    theirs[0].options["slurm_account"] = "chem"
    texts = [
        check.text for check in compare(theirs, cluster_of(NEW), tmp_path / "config.yaml") if not check.ok
    ]
    assert texts == ["partition theirs is closed to the account chem"]


def test_the_doctor_tells_of_a_cap_below_what_is_needed(cluster_of, tmp_path):
    label = replace(asks("label_batch", 720, 66_000, cores=32, partition="small"), memory_mb=(30_000,) * 4)
    checks = list(compare([label], cluster_of(OLD), tmp_path / "config.yaml"))
    wrong = next(check for check in checks if not check.ok)
    assert "66 GB are needed, and no attempt has more than 30 GB" in wrong.text
    assert "raise max_mem_mb" in wrong.remedy
    assert "gpu, gputest, large, small" in wrong.remedy


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [
        ("(null)", {}),
        ("gpu", {"": 1}),
        ("gpu:2", {"": 2}),
        ("gpu:a100:4(S:0-1),nvme:3500", {"a100": 4}),
        (
            "gpu:nvidia_b200:4(S:0),gpu:nvidia_b200_2g.45gb:8(S:1)",
            {"nvidia_b200": 4, "nvidia_b200_2g.45gb": 8},
        ),
        ("craynetwork:4,gpu:1", {"": 1}),
    ],
)
def test_gpus_of_a_node(gres, gpus):
    assert read_gpus(gres) == gpus


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("UNLIMITED", None),
        ("", None),
        ("00:30:00", 30),
        ("3-00:00:00", 4320),
        ("1-12:00:00", 2160),
        ("12:00:00", 720),
    ],
)
def test_limits_of_time(text, minutes):
    assert minutes_of(text) == minutes


def test_the_profile_of_the_repository_is_the_one_of_no_cluster():
    # to write it anew: render(Profile()), with which `pesatlas cluster` writes those of campaigns
    assert (ROOT / "profiles" / "slurm" / "config.yaml").read_text() == render(Profile())
