"""The controlling process of a campaign, `pesatlas run`: told to stop, killed, taken over.

Snakemake and its jobs are real, on this machine.
"""

import contextlib
import fcntl
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from pesatlas.cli.lock import campaign_lock
from pesatlas.cli.run import _executor
from pesatlas.errors import UserError
from pesatlas.monitor.controlling_process import LOCK_FILE, read_controller
from small_campaign import ROOT

CONSOLE = Console(file=io.StringIO())

# Jobs last until the test lets them end: `go` for each that may.
RULES = """
rule all:
    input: expand("made/{n}.txt", n=range(4))
rule make:
    output: "made/{n}.txt"
    shell: "touch started.{wildcards.n}; while [ ! -e go ]; do sleep 0.1; done; echo made > {output}"
"""
RUN = [sys.executable, "-m", "pesatlas.cli.main"]


class Folder:
    """A campaign's folder with a workflow of two jobs at a time; what runs in it ends with the test."""

    def __init__(self, path):
        self.path, self._started = path, []
        (path / "Snakefile").write_text(RULES)
        shutil.copyfile(ROOT / "config" / "demo.yaml", path / "config.yaml")

    def start(self, *arguments):
        """Start `pesatlas run`; return when two jobs run."""
        options = ["--profile", str(ROOT / "profiles" / "local"), "--cores", "2", *arguments]
        with (self.path / "output.txt").open("ab") as output:
            controller = subprocess.Popen(
                [*RUN, "run", *options],
                cwd=self.path,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._started.append(controller)
        return controller

    def started(self, *arguments):
        for file in self.path.glob("started.*"):
            file.unlink()
        controller = self.start(*arguments)
        wait_for(lambda: len(list(self.path.glob("started.*"))) == 2 or controller.poll() is not None)
        assert controller.poll() is None, self.output
        return controller

    def pesatlas(self, *arguments, expect=0):
        done = subprocess.run(
            [*RUN, *arguments], cwd=self.path, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == expect, done.stdout + done.stderr
        return " ".join((done.stdout + done.stderr).split())

    def go(self):
        """Let all jobs end."""
        (self.path / "go").touch()

    @property
    def output(self):
        return " ".join((self.path / "output.txt").read_text().split())

    @property
    def made(self):
        return sorted(path.stem for path in (self.path / "made").glob("*.txt"))

    def processes(self):
        """All processes that work in this folder."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.status() != psutil.STATUS_ZOMBIE and process.cwd() == str(self.path):
                    found.append(process)
        return found

    def end(self):
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        for controller in self._started:
            controller.wait()


def orphaned(folder):
    """Kill a run, and suspend its Snakemake before, which then has not heard and lives on; return both."""
    controller = folder.started()
    snakemake = read_controller(folder.path).snakemake
    os.kill(snakemake, signal.SIGSTOP)
    controller.kill()
    controller.wait()
    return controller, snakemake


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def folder(tmp_path):
    new = Folder(tmp_path)
    yield new
    new.end()


@pytest.mark.first
def test_a_killed_parent_takes_snakemake_and_its_jobs_along_and_the_same_command_carries_on(folder):
    controller = folder.started()
    assert len(folder.processes()) >= 4  # two jobs, their shells
    controller.kill()
    controller.wait()
    wait_for(lambda: not folder.processes(), 10)
    assert "was killed; the same command continues" in folder.pesatlas("status")
    folder.go()
    assert folder.start().wait(60) == 0
    assert folder.made == ["0", "1", "2", "3"]


def test_a_run_right_after_the_kill_of_another_is_not_refused(folder):
    _, snakemake = orphaned(folder)
    folder.go()
    follower = folder.start()
    time.sleep(3)
    assert follower.poll() is None
    os.kill(snakemake, signal.SIGCONT)
    assert follower.wait(60) == 0, folder.output
    assert folder.made == ["0", "1", "2", "3"]


def test_snakemake_that_lives_without_its_parent_is_found_named_and_ended(folder):
    controller, snakemake = orphaned(folder)
    found = read_controller(folder.path)
    assert (found.pid, found.alive, found.orphaned, found.snakemake) == (
        controller.pid,
        True,
        True,
        snakemake,
    )
    text = (
        f"(process {controller.pid}) was killed, but its Snakemake (process {snakemake} on "
        f"{socket.gethostname()}) is alive"
    )
    assert text in folder.pesatlas("status")
    assert text in folder.pesatlas("run", expect=1)
    folder.go()
    folder.pesatlas("run", "--take-over", "--cores", "2")
    assert not psutil.pid_exists(snakemake)
    assert folder.made == ["0", "1", "2", "3"]


def test_snakemake_killed_alone_ends_the_run_with_its_jobs_and_the_last_line_says_so(folder):
    controller = folder.started()
    os.kill(read_controller(folder.path).snakemake, signal.SIGKILL)
    assert controller.wait(60) == 128 + signal.SIGKILL
    wait_for(lambda: not folder.processes(), 10)
    assert "Snakemake was killed (SIGKILL)" in folder.output
    assert folder.output.endswith("The same command continues.")
    folder.go()
    assert folder.start().wait(60) == 0
    assert folder.made == ["0", "1", "2", "3"]


@pytest.mark.parametrize("how", ["SIGTERM", "pesatlas stop"])
def test_quietly_stopped_running_jobs_come_to_their_end_and_nothing_new_begins(folder, how):
    controller = folder.started()
    if how == "SIGTERM":
        controller.terminate()
        time.sleep(2)
        assert "it was asked to end (quietly)" in folder.pesatlas("status")
        folder.go()
    else:
        asked = subprocess.Popen([*RUN, "stop"], cwd=folder.path, stdout=subprocess.PIPE, text=True)
        wait_for(lambda: read_controller(folder.path).stopping == "quietly")
        time.sleep(2)
        assert controller.poll() is None
        assert asked.poll() is None
        folder.go()
        said = " ".join(asked.communicate(timeout=60)[0].split())
        assert asked.returncode == 0
        assert "running jobs finish" in said
        assert "The run has ended" in said
    assert controller.wait(60) == 1
    assert len(folder.made) == 2
    assert f"Stopped by {'`' if how != 'SIGTERM' else ''}{how}" in folder.output
    assert "nothing needs to be repaired. Running jobs finished." in folder.output
    assert "WorkflowError" not in folder.output
    assert "The lines above state why" not in folder.output
    assert folder.start().wait(60) == 0
    assert folder.made == ["0", "1", "2", "3"]


# a job of ours, which SIGTERM ends, and one that fails by itself if it is told to
OF_OURS = """
rule all:
    input: "made/0.txt", "made/1.txt"
rule make:
    output: "made/{n}.txt"
    log: "logs/make/{n}.log"
    script: "make.py"
"""
SCRIPT = """
import time
from pathlib import Path
from pesatlas.errors import UserError
from pesatlas.runtime.job_process import run_job
with run_job(snakemake.rule, Path(snakemake.log[0]), 1):
    Path(f"started.{snakemake.wildcards.n}").touch()
    while not Path("go").exists():
        time.sleep(0.1)
        if snakemake.wildcards.n == "0" and Path("fail").exists():
            raise UserError("this job fails")
"""


@pytest.mark.parametrize("fails", [False, True])
def test_jobs_that_sigterm_ended_with_the_run_are_not_called_failed(folder, fails):
    (folder.path / "Snakefile").write_text(OF_OURS)
    (folder.path / "make.py").write_text(SCRIPT)
    controller = folder.started()
    if fails:
        (folder.path / "fail").touch()
        wait_for(lambda: "this job fails" in folder.output)
    os.killpg(controller.pid, signal.SIGTERM)  # as a service, or a machine that goes down, does
    assert controller.wait(60) == 1
    state = "some jobs failed before that" if fails else "nothing needs to be repaired"
    assert f"Stopped by SIGTERM: {state}. Running jobs were ended with it" in folder.output
    assert ("make 0 failed: see logs/make/0.log" in folder.output) == fails
    assert "make 1 failed" not in folder.output
    assert folder.output.endswith("the same command continues." if fails else "The same command continues.")


@pytest.mark.parametrize("how", ["Ctrl-C", "pesatlas stop --now"])
def test_stopped_at_once_nothing_is_left_running(folder, how):
    controller = folder.started()
    if how == "Ctrl-C":
        os.killpg(controller.pid, signal.SIGINT)  # reaches everything in the terminal
    else:
        folder.pesatlas("stop", "--now")
    assert controller.wait(60) != 0
    assert "WorkflowError" not in folder.output
    assert not folder.processes()
    assert folder.made == []
    assert f"Stopped by {'`' if how != 'Ctrl-C' else ''}{how}" in folder.output
    assert folder.output.endswith(
        "Running jobs were cancelled; their finished work is kept. The same command continues."
    )
    folder.go()
    assert folder.start().wait(60) == 0
    assert folder.made == ["0", "1", "2", "3"]


@pytest.mark.parametrize("options", ["", "--now"])
def test_a_run_whose_disk_is_full_can_be_stopped(folder, options):
    controller = folder.started()
    if not options:
        folder.go()
    # in its folder nothing can be written
    stop = f"ulimit -f 0; {sys.executable} -m pesatlas.cli.main stop {options}"
    done = subprocess.run(
        ["sh", "-c", stop], cwd=folder.path, capture_output=True, text=True, check=False, timeout=90
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The run has ended" in done.stdout
    assert controller.wait(10) != 0 or folder.made == ["0", "1", "2", "3"]
    assert not folder.processes()
    assert not list(folder.path.glob(".pesatlas.stop*"))


def test_a_quiet_stop_can_be_made_a_hard_one(folder):
    controller = folder.started()
    controller.terminate()
    wait_for(lambda: read_controller(folder.path).stopping == "quietly")
    assert "The run has ended" in folder.pesatlas("stop", "--now")
    assert controller.wait(60) != 0
    assert not folder.processes()


def test_a_suspended_run_is_told_of_and_can_be_stopped(folder):
    controller = folder.started()
    os.killpg(controller.pid, signal.SIGSTOP)
    wait_for(lambda: read_controller(folder.path).suspended)
    assert f"(process {controller.pid}) is suspended" in folder.pesatlas("status")
    folder.pesatlas("stop", "--now")
    assert controller.wait(60) != 0


def test_take_over_ends_the_other_run_and_follows_it(folder):
    controller = folder.started()
    refused = folder.pesatlas("run", expect=1)
    assert f"another `pesatlas run` works in {folder.path}" in refused
    assert f"(process {controller.pid})" in refused
    assert "`pesatlas run --take-over` ends it and continues" in refused
    folder.go()
    (folder.path / "go").unlink()
    second = folder.start("--take-over")
    assert controller.wait(60) != 0
    assert "Ended by `pesatlas run --take-over`" in folder.output
    wait_for(lambda: (found := read_controller(folder.path)) and found.pid == second.pid)
    folder.go()
    assert second.wait(60) == 0
    assert folder.made == ["0", "1", "2", "3"]


def test_a_run_whose_lock_was_taken_away_ends_for_another_may_hold_one_of_that_name(folder):
    controller = folder.started()
    (folder.path / LOCK_FILE).rename(folder.path / f"{LOCK_FILE}.old")
    assert controller.wait(60) != 0
    assert "the file of its lock was taken away" in folder.output
    assert not folder.processes()


def test_stop_where_nothing_runs_says_so_and_ends_well(folder, tmp_path_factory):
    assert "No `pesatlas run` is alive" in folder.pesatlas("stop")
    assert "no such folder" in folder.pesatlas("stop", str(folder.path / "none"), expect=1)


def test_a_run_on_another_machine_is_told_of_and_what_to_do_if_that_is_gone(folder, monkeypatch):
    (folder.path / LOCK_FILE).write_text(
        json.dumps({"host": "login7", "pid": 4711, "since": time.time() - 7200})
    )
    status = folder.pesatlas("status")
    assert "`pesatlas run` was started on login7 (process 4711), 2 h 00 min ago" in status
    monkeypatch.setattr("pesatlas.cli.stop.ANSWER_ELSEWHERE_S", 1.0)
    from pesatlas.cli.stop import stop, take_over

    with pytest.raises(UserError, match=r"no answer from login7.*kill -TERM 4711.*continues here"):
        stop(folder.path, CONSOLE, now=False)
    with (folder.path / LOCK_FILE).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="no answer from login7"):
            take_over(folder.path, CONSOLE)
    take_over(folder.path, CONSOLE)  # nobody holds its lock: the run that follows may carry on
    assert not (folder.path / ".pesatlas.stop").exists()
    # its lock is not held: that machine is gone
    folder.go()
    assert folder.start().wait(60) == 0


def test_a_failed_job_is_no_stop(folder):
    (folder.path / "Snakefile").write_text('rule all:\n    output: "made/0.txt"\n    shell: "exit 1"\n')
    assert folder.start().wait(60) == 1
    assert "The campaign stopped before its end" in folder.output
    assert "Stopped by" not in folder.output
    assert folder.start("--no-such-option").wait(60) == 1
    assert "there is no such option" in folder.output


LOGS = """
import logging, time
from pesatlas.cli.snakemake_child import Interrupt
class Slow(logging.Handler):  # as Snakemake's
    def emit(self, record):
        try:
            print("logs", flush=True)
            time.sleep(1)
        except KeyboardInterrupt:
            pass
Interrupt()
logging.getLogger().addHandler(Slow())
logging.warning("")
time.sleep(60)
"""


def test_an_interrupt_while_snakemake_logs_is_not_lost():
    process = subprocess.Popen([sys.executable, "-c", LOGS], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"logs\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert b"KeyboardInterrupt" in said


HOLDS = """
import sys, time
from pathlib import Path
from pesatlas.cli.lock import campaign_lock
with campaign_lock(Path(".")):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDS], cwd=tmp_path, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(UserError, match="another `pesatlas run`"), campaign_lock(tmp_path):
        pass
    holder.kill()
    holder.communicate()
    with campaign_lock(tmp_path):
        assert read_controller(tmp_path).pid == os.getpid()


@pytest.mark.parametrize(
    ("arguments", "executor"),
    [
        ([], "slurm"),
        (["--executor", "local"], "local"),
        (["-e", "local", "-n"], "local"),
        (["--executor=dryrun"], "dryrun"),
    ],
)
def test_the_executor_is_that_of_the_arguments_or_else_of_the_profile(arguments, executor):
    assert _executor(Path(__file__).parents[2] / "profiles" / "slurm", arguments) == executor


def test_campaigns_of_tests_hear_of_their_jobs_at_once():
    ask = "from snakemake_executor_plugin_slurm import Executor; print(Executor.sleep.__module__)"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "impatient")}
    said = subprocess.run(
        [sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "sitecustomize"
