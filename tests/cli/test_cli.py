"""The command line as a program: version, messages without tracebacks, exit status.

What goes wrong is in test_wrong.py.
"""

import subprocess
import sys


def pesatlas(*arguments, cwd=None):
    done = subprocess.run(
        [sys.executable, "-m", "pesatlas.cli.main", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_version_is_told():
    from pesatlas import __version__

    assert pesatlas("--version")[1].strip() == f"pesatlas {__version__}"


def test_what_is_missing_is_a_message_and_status_1(tmp_path):
    status, output, error = pesatlas("verify", "nowhere", cwd=tmp_path)
    assert (status, output) == (1, "")
    assert error.startswith("pesatlas: no finished campaign: there is no folder nowhere")
    assert len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_new_configuration_is_valid(tmp_path):
    (tmp_path / "config.yaml").write_text(pesatlas("config", "new")[1])
    status, output, _ = pesatlas("config", "check", cwd=tmp_path)
    assert status == 0
    assert "valid campaign 'demo'" in output


def test_checking_names_hydrogen_where_the_time_step_is_too_long_for_it(tmp_path):
    text = pesatlas("config", "new", "--all")[1]
    assert "timestep_fs: auto" in text
    assert "hydrogen" not in _checked(tmp_path, text.replace("timestep_fs: auto", "timestep_fs: 2.0"))
    text = text.replace("[NaCl, Si,", "[LaH10, Si,")
    assert "hydrogen" not in _checked(tmp_path, text)
    said = _checked(tmp_path, text.replace("timestep_fs: auto", "timestep_fs: 2.0"))
    assert "there is hydrogen, and explore.timestep_fs is 2 fs" in said
    assert "valid campaign" in said


def _checked(folder, text):
    (folder / "config.yaml").write_text(text)
    status, output, _ = pesatlas("config", "check", cwd=folder)
    assert status == 0
    return " ".join(output.split())


def test_parsing_a_configuration_imports_nothing_heavy():
    program = (
        "import sys; from pesatlas.config.presets import preset; preset('demo'); print(sorted({'torch', "
        "'ase', 'pymatgen', 'gpaw', 'sklearn', 'pandas', 'numba', 'scipy'} & set(sys.modules)))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
