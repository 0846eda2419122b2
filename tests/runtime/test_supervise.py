"""Nothing that a supervised program starts outlives it, its time, or the job that wanted it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pesatlas.runtime.supervise import TIMED_OUT, share_cores, start, stop

# Ignores SIGTERM and leaves a child in a session of its own, which ignores it too: each writes its process
# id.
STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def live(name):
    with open(name + ".part", "w") as handle: handle.write(str(os.getpid()))
    os.rename(name + ".part", name)
    time.sleep(600)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        live("ghost")
    os._exit(0)
live("program") if sys.argv[1] == "stay" else time.sleep(0.5)
"""


def run(folder, *words, timeout_s=60.0, **options):
    return start(
        [sys.executable, "-c", *words], folder, folder / "out.txt", timeout_s, grace_s=0.3, **options
    )


def pids(folder, *names):
    end = time.monotonic() + 20
    while not all((folder / name).exists() for name in names):
        assert time.monotonic() < end, (folder / "out.txt").read_text()
        time.sleep(0.02)
    return [int((folder / name).read_text()) for name in names]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for_death(*processes):
    end = time.monotonic() + 10
    while any(map(alive, processes)):
        assert time.monotonic() < end, f"alive: {[p for p in processes if alive(p)]}"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("code", "status"),
    [("print('hello')", 0), ("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 11)", 139)],
)
def test_status_and_output_are_the_programs(tmp_path, code, status):
    assert run(tmp_path, code).wait(30) == status
    assert ("hello" in (tmp_path / "out.txt").read_text()) == (status == 0)


def test_a_program_that_ends_at_once_is_not_waited_for(tmp_path):
    began = time.monotonic()
    for _ in range(20):
        assert start(["true"], tmp_path, tmp_path / "out.txt", 60.0).wait() == 0
    assert time.monotonic() - began < 30


def test_a_program_that_is_not_there(tmp_path):
    assert start(["/no/such/vasp"], tmp_path, tmp_path / "out.txt", 10.0).wait(30) == 127
    assert "/no/such/vasp does not start: No such file" in (tmp_path / "out.txt").read_text()


def test_when_time_is_up_ghosts_go_too(tmp_path):
    process = run(tmp_path, STUBBORN, "stay", timeout_s=2.0)
    both = pids(tmp_path, "program", "ghost")
    assert process.wait(30) == TIMED_OUT
    wait_for_death(*both)


def test_a_program_that_ends_leaves_no_ghost(tmp_path):
    process = run(tmp_path, STUBBORN, "go")
    (ghost,) = pids(tmp_path, "ghost")
    assert process.wait(30) == 0
    wait_for_death(ghost)


def test_stop_ends_all_of_it(tmp_path):
    process = run(tmp_path, STUBBORN, "stay")
    both = pids(tmp_path, "program", "ghost")
    stop(process)
    assert process.returncode == 128 + signal.SIGTERM
    wait_for_death(*both)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_when_the_job_dies_everything_does(tmp_path, number):
    job = (
        "import sys; from pathlib import Path; from pesatlas.runtime.supervise import start\n"
        f"start([sys.executable, '-c', {STUBBORN!r}, 'stay'], Path(), Path('out.txt'), 600.0, "
        "grace_s=0.3).wait()"
    )
    process = subprocess.Popen([sys.executable, "-c", job], cwd=tmp_path)
    both = pids(tmp_path, "program", "ghost")
    process.send_signal(number)
    process.wait()
    wait_for_death(*both)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_programs_side_by_side_have_cores_of_their_own(tmp_path):
    first, second = share_cores(2, 1)
    assert not set(first) & set(second)
    code = "import os; print(os.sched_getaffinity(0))"
    assert run(tmp_path, code, cpus=second).wait(30) == 0
    assert (tmp_path / "out.txt").read_text().strip() == str(set(second))
    assert share_cores(10_000, 1) == [()] * 10_000
