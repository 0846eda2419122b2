"""Named weights: kept once fetched, never replaced in silence, and without a network the message says what to do."""

import os
import shutil
import subprocess
import sys

import pytest

from pesatlas.errors import UserError
from pesatlas.potentials.kinds import chgnet, matgl
from pesatlas.potentials.registry import fetch_potential
from pesatlas.potentials.weights import directory_sha256


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
