"""The command line: help that teaches, messages without tracebacks, exit status."""

import subprocess
import sys

import pytest


def pesatlas(*arguments, cwd=None):
    done = subprocess.run(
        [sys.executable, "-m", "pesatlas.cli.main", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("run",),
        ("status",),
        ("doctor",),
        ("plan",),
        ("retry",),
        ("outputs",),
        ("summary",),
        ("verify",),
        ("describe",),
        ("config",),
        ("config", "new"),
        ("config", "check"),
    ],
)
def test_every_command_explains_itself(command):
    status, output, _ = pesatlas(*command, "--help")
    assert status == 0
    assert "Usage" in output
    assert len(output) > 200


def test_version_is_told():
    from pesatlas import __version__

    assert pesatlas("--version")[1].strip() == f"pesatlas {__version__}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("summary", "nowhere"), "has not finished"),
        (("verify", "nowhere"), "no finished campaign"),
        (("describe", "nowhere.parquet"), "no such file"),
        (("config", "check", "nowhere.yaml"), "no such file"),
        (("config", "new", "--preset", "nothing"), "Choose one of: demo, matpes"),
        (("run", "--profile", "nowhere"), "no such folder"),
    ],
)
def test_what_is_missing_is_a_message_and_status_1(tmp_path, arguments, message):
    status, output, error = pesatlas(*arguments, cwd=tmp_path)
    assert status == 1
    assert message in error
    assert "Traceback" not in output + error
    assert list(tmp_path.iterdir()) == []


def test_a_new_configuration_is_valid(tmp_path):
    (tmp_path / "config.yaml").write_text(pesatlas("config", "new")[1])
    status, output, _ = pesatlas("config", "check", cwd=tmp_path)
    assert status == 0
    assert "valid campaign 'demo'" in output


def test_parsing_a_configuration_imports_nothing_heavy():
    program = "import sys; from pesatlas.config.presets import preset; preset('demo'); print(sorted({'torch', 'ase', 'pymatgen', 'gpaw', 'sklearn', 'pandas', 'numba', 'scipy'} & set(sys.modules)))"
    assert (
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
