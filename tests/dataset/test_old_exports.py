"""Exports that are no longer asked for go, and nothing else with them."""

import json

from pesatlas.dataset.export import export_dataset, remove_export


def test_an_export_goes_and_what_a_person_put_or_changed_there_stays(finished):
    folder = finished / "exports" / "extxyz"
    files = export_dataset(finished, "extxyz", folder, verdicts=["accepted"])
    assert len(files) > 2
    (folder / "mine").mkdir()
    (folder / "mine/notes.txt").write_text("a person's")
    (folder / "README.md").write_text("written anew")
    left = remove_export(folder)
    assert left == sorted([folder / "README.md", folder / "mine/notes.txt"])
    assert sorted(path for path in folder.rglob("*") if path.is_file()) == left


def test_an_export_that_is_as_it_was_written_leaves_no_folder(finished):
    folder = finished / "exports" / "matpes"
    export_dataset(finished, "matpes", folder, verdicts=["accepted"])
    assert json.loads((folder / "export.json").read_text())["identifier"].startswith("pesatlas-dataset-")
    assert remove_export(folder) == []
    assert not folder.exists()
