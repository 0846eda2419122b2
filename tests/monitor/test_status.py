"""The status: sums close, running jobs count, what is gone is said to be gone, and nobody is disturbed."""

import fcntl
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from pesatlas.campaign.load import read_campaign
from pesatlas.campaign.named_potentials import benchmarked_potentials
from pesatlas.cli.lock import campaign_lock
from pesatlas.cli.slurm_jobs import job_prefix
from pesatlas.errors import UserError
from pesatlas.monitor.controlling_process import LOCK_FILE, read_controller
from pesatlas.monitor.process import is_alive
from pesatlas.monitor.screen import screen
from pesatlas.monitor.squeue import parse
from pesatlas.monitor.status import read_status

HOST = os.uname().nodename
ROOT = Path(__file__).parents[2]


@pytest.fixture
def look(halfway):
    campaign = read_campaign(halfway.folder / "config.yaml", extensions=False)
    return lambda: read_status(halfway.folder, campaign, job_prefix(halfway.folder))


def stages(status):
    return {stage.name: stage for stage in status.stages}


def sums_close(status):
    return all(
        stage.total == stage.done + stage.failed + stage.under_way + stage.left and stage.left >= 0
        for stage in status.stages
        if stage.total is not None
    )


def test_counts_come_from_the_manifests_and_close(look):
    status = look()
    found = stages(status)
    assert sums_close(status)
    explore, label = found["explore"], found["label"]
    assert (explore.total, explore.done, explore.failed, explore.left) == (9, 4, 2, 3)
    assert explore.reasons == {"exploded_volume": 2, "not_finite": 2}  # equilibrium crystals too
    assert (explore.batches, explore.batches_done) == (3, 2)
    assert (found["encode"].total, found["encode"].done) == (None, 20)
    assert (label.total, label.done, label.failed, label.left) == (12, 3, 3, 6)
    assert label.reasons == {"timeout": 1, "not_converged": 1, "quarantined": 1}
    assert found["structures"].reasons == {"duplicate": 2}
    assert (found["atoms"].done, found["atoms"].reasons) == (3, {"crashed": 1})
    assert (found["dataset"].total, found["dataset"].done) == (9, 0)  # table, card, seven exports
    assert not status.finished


def test_every_export_is_a_step_of_the_dataset(halfway):
    raw = yaml.safe_load((halfway.folder / "config.yaml").read_text())
    raw["dataset"]["exports"]["formats"] = ["extxyz", "mace"]
    (halfway.folder / "config.yaml").write_text(yaml.safe_dump(raw))
    done = halfway.results / "exports" / "mace" / "export.json"
    done.parent.mkdir(parents=True)
    done.write_text("{}")
    campaign = read_campaign(halfway.folder / "config.yaml", extensions=False)
    found = stages(read_status(halfway.folder, campaign, job_prefix(halfway.folder)))["dataset"]
    assert (found.total, found.done, found.left) == (4, 1, 3)


def test_what_a_round_and_a_benchmark_have_to_do_is_counted(halfway):
    raw = yaml.safe_load((halfway.folder / "config.yaml").read_text())
    raw["benchmark"] = {
        "properties": [{"kind": "relaxation", "structures": 2}, {"kind": "speed"}],
        "jobs_per_property": 3,
        "potentials": [{"name": "my-own", "potential": {"kind": "chgnet"}}],
    }
    kin = [{"kind": "chgnet"}, {"kind": "chgnet", "version": "0.2.0"}]
    raw["round"] = {"number": 2, "previous": "../first", "committee": kin}
    raw["structures"]["sources"] = [{"kind": "previous_round", "previous": "../first"}]
    (halfway.folder / "config.yaml").write_text(yaml.safe_dump(raw))
    campaign = read_campaign(halfway.folder / "config.yaml", extensions=False)
    assert len(benchmarked_potentials(campaign)) == 2

    def found():
        status = read_status(halfway.folder, campaign, job_prefix(halfway.folder))
        assert sums_close(status)
        return [(s.name, s.total, s.done) for s in status.stages if s.name in {"benchmark", "round"}]

    # two shares of relaxation and one of speed for each potential; calibration, a group's disagreement,
    # advice
    shares = sum(campaign.benchmark.jobs(options) for options in campaign.benchmark.chosen().values())
    assert found() == [("benchmark", 2 * shares, 0), ("round", 3, 0)]
    for name in (
        "benchmark/scores/my-own/relaxation/00001.parquet",
        "select/disagreement/00000.parquet",
        "select/calibration.parquet",
    ):
        (halfway.results / name).parent.mkdir(parents=True, exist_ok=True)
        (halfway.results / name).touch()
    assert found() == [("benchmark", 2 * shares, 1), ("round", 3, 2)]


def test_tables_are_not_opened(look, halfway):
    before = look().as_json()["stages"]
    for path in halfway.results.rglob("*.parquet"):
        path.write_bytes(b"not a table")
    assert look().as_json()["stages"] == before


def test_files_of_an_earlier_run_with_other_batches_do_not_count(look, halfway):
    before = look().as_json()["stages"]
    halfway.explore("00003")
    halfway.put("labels/00002", "labels", 4, labelled_pbe=4)
    assert look().as_json()["stages"] == before


def test_a_table_without_its_manifest_is_not_finished(look, halfway):
    (halfway.results / "snapshots" / "00001.parquet.manifest.json").unlink()
    assert stages(look())["explore"].batches_done == 1


def test_a_damaged_entry_is_no_error_of_those_who_only_look(look, halfway):
    before = look()
    for path in sorted(halfway.results.rglob("*.manifest.json")):
        good = path.read_bytes()
        for word in filter(good.__contains__, (b'"counts"', b'"rows"', b'"wanted"', b"{")):
            path.write_bytes(good.replace(word, word.replace(word[1:2], b"#"), 1))
            assert [stage.name for stage in look().stages] == [stage.name for stage in before.stages]
        path.write_bytes(good)
    assert look().as_json()["stages"] == before.as_json()["stages"]


RUNS = """
import sys, time
from pesatlas.runtime.progress import Progress, progress_file
with progress_file("label_batch", "00001"):
    progress = Progress("labels", 6)
    from pesatlas.runtime import progress as module
    module.INTERVAL_S = 0.0
    time.sleep(0.2)
    progress.step(2, failed=1)
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def running(halfway):
    """A process that works on the second label batch."""
    process = subprocess.Popen([sys.executable, "-c", RUNS], cwd=halfway.folder, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    yield process
    process.kill()
    process.communicate()


def test_what_running_jobs_have_done_counts_and_gives_the_time_left(look, running):
    status = look()
    label, pace = stages(status)["label"], status.paces["label"]
    assert sums_close(status)
    assert (label.done, label.failed, label.under_way, label.left) == (4, 4, 4, 0)
    assert pace.running == 1
    # two of six in 0.2 s and a bit: four more take twice as long
    assert 0.3 < pace.left_s < 5
    assert pace.per_s == pytest.approx(4 / pace.left_s, rel=0.01)


def test_a_job_that_was_killed_is_told_from_one_that_runs(look, running):
    (job,) = look().jobs
    assert (job.fate, job.log) == ("running", "logs/label_batch/00001.log")
    running.kill()
    running.wait()
    status = look()
    assert [job.fate for job in status.lost] == ["killed"]
    assert stages(status)["label"].under_way == 0


def test_a_zombie_is_not_alive(running):
    assert is_alive(running.pid, HOST, running_since := 4e9)
    running.kill()
    os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOWAIT)
    assert is_alive(running.pid, HOST, running_since) is False


def test_another_process_with_the_same_number_is_not_the_same(running):
    assert is_alive(running.pid, HOST, 4e9) is True
    assert is_alive(running.pid, HOST, 1e9) is False
    assert is_alive(running.pid, "elsewhere", 4e9) is None


CONTROLLER = """
import sys, time
from pathlib import Path
from pesatlas.cli.lock import campaign_lock
with campaign_lock(Path(".")):
    print("ready", flush=True)
    time.sleep(60)
"""


def test_processes_without_a_head_are_orphans_and_with_one_are_not(look, running, halfway):
    controller = subprocess.Popen(
        [sys.executable, "-c", CONTROLLER], cwd=halfway.folder, stdout=subprocess.PIPE
    )
    assert controller.stdout.readline() == b"ready\n"
    status = look()
    assert (status.controller.pid, status.controller.alive, status.orphans) == (
        controller.pid,
        True,
        ([], []),
    )
    controller.kill()
    controller.communicate()
    status = look()
    assert status.controller.alive is False
    assert [job.state.pid for job in status.orphans[1]] == [running.pid]
    console = Console(width=100, file=io.StringIO())
    console.print(screen(status, console))
    text = console.file.getvalue()
    assert f"process {controller.pid}) was killed" in text
    assert f"`kill {running.pid}` ends them" in " ".join(text.split())


def test_the_head_leaves_no_trace_when_it_ends_and_a_second_one_is_refused(tmp_path):
    with campaign_lock(tmp_path):
        assert read_controller(tmp_path).pid == os.getpid()
        with pytest.raises(UserError, match="another `pesatlas run`"), campaign_lock(tmp_path):
            pass
        assert read_controller(tmp_path).alive  # the second one did not overwrite what the first said
    assert read_controller(tmp_path) is None


LOOKS = """
from pathlib import Path
from pesatlas.cli.slurm_jobs import job_prefix
from pesatlas.campaign.load import read_campaign
from pesatlas.monitor.status import read_status
folder = Path(".")
campaign = read_campaign(folder / "config.yaml", extensions=False)
while True:
    read_status(folder, campaign, job_prefix(folder))
    print("looked", flush=True)
"""


def test_looking_never_disturbs_a_head_that_starts(halfway):
    lock_file = halfway.folder / LOCK_FILE
    lock_file.touch()
    before = {path: path.stat().st_mtime_ns for path in halfway.folder.rglob("*")}
    looker = subprocess.Popen([sys.executable, "-c", LOOKS], cwd=halfway.folder, stdout=subprocess.PIPE)
    try:
        for _ in range(20):
            assert looker.stdout.readline() == b"looked\n"
            for _ in range(100):
                with lock_file.open("a") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        looker.kill()
        looker.communicate()
    assert before == {path: path.stat().st_mtime_ns for path in halfway.folder.rglob("*")}


def test_jobs_of_the_campaign_are_found_in_what_squeue_prints():
    queue = parse(
        [
            "41|RUNNING|gpu|1-02:03:04|None|n1|pesatlas-0123abcd_6f3c|rule_run_md_wildcards_00012",
            "42|PENDING|cpu|0:00|Resources||pesatlas-0123abcd_6f3c|rule_fit_pca",
            "43|RUNNING|cpu|5:00|None|n1|other|(null)",
            "44|RUNNING|cpu|INVALID|None|n1|a|b|c",
            "slurm_load_jobs error",
        ],
        "pesatlas-0123abcd",
    )
    assert [(job.job, job.rule, job.batch, job.elapsed_s) for job in queue.jobs] == [
        ("41", "run_md", "00012", 93784),
        ("42", "fit_pca", "", 0),
    ]
    assert queue.alive == {"41", "42", "43", "44"}


def test_campaigns_have_prefixes_of_their_own(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    assert job_prefix(tmp_path / "a") == job_prefix(tmp_path / "link") != job_prefix(tmp_path)


def status_command(*arguments, cwd):
    command = [sys.executable, "-m", "pesatlas.cli.main", "status", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_the_command_prints_a_screen_or_json(halfway, tmp_path):
    done = status_command(str(halfway.folder), cwd=tmp_path)
    assert done.returncode == 0
    assert "label: 1 not_converged, 1 quarantined, 1 timeout" in " ".join(done.stdout.split())
    raw = json.loads(status_command("--json", cwd=halfway.folder).stdout)
    assert next(stage for stage in raw["stages"] if stage["name"] == "label")["left"] == 6
    assert (raw["controller"], raw["head"], raw["finished"]) == (None, None, False)


def test_where_there_is_no_campaign_it_says_so(tmp_path):
    done = status_command(cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no config.yaml. Run the command in the folder of the campaign" in done.stderr


def test_half_a_million_labels_in_ten_thousand_jobs_are_counted(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "status.py"], capture_output=True, text=True, check=True
    )
    assert "10000 jobs, 9000 of them done" in done.stdout
    assert "889000 labels done, 36000 failed, 25000 running, 50000 left" in done.stdout
    # how long it takes is measured by the benchmark, on a machine that does nothing else
    assert "status: " in done.stdout
