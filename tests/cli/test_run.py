"""`pesatlas run` on a terminal, with Snakemake itself and a workflow of one rule."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from small_campaign import ROOT
from terminals import Terminal

RULE = """
rule all:
    output:
        "results/made.txt",
    message:
        "Making it"
    shell:
        "echo a job speaks; echo made > {output}; sleep 1"
"""


def test_on_a_terminal_the_stages_stand_below_the_lines_which_are_in_a_file_too(tmp_path):
    (tmp_path / "Snakefile").write_text(RULE)
    shutil.copyfile(ROOT / "config" / "demo.yaml", tmp_path / "config.yaml")
    terminal = Terminal(80)
    command = [sys.executable, "-m", "pesatlas.cli.main", "run", "--profile", str(ROOT / "profiles/local")]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    done = subprocess.run(
        command, cwd=tmp_path, stdout=terminal.file, stderr=terminal.file, env=environment, check=False
    )
    lines = terminal.close()
    assert done.returncode == 0, lines
    assert (tmp_path / "results" / "made.txt").read_text() == "made\n"
    assert lines.count("a job speaks") == 1
    assert any(line.startswith("report") and "░" in line for line in lines)
    assert any("`pesatlas run` is alive on" in line for line in lines)
    log = (tmp_path / "logs" / "run.log").read_text()
    assert "a job speaks" in log.splitlines()
    assert "\x1b" not in log
    assert "░" not in log


def locked(folder):
    """A campaign whose run was killed: Snakemake's lock is there."""
    (folder / "Snakefile").write_text(RULE)
    shutil.copyfile(ROOT / "config" / "demo.yaml", folder / "config.yaml")
    locks = folder / ".snakemake" / "locks"
    locks.mkdir(parents=True)
    (locks / "0.output.lock").write_text(str(folder / "results" / "made.txt"))
    command = [sys.executable, "-m", "pesatlas.cli.main", "run", "--profile", str(ROOT / "profiles/local")]
    return subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_a_lock_that_cannot_be_cleared_is_no_fault_of_the_program(tmp_path):
    run = locked(tmp_path)
    (tmp_path / "Snakefile").write_text("rule:\n  nonsense")
    said, _ = run.communicate(timeout=60)
    assert run.returncode == 1, said
    assert "CalledProcessError" not in said
    assert "The campaign stopped before its end." in said


@pytest.mark.parametrize("after_s", [0.0, 0.5, 0.9, 1.3])
def test_ctrl_c_while_a_lock_is_cleared(tmp_path, after_s):
    run = locked(tmp_path)
    for line in run.stdout:
        if "its lock is cleared" in line:
            break
    time.sleep(after_s)
    # as a terminal does: every process hears it
    os.killpg(run.pid, signal.SIGINT)
    said, _ = run.communicate(timeout=60)
    assert run.returncode not in {None, 0}, said
    assert "Traceback" not in said
    assert "Stopped by Ctrl-C" in said
