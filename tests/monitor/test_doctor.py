"""The doctor: well is said to be well, and each thing that is wrong is found with its remedy."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from pesatlas.config.presets import preset
from pesatlas.monitor import disk
from pesatlas.monitor.disk import check_folder, check_locks
from pesatlas.monitor.doctor import doctor
from small_potentials import save_tensornet

LOCAL = Path(__file__).parents[2] / "profiles" / "local"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A campaign with built-in crystals and weights, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    raw = preset("demo")[0].model_dump(mode="json")
    raw["structures"]["sources"] = [{"kind": "demo", "names": ["Si", "MgO"]}]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(raw))
    return tmp_path


def change(folder, section, **values):
    raw = yaml.safe_load((folder / "config.yaml").read_text())
    raw[section] = (raw[section] or {}) | values
    (folder / "config.yaml").write_text(yaml.safe_dump(raw))


def look(folder):
    """What is well, and what is wrong, with its remedy."""
    checks = list(doctor(Path("config.yaml"), LOCAL, LOCAL.parents[1] / "Snakefile"))
    return [c.text for c in checks if c.ok], {c.text: c.remedy for c in checks if not c.ok}


def test_a_campaign_that_can_run_is_well(folder):
    before = set(folder.rglob("*"))
    well, wrong = look(folder)
    assert wrong == {}
    said = "\n".join(well)
    for part in (
        "valid configuration of campaign 'demo'",
        "3 elements in the sources of structures: O Mg Si",
        "the potential (chgnet) loads, and reproduces known crystals",
        "the encoder (chgnet) loads",
        "reference levels pbe, r2scan (gpaw)",
        "the backend gpaw knows all of them",
        "locks in the store store work",
    ):
        assert part in said
    assert set(folder.rglob("*")) == before


def test_a_slurm_that_does_not_answer_is_told_for_every_job_waits_for_it(folder, monkeypatch):
    programs = folder / "bin"
    programs.mkdir()
    scontrol = programs / "scontrol"
    scontrol.write_text("#!/bin/sh\nsleep 2.5\nexit 1\n")
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    assert any("every job of Snakemake waits" in text for text in look(folder)[0])
    scontrol.write_text("#!/bin/sh\nexit 1\n")
    assert not any("every job of Snakemake waits" in text for text in look(folder)[0])


def test_hydrogen_and_a_long_time_step_are_named(folder):
    change(folder, "structures", sources=[{"kind": "demo", "names": ["H3S", "Si"]}])
    assert not any("there is hydrogen" in text for text in look(folder)[0])
    change(folder, "explore", timestep_fs=2.0)
    well, _ = look(folder)
    (said,) = [text for text in well if "there is hydrogen" in text]
    assert "explore.timestep_fs is 2 fs" in said
    assert "auto" in said
    change(folder, "explore", timestep_fs=0.5)
    assert not any("there is hydrogen" in text for text in look(folder)[0])


def test_elements_come_from_the_cells_once_there_are_any(halfway, monkeypatch):
    monkeypatch.chdir(halfway.folder)
    well, _ = look(halfway.folder)
    assert any("0 elements in results/structures.parquet" in text for text in well)


def test_a_wrong_configuration_is_all_that_is_said(folder):
    change(folder, "label", structures_per_jb=3)
    well, wrong = look(folder)
    assert well == []
    assert "Did you mean 'structures_per_job'?" in next(iter(wrong))


def test_everything_that_is_wrong_is_found_at_once(folder):
    change(folder, "explore", potential={"kind": "matgl", "path": "nowhere"}, device="cuda")
    change(folder, "label", scratch="/proc/scratch")
    store = folder / "store"
    store.mkdir()
    store.chmod(0o777)
    _, wrong = look(folder)
    remedies = {text.split(":")[0].split(" (")[0]: remedy for text, remedy in wrong.items()}
    assert "nowhere" in remedies["not so"]
    assert any("the potential (matgl) loads" in text for text in wrong)
    assert remedies["store store can be written by everybody"] == "chmod o-w store"
    assert any(text.startswith("scratch /proc/scratch") for text in wrong)


def test_the_encoder_that_ends_trajectories_is_loaded_and_asked(folder, monkeypatch):
    def stop(encoder):
        change(folder, "explore", stop={"kind": "saturated", "encoder": encoder, "min_length_ps": 0.2})
        return look(folder)

    judge = "the encoder of explore.stop (chgnet) loads, and knows what the potential knows of these"
    well, wrong = stop({"kind": "chgnet"})
    assert judge in well
    assert wrong == {}
    _, wrong = stop({"kind": "m3gnet_eform", "path": "nowhere"})
    assert any("nowhere" in remedy for text, remedy in wrong.items() if "explore.stop (m3gnet" in text)
    small = SimpleNamespace(name="small/1", elements=frozenset({8, 14}))
    monkeypatch.setattr("pesatlas.encode.encoders.chgnet.load", lambda *_: small)
    _, wrong = stop({"kind": "chgnet"})
    assert "small/1 does not know Mg" in wrong[f"not so: {judge}"]


def test_a_base_that_could_not_be_trained_on_these_crystals_is_told_before_they_are_labelled(
    folder, tmp_path
):
    base = save_tensornet(tmp_path / "base")
    change(folder, "train", base={"kind": "matgl", "path": str(base)})
    change(folder, "structures", sources=[{"kind": "demo", "names": ["NaCl", "Si"]}])
    asked = "the weights to start training from load, and know all elements"
    _, wrong = look(folder)
    assert "does not know Si: training" in wrong[f"not so: {asked}"]
    change(folder, "structures", sources=[{"kind": "demo", "names": ["NaCl"]}])
    assert asked in look(folder)[0]


@pytest.mark.parametrize("unknown", [False, True])
def test_potcars_that_are_not_set_up_are_told_once(folder, monkeypatch, unknown):
    monkeypatch.delenv("PMG_VASP_PSP_DIR", raising=False)
    change(
        folder,
        "label",
        backend={
            "kind": "vasp",
            "command": "true",
            "vasp_version": "6.4.3",
            "allow_unknown_potcars": unknown,
        },
    )
    _, wrong = look(folder)
    (remedy,) = wrong.values()
    assert "PMG_VASP_PSP_DIR is not set" in remedy


def test_a_command_that_is_not_there_is_told_once_and_hides_nothing(folder, monkeypatch):
    monkeypatch.delenv("PMG_VASP_PSP_DIR", raising=False)
    change(folder, "label", backend={"kind": "vasp", "command": "./no_vasp", "vasp_version": "6.4.3"})
    _, wrong = look(folder)
    assert ["no_vasp" in remedy for remedy in wrong.values()] == [True, False]
    assert "PMG_VASP_PSP_DIR is not set" in list(wrong.values())[1]


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "_ROOM_BYTES", 1e30)
    (check,) = check_folder("store", tmp_path / "store", private=True)
    assert (check.ok, "pesatlas plan" in check.remedy) == (False, True)
    monkeypatch.undo()
    monkeypatch.setattr(disk, "_ROOM_FILES", 1 << 62)
    (check,) = check_folder("store", tmp_path / "store", private=True)
    assert "files free" in check.text


def test_locks_that_do_not_hold_are_found(tmp_path, monkeypatch):
    assert check_locks("store", tmp_path / "store" / "not there yet").ok
    assert list(tmp_path.iterdir()) == []
    # a file system that grants every lock, as one that keeps locks on each node by itself
    monkeypatch.setattr(disk, "_HOLD", disk._HOLD.replace("fcntl.flock(handle, fcntl.LOCK_EX)", ""))
    check = check_locks("store", tmp_path)
    assert "a second process was granted a lock" in check.text
    # one that knows no locks at all
    monkeypatch.setattr(disk, "_HOLD", "raise OSError(37, 'No locks available')")
    check = check_locks("store", tmp_path)
    assert "No locks available" in check.text
    assert "flock" in check.remedy
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("device", "status"), [("cpu", 0), ("cuda", 1)])
def test_the_command_ends_with_1_if_anything_is_wrong(folder, device, status):
    import torch

    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    change(folder, "explore", device=device)
    command = [
        sys.executable,
        "-m",
        "pesatlas.cli.main",
        "doctor",
    ]  # with a profile of the checkout: the folder has none
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout
    assert done.stdout.splitlines()[-1] == ("1 wrong." if status else "All requirements are met.")
    assert "Traceback" not in done.stderr
