"""Work folders of calculations: parallel, removed with the job, outputs archived, no process left."""

import io
import json
import os
import signal
import stat
import subprocess
import sys
import tarfile
import time
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest

from pesatlas.label.archive import pack, unpack
from pesatlas.label.scratch import scratch_folder
from pesatlas.storage.store import Store
from pesatlas.tables import read_table

# A label job under the guard of `pesatlas.campaign.job`, with a backend that runs a program: `sleep`, then a
# result, or a crash if it is ended.
JOB = """
import sys, time, types
from pathlib import Path
import numpy as np
from pesatlas.config import plugins
from pesatlas.runtime import supervise
from pesatlas.config.campaign import Campaign
from pesatlas.campaign.job import job
from pesatlas.label.batch import label_batch
from pesatlas.label.backend import Failed, Result
from pesatlas.tables import FailureReason

config, selection, out, seconds = sys.argv[1:]

def calculate(task, options, place):
    begin = time.time()
    (place.handover / task.level.name).touch()
    (place.keep / "in.txt").write_text(task.level.name + " after " + ",".join(sorted(p.name for p in place.handover.iterdir())))
    status = supervise.start(["sleep", seconds], place.scratch, place.keep / "out.txt", place.timeout_s, cpus=place.cpus).wait()
    if status:
        return Failed(FailureReason.CRASHED, str(status))
    settings = {"begin": begin, "end": time.time(), "status": status, "cpus": list(place.cpus)}
    return Result(0.0, 0.0, np.zeros((len(task.numbers), 3)).tolist(), [0.0] * 6, None, 1.0, 5, True, [], {}, settings, 0.1)

find = plugins.find
plugins.find = lambda package, name: types.SimpleNamespace(calculate=calculate) if "backends" in package else find(package, name)
campaign = Campaign.model_validate_json(Path(config).read_text())
about = types.SimpleNamespace(threads=1, rule="label_batch", wildcards={"batch": "00000"}, input=[], log=[out + "/logs/label_batch/00000.log"], config=campaign.model_dump(mode="json"))
with job(about) as same:
    paths = {"selection": Path(selection), "labels": Path(out) / "labels.parquet", "failures": Path(out) / "failures.parquet", "work": Path(out) / "work"}
    label_batch(campaign.label, campaign.campaign, 0, **paths)
"""


@pytest.fixture
def start(campaign, tmp_path):
    """Return a function that starts a label job."""

    def started(selection, seconds, **label):
        raw = campaign.model_dump(mode="json")
        raw["label"] |= {"scratch": str(tmp_path / "node"), **label}
        (tmp_path / "campaign.json").write_text(type(campaign).model_validate(raw).model_dump_json())
        (tmp_path / "out").mkdir(exist_ok=True)
        arguments = [tmp_path / "campaign.json", selection, tmp_path / "out", seconds]
        return subprocess.Popen([sys.executable, "-c", JOB, *map(str, arguments)], cwd=tmp_path)

    return started


def labels(tmp_path):
    return read_table(tmp_path / "out" / "labels.parquet", "labels").to_pylist()


def left_running(tmp_path):
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found += [process] if (process / "cwd").readlink().is_relative_to(tmp_path) else []
        except OSError:
            continue
    return found


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_snapshots_run_side_by_side_and_their_levels_one_after_the_other(start, select, tmp_path):
    assert start(select(3.0, 3.5), 1, parallel=2, cores=1).wait(90) == 0
    rows = labels(tmp_path)
    assert [(r["snapshot_id"][-4:], r["level"]) for r in rows] == [
        ("3000", "pbe"),
        ("3000", "r2scan"),
        ("3500", "pbe"),
        ("3500", "r2scan"),
    ]
    first, second = ([json.loads(r["settings"]) for r in rows[k : k + 2]] for k in (0, 2))
    assert max(first[0]["begin"], second[0]["begin"]) < min(first[0]["end"], second[0]["end"])
    for one in (first, second):
        assert one[1]["begin"] >= one[0]["end"]
        assert one[0]["cpus"] == one[1]["cpus"]
    if len(os.sched_getaffinity(0)) >= 2:
        assert not set(first[0]["cpus"]) & set(second[0]["cpus"])


def test_outputs_are_archived_under_the_labels_key(start, select, tmp_path):
    assert start(select(3.0), 0).wait(90) == 0
    store = Store(tmp_path / "store" / "outputs")
    store.refresh()
    for row, text in zip(labels(tmp_path), ("pbe after pbe", "r2scan after pbe,r2scan"), strict=True):
        files = unpack(store.get(row["label_key"]), tmp_path / row["level"])
        assert [path.name for path in files] == ["in.txt", "out.txt"]
        assert files[0].read_text() == text


def test_an_archive_is_one_that_tar_understands(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "OUTCAR").write_text("energy\n" * 1000)
    payload = pack(tmp_path / "in")
    assert payload == pack(tmp_path / "in")
    assert len(payload) < 500
    if subprocess.run(["which", "zstd"], capture_output=True, check=False).returncode:
        pytest.skip("needs the program zstd")
    (tmp_path / "a.tar.zst").write_bytes(payload)
    subprocess.run(["tar", "--zstd", "-xf", "a.tar.zst"], cwd=tmp_path, check=True)
    assert (tmp_path / "OUTCAR").read_text() == "energy\n" * 1000


@pytest.mark.parametrize(
    ("name", "kind"), [("../evil", tarfile.REGTYPE), ("/evil", tarfile.REGTYPE), ("evil", tarfile.SYMTYPE)]
)
def test_an_archive_leads_nowhere_else(tmp_path, name, kind):
    plain, packed = io.BytesIO(), pa.BufferOutputStream()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        about = tarfile.TarInfo(name)
        about.type, about.linkname = kind, "../in"
        tar.addfile(about)
    with pa.CompressedOutputStream(packed, "zstd") as stream:
        stream.write(plain.getvalue())
    with pytest.raises(ValueError, match="not a regular file"):
        unpack(packed.getvalue().to_pybytes(), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_job_that_is_told_to_stop_stops_its_programs_and_counts_no_attempt(
    start, select, tmp_path, number, status
):
    job = start(select(3.0, 3.5), 300, parallel=2)
    wait_for(lambda: len(left_running(tmp_path)) >= 5)  # the job, two supervisors, two programs
    job.send_signal(number)
    assert job.wait(30) == status
    wait_for(lambda: not left_running(tmp_path))
    if number == signal.SIGTERM:
        assert list((tmp_path / "node").iterdir()) == []
    assert start(select(3.0, 3.5), 0).wait(90) == 0
    assert len(labels(tmp_path)) == 4
    assert list((tmp_path / "node").iterdir()) == []  # what SIGKILL left is gone too


def test_a_program_that_is_ended_a_moment_before_its_job_counts_no_attempt(start, select, tmp_path):
    selection = select(3.0)
    job = start(selection, 300, attempts=1)
    wait_for(lambda: len(left_running(tmp_path)) >= 3)  # the job, a supervisor, a program
    for process in left_running(tmp_path):
        if int(process.name) != job.pid:
            with suppress(ProcessLookupError):
                os.kill(int(process.name), signal.SIGTERM)
    time.sleep(0.2)
    job.terminate()
    assert job.wait(30) == 143
    assert start(selection, 0, attempts=1).wait(90) == 0
    assert len(labels(tmp_path)) == 2


def test_scratch_is_private_and_another_jobs_folder_is_left_alone(tmp_path):
    with scratch_folder(tmp_path) as mine:
        assert stat.S_IMODE(mine.stat().st_mode) == 0o700
        with scratch_folder(tmp_path) as other:
            assert mine.exists()
            (mine / "WAVECAR").touch()
        assert not other.exists()
    assert list(tmp_path.iterdir()) == []
