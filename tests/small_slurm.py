"""A real Slurm on this machine: one slurmctld and three slurmd (cpu1, cpu2, gpu1 with fake GPUs), in a
folder of its own.

Partitions: cpu (the default), low (the same nodes; the others preempt its jobs, which go back to the queue),
short (the same nodes, for an hour and 16 GB at most), gpu. Accounting (slurmdbd and a MariaDB of its own,
account ``lab``) only if it is asked for. Nothing of it touches a Slurm that may be installed: configuration,
ports, keys and state are its own. Daemons end with the process that started them.
"""

import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

import psutil

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged", "setpriv")
ACCOUNTING_PROGRAMS = ("slurmdbd", "mariadbd", "mariadb-install-db", "mariadb")
NODES = ("cpu1", "cpu2", "gpu1")
_START_S = 60
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

_NO_CGROUPS = """ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherParams=OverMemoryKill
"""
_CGROUPS = """ProctrackType=proctrack/cgroup
TaskPlugin=task/cgroup
JobAcctGatherType=jobacct_gather/cgroup
"""
_CGROUP_CONF = """CgroupPlugin=cgroup/v1
CgroupMountpoint=/sys/fs/cgroup
ConstrainRAMSpace=yes
"""


def missing(*, accounting: bool = False) -> str:
    """Return why Slurm can't be started here; empty if it can."""
    programs = (*PROGRAMS, *(ACCOUNTING_PROGRAMS if accounting else ()))
    absent = [name for name in programs if shutil.which(name, path=_PATH) is None]
    if absent:
        packages = "slurm-wlm munge" + (" slurmdbd mariadb-server" if accounting else "")
        return f"no {', '.join(absent)} here (apt-get install {packages})"
    return "" if os.geteuid() == 0 else "Slurm's daemons need root"


def can_limit_memory() -> bool:
    """Whether the kernel holds jobs to their memory here: tried on a process that asks for more than it
    may."""
    top = Path("/sys/fs/cgroup/memory")
    if os.geteuid() or not all(os.access(path, os.W_OK) for path in (top / "tasks", top.parent / "freezer")):
        return False
    folder = top / f"pesatlas-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError:
        return False
    try:
        (folder / "memory.limit_in_bytes").write_text("64M")
        greedy = f"open('{folder}/tasks', 'w').write('0'); print('held', flush=True); bytearray(2**28)"
        done = subprocess.run(
            [sys.executable, "-c", greedy], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    finally:
        folder.rmdir()
    return done.stdout == "held\n" and done.returncode == -signal.SIGKILL


class SmallSlurm:
    """Start it with ``with``; commands find it through ``environment``.

    Parameters
    ----------
    cgroups : the kernel holds jobs to their memory, and kills the process that asks for more; else Slurm
        kills the whole job
    accounting : sacct answers, and jobs belong to the account ``lab``
    min_job_age_s : how long Slurm knows jobs that are over, s; it forgets them within a minute after that
    """

    def __init__(
        self, folder: Path, *, cgroups: bool = False, accounting: bool = False, min_job_age_s: int = 3600
    ) -> None:
        self.folder, self.cgroups, self.accounting = folder, cgroups, accounting
        self.min_job_age_s = min_job_age_s
        self.environment = {
            **os.environ,
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{folder / 'bin'}:{_PATH}",
        }
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._reserved: list[socket.socket] = []

    def __enter__(self) -> Self:
        for name in ("state", "log", "dev"):
            (self.folder / name).mkdir(parents=True)
        # a step's socket is there: its path may have 108 letters, and that of pytest's folders grows with
        # their number (pytest-99, pytest-100) until job 10 has one too many
        self._spool = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
        for node in NODES:
            (self._spool / node).mkdir()
        self._configure()
        self._wrap_srun()
        try:
            self._start_munge()
            if self.accounting:
                self._start_accounting()
            self.start_controller()
            for node in NODES:
                self.start_node(node)
            self.wait_for(
                lambda: set(self.ask("sinfo", "-h", "-N", "-o", "%T").split()) == {"idle"}, _START_S
            )
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            subprocess.run(["scancel", "--user", "root"], env=self.environment, check=False, timeout=20)
            self.wait_for(lambda: not self.ask("squeue", "-h"), 30)
        finally:
            for process in reversed(self._daemons.values()):
                process.terminate()
            for process in self._daemons.values():
                try:
                    process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            for lock in self._reserved:
                lock.close()
            shutil.rmtree(self._spool, ignore_errors=True)

    def _reserve_ports(self, count: int) -> list[int]:
        """Return ports for daemons that start later: a name of each is held, so that another Slurm, of
        another test, takes others.

        They are below those that the kernel gives to whoever asks for any.
        """
        found: list[int] = []
        for port in random.SystemRandom().sample(range(20_000, 32_000), 1000):
            lock = socket.socket(socket.AF_UNIX)
            try:
                lock.bind(f"\0small-slurm-{port}")
                with socket.socket() as probe:
                    probe.bind(("", port))
            except OSError:
                lock.close()
                continue
            self._reserved.append(lock)
            found.append(port)
            if len(found) == count:
                return found
        raise OSError("no free ports between 20000 and 32000")

    def _configure(self) -> None:
        host, folder = socket.gethostname().split(".")[0], self.folder
        ports = self._reserve_ports(3 + len(NODES))
        self._database_port, accounts_port = ports[-2:]
        accounts = "AccountingStorageType=accounting_storage/none"
        if self.accounting:
            accounts = (
                "AccountingStorageType=accounting_storage/slurmdbd\nAccountingStorageHost=localhost\n"
                f"AccountingStoragePort={accounts_port}\nAccountingStoreFlags=job_comment\n"
                # with munge, this is its socket
                f"AccountingStoragePass={folder}/munge/socket\n"
                # jobs of another account are refused
                "AccountingStorageEnforce=associations"
            )
            self._accounts_port = accounts_port
        for i in range(4):
            os.mknod(folder / "dev" / f"gpu{i}", 0o600 | 0o020000, os.makedev(1, 3))
        (folder / "gres.conf").write_text(f"NodeName=gpu1 Name=gpu Type=fake File={folder}/dev/gpu[0-3]\n")
        (folder / "cgroup.conf").write_text(_CGROUP_CONF)
        prolog = folder / "prolog"
        prolog.write_text(f'#!/bin/sh\n[ ! -e "{folder}/starts_nothing.$SLURMD_NODENAME" ]\n')
        prolog.chmod(0o755)
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=4 CoresPerSocket=4 "
            "RealMemory=64000"
            f"{' Gres=gpu:fake:4' if node.startswith('gpu') else ''} State=UNKNOWN"
            for node, port in zip(NODES, ports[1:-2], strict=True)
        )
        (folder / "slurm.conf").write_text(
            f"""ClusterName=small
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={self._spool}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld
SlurmdLogFile={folder}/log/slurmd.%n
# more cores and memory than the machine has: jobs of tests are small
SlurmdParameters=config_overrides
{_CGROUPS if self.cgroups else _NO_CGROUPS}JobAcctGatherFrequency=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
MpiDefault=none
{accounts}
ReturnToService=2
# a busy machine answers late; after the 10 s that are usual it counts as a start that failed
MessageTimeout=60
Prolog={folder}/prolog
SlurmdTimeout=10
InactiveLimit=0
KillWait=5
MinJobAge={self.min_job_age_s}
SchedulerParameters=sched_interval=1,bf_interval=2,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
OverTimeLimit=0
{nodes}
PartitionName=cpu Nodes=cpu[1-2] Default=YES MaxTime=INFINITE PriorityTier=10
PartitionName=low Nodes=cpu[1-2] MaxTime=INFINITE PriorityTier=1 PreemptMode=REQUEUE
PartitionName=gpu Nodes=gpu1 MaxTime=INFINITE PriorityTier=10
PartitionName=short Nodes=cpu[1-2] MaxTime=1:00:00 MaxMemPerNode=16000 PriorityTier=10
"""
        )

    def _wrap_srun(self) -> None:
        """Snakemake's job steps take every SLURM_ variable away from srun, which then looks for its
        configuration elsewhere."""
        srun = self.folder / "bin" / "srun"
        srun.parent.mkdir()
        real = shutil.which("srun", path=_PATH)
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {real} "$@"\n')
        srun.chmod(0o755)

    def _start_munge(self) -> None:
        munge = self.folder / "munge"
        munge.mkdir()
        key = munge / "key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        files = {
            "socket": "socket",
            "key-file": "key",
            "pid-file": "pid",
            "log-file": "log",
            "seed-file": "seed",
        }
        options = [f"--{option}={munge / name}" for option, name in files.items()]
        # --force: pytest's temporary folders are private, which munged takes for a mistake
        self._start("munged", "--foreground", "--force", *options)
        self.wait_for((munge / "socket").exists, _START_S)

    def _start_accounting(self) -> None:
        folder, password = self.folder / "database", secrets.token_hex(16)
        folder.mkdir()
        socket_file = f"--socket={folder}/socket"
        # --no-defaults: nothing of a database that may be installed here
        install = ["mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={folder}/data"]
        subprocess.run(
            [*install, "--auth-root-authentication-method=socket", "--skip-test-db"],
            env=self.environment,
            capture_output=True,
            check=True,
            timeout=_START_S,
        )
        self._start(
            "mariadbd",
            "--no-defaults",
            "--user=root",
            f"--datadir={folder}/data",
            socket_file,
            f"--port={self._database_port}",
            "--bind-address=127.0.0.1",
            "--innodb-buffer-pool-size=128M",
            "--innodb-lock-wait-timeout=900",
        )
        self.wait_for((folder / "socket").exists, _START_S)
        user = f"'slurm'@'localhost' identified by '{password}'"
        statements = (
            f"create database accounts; create user {user}; grant all on accounts.* to 'slurm'@'localhost';"
        )
        self.ask("mariadb", "--no-defaults", socket_file, "-e", statements)
        settings = self.folder / "slurmdbd.conf"
        settings.touch(mode=0o600)
        settings.write_text(
            f"AuthType=auth/munge\nAuthInfo=socket={self.folder}/munge/socket\n"
            f"DbdHost=localhost\nDbdPort={self._accounts_port}\n"
            f"SlurmUser=root\nPidFile={self.folder}/slurmdbd.pid\nStorageType=accounting_storage/mysql\n"
            f"StorageHost=127.0.0.1\nStoragePort={self._database_port}\n"
            f"StorageUser=slurm\nStoragePass={password}\nStorageLoc=accounts\n"
        )
        self._start("slurmdbd", "-D")
        self.wait_for(lambda: self.ask("sacctmgr", "-n", "show", "user") is not None, _START_S)
        for what in (["cluster", "small"], ["account", "lab"], ["user", "root", "Account=lab"]):
            self.ask("sacctmgr", "-i", "add", *what)

    def _start(self, name: str, *arguments: str) -> None:
        with (self.folder / "log" / f"{name}.out").open("ab") as output:
            self._daemons[" ".join([name, *arguments])] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", name, *arguments],
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def controller(self) -> subprocess.Popen[bytes]:
        """The process of slurmctld."""
        return self._daemons["slurmctld -D"]

    def start_controller(self) -> None:
        """Start slurmctld, for the first time or after ``kill_controller``."""
        self._start("slurmctld", "-D")

    def kill_controller(self) -> None:
        """Let slurmctld die; what it had written of its state is kept."""
        self.controller.kill()
        self.controller.wait()

    def start_node(self, node: str) -> None:
        """Start the slurmd of ``node``, for the first time or after ``fail``."""
        self._start("slurmd", "-D", "-N", node)

    def fail(self, node: str) -> None:
        """Let ``node`` die: its slurmd and all that runs under it end at once."""
        daemon = self._daemons.pop(f"slurmd -D -N {node}")
        daemon.kill()
        daemon.wait()
        log = str(self.folder / "log" / f"slurmd.{node}")
        for step in psutil.process_iter():
            if step.name() == "slurmstepd" and any(file.path == log for file in step.open_files()):
                for process in [step, *step.children(recursive=True)]:
                    process.kill()

    def let_starts_fail(self, node: str) -> None:
        """From now on no job can be started on ``node``; with the first one that fails Slurm drains it."""
        (self.folder / f"starts_nothing.{node}").touch()

    def ask(self, *command: str) -> str:
        """Return what a command of Slurm says."""
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=True, timeout=30
        ).stdout

    def jobs(self, states: str = "all") -> list[dict[str, str]]:
        """Return the jobs that Slurm knows, the newest last, with number, state, partition, name, comment."""
        names = ("number", "state", "partition", "node", "name", "comment")
        text = self.ask("squeue", "-h", f"--states={states}", "--sort=i", "--format=%A|%T|%P|%N|%j|%k")
        return [dict(zip(names, line.split("|", 5), strict=True)) for line in text.splitlines()]

    def restarts(self) -> dict[str, int]:
        """Return how often each job that Slurm knows went back to the queue, by number."""
        lines = self.ask("squeue", "-h", "--states=all", "--Format=JobID:20,RestartCnt:20").splitlines()
        return {number: int(count) for number, count in map(str.split, lines)}

    def killed_for_memory(self) -> set[str]:
        """Return the numbers of jobs that were ended for their memory, which without cgroups only the nodes'
        logs tell."""
        logs = "".join(path.read_text() for path in (self.folder / "log").glob("slurmd.cpu?"))
        return set(re.findall(r"StepId=(\d+)\.\S+ exceeded memory limit", logs))

    def told(self) -> str:
        """Return the last lines of all daemons' logs."""
        logs = sorted((self.folder / "log").iterdir())
        return "\n".join(f"== {path.name}\n{path.read_text(errors='replace')[-3000:]}" for path in logs)

    def wait_for(self, condition, seconds: float):
        """Wait until ``condition`` holds, and return what it gave; a TimeoutError says what Slurm's daemons
        had to say."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if found := condition():
                    return found
            except subprocess.CalledProcessError:
                pass  # not up yet
            if time.monotonic() > deadline:
                raise TimeoutError(self.told())
            time.sleep(0.2)
