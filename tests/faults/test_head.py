"""The head of a campaign, `pesatlas run`, told to stop or killed: Snakemake below it gets its time, and keeps the lock."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pesatlas.cli.lock import campaign_lock
from pesatlas.cli.run import _executor
from pesatlas.errors import UserError

HEAD = """
import sys
from pathlib import Path
from pesatlas.cli.lock import campaign_lock
from pesatlas.cli.run import _wait_for
with campaign_lock(Path(".")) as lock:
    sys.exit(_wait_for([sys.executable, "-c", sys.argv[1]], Path("."), lock))
"""
# In place of Snakemake: a second to tidy up when it is told to stop.
TIDY = """
import signal, sys, time
from pathlib import Path
def stop(number, _):
    time.sleep(1)
    Path("stopped").write_text(str(number))
    sys.exit(3)
signal.signal(signal.SIGINT, stop)
signal.signal(signal.SIGTERM, stop)
Path("started").touch()
time.sleep(60)
"""


def wait_for(path):
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.05)


@pytest.fixture
def head(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HEAD, TIDY], cwd=tmp_path, start_new_session=True)
    wait_for(tmp_path / "started")
    yield process
    with contextlib.suppress(ProcessLookupError):  # all of it ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_snakemake_has_time_to_stop_its_jobs(head, tmp_path, number):
    if number == signal.SIGINT:
        os.killpg(head.pid, number)  # Ctrl-C reaches everything in the terminal
    else:
        head.send_signal(number)
    assert head.wait(30) == 3
    assert (tmp_path / "stopped").read_text() == str(int(number))


def test_a_head_that_is_killed_alone_leaves_the_lock_with_snakemake(head, tmp_path):
    head.kill()
    head.wait()
    with pytest.raises(UserError, match="another `pesatlas run`"), campaign_lock(tmp_path):
        pass
    os.killpg(head.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while True:
        try:
            with campaign_lock(tmp_path):
                return
        except UserError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


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
