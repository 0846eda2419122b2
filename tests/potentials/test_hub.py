"""Named weights: kept once fetched, never replaced in silence, and without a network the message says what
to do."""

import os
import shutil
import subprocess
import sys

import pytest

from pesatlas.errors import UserError
from pesatlas.potentials.kinds import chgnet, matgl
from pesatlas.potentials.loading import fetch_potential
from pesatlas.potentials.weights import MODEL_FILES, directory_sha256


@pytest.fixture
def filled(folders, tmp_path):
    shutil.copytree(folders["tensornet"], tmp_path / "somebody--small")
    return tmp_path


def test_weights_put_there_by_hand_are_taken_and_load(filled):
    options = matgl.Options(name="somebody/small", cache=filled)
    fetch_potential(options)
    folder = options.folder()
    assert folder == filled / "somebody--small"
    assert (filled / "somebody--small.sha256").read_text().strip() == directory_sha256(folder)
    fetch_potential(options)
    assert matgl.load(options, "cpu").name == "matgl/somebody/small"


def test_weights_are_fetched_once_and_kept_with_their_checksum(folders, tmp_path, monkeypatch):
    asked = []

    def hub(repo_id, filename, local_dir):
        """Do what the hub's client does: put the file there, and its own notes beside it."""
        asked.append((repo_id, filename))
        (local_dir / ".cache").mkdir(parents=True, exist_ok=True)
        return shutil.copy(folders["tensornet"] / filename, local_dir / filename)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", hub)
    options = matgl.Options(name="small", cache=tmp_path / "cache")
    fetch_potential(options)
    assert asked == [("materialyze/small", file) for file in MODEL_FILES]
    assert {path.name for path in options.folder().iterdir()} == set(MODEL_FILES)
    noted = (tmp_path / "cache" / "small.sha256").read_text().strip()
    assert noted == directory_sha256(folders["tensornet"]) == directory_sha256(options.folder())
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"small", "small.sha256"}
    assert matgl.load(options, "cpu").weights_hash == noted
    fetch_potential(options)
    assert len(asked) == len(MODEL_FILES)


def test_a_download_that_breaks_off_leaves_no_weights(folders, tmp_path, monkeypatch):
    def hub(repo_id, filename, local_dir):
        if filename == MODEL_FILES[-1]:
            raise ConnectionError("connection lost")
        local_dir.mkdir(parents=True, exist_ok=True)
        return shutil.copy(folders["tensornet"] / filename, local_dir / filename)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", hub)
    options = matgl.Options(name="small", cache=tmp_path)
    with pytest.raises(UserError, match="ConnectionError: connection lost"):
        fetch_potential(options)
    assert not options.folder().exists()
    assert not (tmp_path / "small.sha256").exists()


def test_weights_that_changed_since_are_refused(filled):
    options = matgl.Options(name="somebody/small", cache=filled)
    fetch_potential(options)
    with (options.folder() / "model.json").open("a") as handle:
        handle.write("\n")
    with pytest.raises(UserError, match="changed since they were fetched"):
        fetch_potential(options)


def test_nothing_to_fetch(folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for options in (chgnet.Options(), matgl.Options(path=folders["tensornet"])):
        fetch_potential(options)
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_the_message_says_which_files_go_where(tmp_path):
    code = (
        "import sys; from pathlib import Path; from pesatlas.potentials.kinds.matgl import Options, fetch; "
        " from pesatlas.errors import UserError\n"
        "try: fetch(Options(name='M3GNet-PES-MatPES-PBE-2025.2', cache=Path(sys.argv[1])))\n"
        "except UserError as error: print(error)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    for part in (
        "model.json, model.pt, state.pt",
        "materialyze/M3GNet-PES-MatPES-PBE-2025.2",
        f"{tmp_path}/M3GNet-PES-MatPES-PBE-2025.2/",
    ):
        assert part in said
    assert not (tmp_path / "M3GNet-PES-MatPES-PBE-2025.2").exists()
