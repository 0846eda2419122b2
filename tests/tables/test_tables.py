"""Tables are written whole or not at all, and refuse what they are not."""

import json
import stat
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from pesatlas.errors import UserError
from pesatlas.storage.atomic import write_text
from pesatlas.tables import SCHEMAS, TableWriter, check_entry, iter_table, read_entry, read_table, write_table
from pesatlas.tables.manifest import entry_path

FAILURE = {
    "stage": "label",
    "key": "a",
    "structure_id": "a",
    "level": None,
    "reason": "crashed",
    "detail": "",
    "attempts": 1,
    "code_version": "0",
}


def test_every_column_has_a_description_and_names_its_unit():
    suffixes = {
        "_A": "Å",
        "_spacing_per_A": "1/Å",
        "_meV_per_A": "meV/Å",
        "_K": "K",
        "_GPa": "GPa",
        "_fs": "fs",
        "_eV_per_A": "eV/Å",
        "_eV_per_A3": "eV/Å³",
        "_muB": "μB",
        "_s": "s",
    }
    for name, schema in SCHEMAS.items():
        for field in schema:
            assert field.metadata[b"description"], f"{name}.{field.name}"
            suffix = next(
                (s for s in sorted(suffixes, key=len, reverse=True) if field.name.endswith(s)), None
            )
            if suffix and field.metadata[b"unit"]:
                assert field.metadata[b"unit"].decode() == suffixes[suffix], f"{name}.{field.name}"


def test_round_trip_with_manifest(tmp_path):
    path = tmp_path / "failures.parquet"
    write_table(path, "failures", [FAILURE], "abc", {"seen": 3})
    assert read_table(path, "failures").to_pylist() == [FAILURE]
    entry = check_entry(path)
    assert (entry.rows, entry.counts, entry.fingerprint) == (1, {"seen": 3, "crashed": 1}, "abc")
    metadata = pq.read_schema(path).metadata
    assert metadata[b"pesatlas.fingerprint"] == b"abc"


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "failures.parquet"
    write_table(path, "failures", [FAILURE], "abc")
    before = path.read_bytes()
    with pytest.raises(ValueError, match="attempts"), TableWriter(path, "failures", "def") as writer:
        writer.write([FAILURE, {**FAILURE, "attempts": None}])
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "failures.parquet",
        "failures.parquet.manifest.json",
    ]


WRITING = """
import sys, time
from pathlib import Path
from pesatlas.storage.atomic import atomic_path
with atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print(temporary.name, flush=True)
    sys.stdin.read()
    temporary.write_text("whole")
"""


def test_what_a_killed_writer_leaves_goes_with_the_next_one_what_is_being_written_stays(tmp_path):
    path = tmp_path / "a[1].json"
    killed, alive = (
        subprocess.Popen(
            [sys.executable, "-c", WRITING, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(2)
    )
    names = {each: each.stdout.readline().decode().strip() for each in (killed, alive)}
    killed.kill()
    killed.wait()
    assert {name for name in names.values() if (tmp_path / name).exists()} == set(names.values())
    write_text(path, "mine")
    assert sorted(each.name for each in tmp_path.iterdir()) == [names[alive], path.name]
    alive.communicate(b"", timeout=60)
    assert alive.returncode == 0
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "whole"


def test_a_null_where_none_may_be_is_refused(tmp_path):
    with pytest.raises(ValueError, match="reason"):
        write_table(tmp_path / "f.parquet", "failures", [{**FAILURE, "reason": None}], "abc")
    assert list(tmp_path.iterdir()) == []


def test_wrong_missing_torn_and_newer_files_are_refused_with_a_remedy(tmp_path):
    path = tmp_path / "f.parquet"
    with pytest.raises(UserError, match="does not exist"):
        read_table(path, "failures")
    write_table(path, "failures", [FAILURE], "abc")
    with pytest.raises(UserError, match="contains the table 'failures', not 'labels'"):
        read_table(path, "labels")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match=r"truncated or changed.*run again"):
        read_table(path, "failures")
    entry_path(path).unlink()
    with pytest.raises(UserError, match=r"not a readable Parquet file.*run again"):
        read_table(path, "failures")
    newer = tmp_path / "newer.parquet"
    table = pq.read_table(_written(tmp_path))
    pq.write_table(
        table.replace_schema_metadata({**table.schema.metadata, b"pesatlas.schema_version": b"99"}), newer
    )
    with pytest.raises(UserError, match="schema version 99"):
        read_table(newer, "failures")


def test_changed_and_truncated_files_differ_from_their_manifest(tmp_path):
    path = _written(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content + b" ")
    with pytest.raises(UserError, match="bytes, its manifest says"):
        check_entry(path)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match="sha256"):
        check_entry(path)


@pytest.mark.parametrize(("umask", "mode"), [(0o000, 0o664), (0o022, 0o644), (0o077, 0o600)])
def test_files_are_as_shared_as_the_umask_allows_but_never_world_writable(tmp_path, umask, mode):
    code = (
        f"import os; os.umask({umask}); from pathlib import Path; from pesatlas.storage.atomic import "
        "write_text;"
        "write_text(Path('a.txt'), 'x')"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == mode


def test_entry_says_what_its_file_is(tmp_path):
    path = _written(tmp_path)
    raw = json.loads((tmp_path / "g.parquet.manifest.json").read_text())
    assert raw["table"] == "failures"
    assert read_entry(path).bytes == path.stat().st_size


def _written(folder):
    path = folder / "g.parquet"
    write_table(path, "failures", [FAILURE], "abc")
    return path


def test_the_manifest_of_failures_counts_reasons(tmp_path):
    rows = [FAILURE | {"reason": reason} for reason in ("timeout", "crashed", "timeout")]
    write_table(tmp_path / "f.parquet", "failures", rows, "s", {"more": 1})
    assert read_entry(tmp_path / "f.parquet").counts == {"timeout": 2, "crashed": 1, "more": 1}


def test_features_are_written_without_a_dictionary_and_names_with_one(tmp_path):
    row = {"snapshot_id": "a", "n_atoms": 1, "structure_features": [0.5] * 8, "atom_features": [0.25] * 4}
    write_table(tmp_path / "features.parquet", "features", [row] * 3, "fp")
    group = pq.ParquetFile(tmp_path / "features.parquet").metadata.row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    with_dictionary = {c.path_in_schema.split(".")[0] for c in columns if c.has_dictionary_page}
    assert with_dictionary == {"snapshot_id", "n_atoms"}
    assert read_table(tmp_path / "features.parquet", "features").to_pylist() == [row] * 3


def test_no_flipped_bit_of_a_table_is_ever_read(tmp_path):
    path = _written(tmp_path)
    good = path.read_bytes()
    for position in range(0, len(good), 7):
        path.write_bytes(good[:position] + bytes([good[position] ^ 1 << position % 8]) + good[position + 1 :])
        with pytest.raises(UserError, match=r"sha256: changed after it was written. Delete it and run again"):
            read_table(path, "failures")
        with pytest.raises(UserError, match="sha256"):
            list(iter_table(path))
    path.write_bytes(good)
    assert read_table(path, "failures").to_pylist() == [FAILURE]


def test_a_table_that_was_edited_in_place_is_noticed_however_large_it_is(tmp_path):
    path = tmp_path / "f.parquet"
    rows = [FAILURE | {"key": f"{n * 7919 % 65537:x}", "detail": f"{n * n:x}" * 5} for n in range(150_000)]
    write_table(path, "failures", rows, "abc")
    assert path.stat().st_size > 1 << 20
    for _ in range(2):
        assert read_table(path, "failures", ["key"], [("key", "==", "7b")]).num_rows
    with path.open("r+b") as handle:
        handle.seek(1000)
        handle.write(bytes([handle.read(1)[0] ^ 1]))
    with pytest.raises(UserError, match="sha256"):
        read_table(path, "failures", ["key"], [("key", "==", "7b")])


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"file": 1}', b"\xff"])
def test_a_damaged_entry_is_told_with_a_remedy(tmp_path, damage):
    path = _written(tmp_path)
    entry_path(path).write_bytes(damage)
    with pytest.raises(
        UserError, match=r"manifest\.json is damaged.*Delete it and .*g\.parquet, and run again"
    ):
        read_table(path, "failures")


def test_a_table_without_an_entry_is_taken_as_it_is(tmp_path):
    path = _written(tmp_path)
    entry_path(path).unlink()
    assert len(read_table(path, "failures")) == 1
