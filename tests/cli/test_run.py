"""`pesatlas run` on a terminal, with Snakemake itself and a workflow of one rule."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml

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


@pytest.mark.parametrize("after_s", [0.0, 0.03, 0.1, 0.5, 0.9, 1.3])
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


def pesatlas(folder, *words, **environment):
    command = [sys.executable, "-m", "pesatlas.cli.main", *words]
    found = {**os.environ, **environment}
    found = {name: value for name, value in found.items() if value is not None}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=found, check=False)
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def test_jobs_of_labels_by_vasp_are_shown_without_its_program_and_potcars_and_no_run_begins(tmp_path):
    raw = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text())
    raw["label"]["backend"] = {"kind": "vasp", "vasp_version": "6.4.3", "command": "true"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(raw))
    status, said = pesatlas(tmp_path, "run", "-n", PMG_VASP_PSP_DIR=None)
    assert status == 0, said
    assert "label_batch" in said
    assert said.count("labels cannot be calculated on this machine") == 1
    assert said.count("PMG_VASP_PSP_DIR is not set") == 1
    status, said = pesatlas(tmp_path, "run", PMG_VASP_PSP_DIR=None)
    assert status != 0
    assert "PMG_VASP_PSP_DIR is not set" in said
    assert "Warning: labels" not in said
    assert not (tmp_path / "results").exists()
    status, said = pesatlas(tmp_path, "plan", PMG_VASP_PSP_DIR=None)
    assert status == 0, said
    assert "crystals (structures.sources)" in said


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path):
    shutil.copyfile(ROOT / "config" / "demo.yaml", tmp_path / "config.yaml")
    (tmp_path / "results").write_text("")
    status, said = pesatlas(tmp_path, "run", "-n")
    assert status == 1
    assert f"{tmp_path / 'results'} is a file, and a campaign keeps a folder of this name" in said


_READ_ONLY = "mount --bind {0} {0} && mount -o remount,ro,bind {0} && exec {1}"


@pytest.mark.parametrize("dry", [[], ["-n"]])
def test_a_folder_that_cannot_be_written_is_told_in_one_message(tmp_path, dry):
    shutil.copyfile(ROOT / "config" / "demo.yaml", tmp_path / "config.yaml")
    words = shlex.join([sys.executable, "-m", "pesatlas.cli.main", "run", *dry, str(tmp_path)])
    inside = ["unshare", "--mount", "sh", "-c", _READ_ONLY.format(shlex.quote(str(tmp_path)), words)]
    if shutil.which("unshare") is None or subprocess.run([*inside[:4], "true"], check=False).returncode:
        pytest.skip("no mount of its own here")
    done = subprocess.run(inside, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{tmp_path} cannot be written here" in done.stderr
    assert "pesatlas summary" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
