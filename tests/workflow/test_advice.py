"""Each advice of a message tried word by word: damage, the message, what it advises, and the campaign is
whole."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from pesatlas.dataset.verify import verify as problems_of
from pesatlas.tables.manifest import entry_path, sha256_of
from small_campaign import copy_of


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """A finished campaign, which every case damages and mends."""
    folder = copy_of(tiny, tmp_path_factory.mktemp("advice") / "campaign")
    folder.before = {level: tiny.dataset(level) for level in ("pbe", "r2scan")}
    return folder


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def without_entry(path):
    entry_path(path).unlink()


def no_parquet(path):
    path.write_bytes(b"PAR1 but nothing else")
    change_entry(path)


def broken_entry(path):
    entry_path(path).write_text('{"rows": ')


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def change_entry(path, **values):
    """Let the entry tell something else; what was written is as it tells, so that nothing but this is
    wrong."""
    entry = json.loads(entry_path(path).read_text())
    entry |= {"bytes": path.stat().st_size, "sha256": sha256_of(path), **values}
    entry_path(path).write_text(json.dumps(entry))


def more_rows(path):
    change_entry(path, rows=json.loads(entry_path(path).read_text())["rows"] + 1)


def other_counts(path):
    counts = json.loads(entry_path(path).read_text())["counts"]
    change_entry(path, counts={name: count + 1 for name, count in counts.items()})


def one_value(path):
    path.write_text(path.read_text().replace('"label_batches": 2', '"label_batches": 1'))


def of_another_encoder(path):
    table = pq.read_table(path)
    metadata = {**table.schema.metadata, b"pesatlas.encoder_hash": b"another"}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    change_entry(path)


def change_array(path, name, change):
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    arrays[name] = change(arrays[name])
    with path.open("wb") as handle:
        np.savez(handle, allow_pickle=False, **arrays)


def of_other_points(path):
    def other(about):
        found = json.loads(str(about))
        return np.asarray(json.dumps({key: f"other{value}" for key, value in found.items()}))

    change_array(path, "about", other)


def of_fewer_clusters(path):
    """The centres of one more cluster of structures than there are."""
    with np.load(path, allow_pickle=False) as file:
        edges = next(name for name in file.files if name.endswith("edges"))
    change_array(path, edges, lambda values: values[:-1])


def run_of(target):
    """A run that makes one file anew, from what it is made of."""
    return lambda folder, expect: folder.run(
        f"results/{target}", f"--forcerun=results/{target}", expect=expect
    )


def verify(folder, expect):
    command = [sys.executable, "-m", "pesatlas.cli.main", "verify"]
    done = subprocess.run(command, cwd=folder.path, capture_output=True, text=True, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


GRID, CENTRES, CLUSTERS = (
    "select/grid/00000.structures.npz",
    "select/structures.npz",
    "select/clusters/00000.parquet",
)
CASES = {
    # what is damaged, how, who finds it, the advice: names in it are deleted, then the same is run again
    "a table that is none": ("selection.parquet", no_parquet, run_of("labels/00000.parquet"), r"(\S+) is not a readable Parquet file .*Delete it and run again"),
    "a table without an entry": ("snapshots/00000.parquet", without_entry, verify, r"(\S+) has no manifest entry .*Delete \S+ and run again"),
    "a damaged entry": ("snapshots/00000.parquet", broken_entry, run_of("features/00000.parquet"), r"(\S+) is damaged .*Delete it and (\S+), and run again"),
    "a table cut off": ("features/00000.parquet", cut, run_of(GRID), r"(\S+): \d+ bytes, its manifest says \d+: truncated or changed\. Delete it and run again"),
    "a table with a flipped bit": (CLUSTERS, flip, verify, r"(\S+): its content differs .*Delete it and run again"),
    "principal components": ("select/pca.npz", flip, run_of(GRID), r"(\S+) does not contain .*Delete it and run again"),
    "moments": ("features/00000.moments.npz", flip, run_of("select/pca.npz"), r"(\S+) does not contain .*Delete it and run again"),
    "a grid": (GRID, flip, run_of(CENTRES), r"(\S+) does not contain .*Delete it and run again"),
    "a grid of other points": (GRID, of_other_points, run_of(CENTRES), r"(\S+) was made with other principal components or clusters\. Delete it and run again"),
    "centres of other clusters": ("select/atoms.npz", of_fewer_clusters, run_of(CLUSTERS), r"(\S+) was made with other clusters than (\S+)\. Delete both and run again"),
    "another encoder": ("features/00000.parquet", of_another_encoder, run_of(GRID), r"()Delete the folder of features and encode all again"),
    "an entry that promises rows": ("snapshots/00000.parquet", more_rows, run_of("features/00000.parquet"), r"(\S+) has \d+ rows, its manifest says \d+\. Delete it and run again"),
    "other counts": ("labels/00001.parquet", other_counts, verify, r"(\S+): counts other rows .*Delete it and (\S+), and run again"),
    "an export": ("exports/matpes/demo-PBE.json.gz", flip, verify, r"demo-PBE.json.gz: lost, or changed .*Delete (\S+) and run again"),
    "a value of the manifest": ("manifest.json", one_value, verify, r"(\S+): its content differs .*Delete it; `pesatlas run` writes it again"),
    "the manifest": ("manifest.json", lambda path: path.write_text("{"), verify, r"(\S+) is not readable .*Delete it; `pesatlas run` writes it again"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_advice_followed_word_by_word_makes_the_campaign_whole(whole, case):
    name, damage, run, advice = CASES[case]
    results = whole.path / "results"
    damage(results / name)
    output = " ".join(run(whole, 1).split())
    found = re.search(advice, output)
    assert found, output
    for each in filter(None, found.groups()):
        (whole.path / each).unlink()
    if not any(found.groups()):
        shutil.rmtree(results / "features")
    if run is verify:
        whole.run()
    else:
        run(whole, 0)
    assert problems_of(results) == []
    assert {level: whole.dataset(level) for level in whole.before} == whole.before
    assert "Nothing to be done" in whole.run("-n")
