"""A plain installation names the extra that is missing: in a command, in a job, before a campaign begins."""

import logging
import shutil
import sys

import pytest
from typer.testing import CliRunner

from pesatlas.cli.error_messages import message_for_people
from pesatlas.cli.main import app
from pesatlas.errors import UserError
from pesatlas.runtime.extras import EXTRA_OF, check_extra
from pesatlas.runtime.job_process import run_job
from small_campaign import ROOT


def absent(monkeypatch, name):
    """Let a module not be installed, and what imports it not be imported yet."""
    for module in [
        m for m in sys.modules if m.startswith((f"{name}.", "pesatlas.report.", "pesatlas.train."))
    ]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize(("module", "extra"), EXTRA_OF.items())
def test_an_import_that_fails_is_told_with_what_to_type(monkeypatch, module, extra):
    absent(monkeypatch, module)
    with pytest.raises(ModuleNotFoundError) as found:
        __import__(f"{module}.part")
    assert message_for_people(found.value).endswith(f'pip install "pesatlas[{extra}]".')


def test_an_import_that_is_a_mistake_of_ours_is_no_missing_extra():
    with pytest.raises(ModuleNotFoundError) as found:
        import pesatlas.no_such_module  # noqa: F401
    assert message_for_people(found.value) is None
    assert message_for_people(ModuleNotFoundError("No module named altair")) is None
    assert message_for_people(ModuleNotFoundError("No module", name="altairs")) is None


@pytest.fixture
def quiet_root():
    """Loggers as they were: a job sets them for its process."""
    levels = {name: logging.getLogger(name).level for name in ("", "pesatlas")}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.usefixtures("quiet_root")
@pytest.mark.parametrize(
    ("module", "job", "extra"),
    [("altair", "pesatlas.report.build", "report"), ("lightning", "pesatlas.train.loop", "train")],
)
def test_a_job_ends_with_the_message_and_no_traceback(tmp_path, monkeypatch, module, job, extra):
    absent(monkeypatch, module)
    monkeypatch.setattr("pesatlas.runtime.job_process.signal.signal", lambda *_: None)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with pytest.raises(SystemExit) as ended, run_job("a_job", tmp_path / "a_job.log", 1):
        __import__(job)
    assert ended.value.code == 1
    told = (tmp_path / "a_job.log").read_text()
    assert (
        f'{module}: not installed. It comes with an extra of pesatlas: pip install "pesatlas[{extra}]".'
        in told
    )
    assert "Traceback" not in told


def test_a_campaign_that_could_draw_no_report_does_not_begin(tmp_path, monkeypatch):
    shutil.copyfile(ROOT / "config" / "demo.yaml", tmp_path / "config.yaml")
    monkeypatch.chdir(tmp_path)
    check_extra("report")
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(UserError, match=r"^vl_convert: not installed"):
        check_extra("report")
    done = CliRunner().invoke(app, ["run", "-n", "--profile", str(ROOT / "profiles" / "local")])
    assert done.exit_code == 1
    assert 'pip install "pesatlas[report]"' in done.stderr
    assert "Traceback" not in done.stderr
    doctor = CliRunner().invoke(app, ["doctor"])
    assert "not so: the libraries of the report are installed" in doctor.stdout
    assert 'pip install "pesatlas[report]"' in doctor.stdout
