"""Opening, asking, explaining, reproducing."""

import json
import shutil

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import pesatlas
from collecting import collect
from pesatlas.campaign.layout import below
from pesatlas.cli.main import app
from pesatlas.dataset.explain import explain, label_rows
from pesatlas.errors import UserError
from pesatlas.tables import read_table

NAME = "NaCl:unit:300K-0GPa:0000050"


def test_tables_are_loaded_lazily_and_answer_sql(finished):
    atlas = pesatlas.open(finished)
    assert {"structures", "snapshots", "selection", "labels", "dataset", "quarantine", "failures"} <= set(
        atlas.tables
    )
    assert atlas.table("dataset").count_rows() == 8
    found = atlas.query("SELECT level, count(*) AS n FROM dataset GROUP BY level ORDER BY level").to_pylist()
    assert found == [{"level": "pbe", "n": 4}, {"level": "r2scan", "n": 4}]
    joined = "SELECT count(*) AS n FROM dataset JOIN snapshots USING (snapshot_id) WHERE mlip_energy_eV < 0"
    assert atlas.query(joined).to_pylist() == [{"n": 8}]


def test_atoms_have_their_label_and_structures_their_row(finished):
    atlas = pesatlas.open(finished)
    rows = {row["snapshot_id"]: row for row in atlas.rows("r2scan")}
    for atoms in atlas.atoms("r2scan"):
        row = rows[atoms.info["snapshot_id"]]
        assert atoms.get_potential_energy() == row["energy_eV"]
        assert np.array_equal(atoms.get_forces().reshape(-1), row["forces_eV_per_A"])
        assert np.array_equal(atoms.get_stress(), row["stress_eV_per_A3"])
    for structure, row in atlas.structures("pbe"):
        assert structure.composition.reduced_formula == "NaCl"
        assert row["level"] == "pbe"


def test_rows_can_be_chosen(finished):
    atlas = pesatlas.open(finished)
    every = list(atlas.rows("pbe"))
    for split in ("train", "valid", "test"):
        assert len(list(atlas.rows("pbe", split=split))) == sum(row["split"] == split for row in every)
    one = list(atlas.rows("pbe", where=pc.field("snapshot_id") == NAME, columns=["snapshot_id"]))
    assert one == [{"snapshot_id": NAME}]
    assert list(atlas.rows("pbe", verdicts=["flagged"])) == []
    with pytest.raises(UserError, match="no level 'scan'"):
        list(atlas.rows("scan"))
    with pytest.raises(UserError, match="no table 'lables'"):
        atlas.table("lables")


def test_a_campaign_of_an_older_schema_opens_and_answers(older):
    atlas = pesatlas.open(older)
    assert len(list(atlas.atoms("pbe"))) == 4
    assert atlas.query("SELECT count(*) AS n FROM dataset").to_pylist() == [{"n": 8}]
    (row,) = atlas.rows("pbe", where=pc.field("snapshot_id") == NAME)
    assert row["space_group"] is None
    assert dict(explain(atlas, NAME))["label at pbe"]


def invoke(*arguments, expect=0):
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exit_code == expect, done.output
    return " ".join(done.output.split())


def test_a_query_is_printed_or_written(finished, tmp_path):
    sql = "SELECT snapshot_id, verdict FROM dataset WHERE level = 'pbe'"
    assert NAME[:12] in invoke("query", sql, finished)
    invoke("query", sql, finished, "--to", tmp_path / "rows.parquet")
    assert len(pq.read_table(tmp_path / "rows.parquet")) == 4
    invoke("query", sql + ";", finished, "--to", tmp_path / "rows.csv")
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 5
    assert "cannot be answered" in invoke("query", "SELECT nothing", finished, expect=1)
    assert "end the name with" in invoke("query", sql, finished, "--to", tmp_path / "rows.xls", expect=1)


def story_of(results, name):
    return {title: dict(lines) for title, lines in explain(pesatlas.open(results), name)}


def test_the_story_of_a_row_is_told_from_crystal_to_label(finished):
    story = story_of(finished, NAME)
    assert list(story) == ["source crystal", "snapshot", "selection", "label at pbe", "label at r2scan"]
    assert "step 50" in story["snapshot"]["made by"]
    assert story["selection"]["picked"].startswith("as number 1 by policy test")
    assert story["label at pbe"]["verdict"] == "accepted (in dataset)"
    assert '"functional": "PBE"' in story["label at pbe"]["settings"]
    assert "label_key" in invoke("explain", NAME, finished)


def test_of_a_crystal_its_own_history_is_told(finished):
    told = story_of(finished, "NaCl")
    assert told["source crystal"]["source"] == "test"
    assert told["what came of it"] == {
        "cells": "1: 1 bulk",
        "trajectories": "1",
        "frames": "3",
        "picks": "3: 3 bulk",
        "one of its picks": f"pesatlas explain {NAME}",
    }
    assert told["labels at pbe"] == {"accepted": "3"}
    with pytest.raises(UserError, match=r"no snapshot NaCl\. Of NaCl there are 3, e\.g\. NaCl:"):
        label_rows(pesatlas.open(finished), "NaCl")


def test_a_missing_row_is_explained(campaign, tables, write_labels):
    results, _, labels = tables
    labels[0]["converged"] = False
    labels[0] |= {"verdict": "quarantined", "verdict_rules": '["not converged"]'}
    files = write_labels(results, labels[:-1], failed={1: {"r2scan": 1}})
    failure = {
        "stage": "label",
        "key": labels[-1]["snapshot_id"],
        "structure_id": "NaCl-2",
        "level": "r2scan",
        "reason": "timeout",
        "detail": "ended after 60 s",
        "attempts": 2,
        "code_version": "0",
    }
    from pesatlas.tables import write_table

    write_table(below(results, "label_failures", batch=1), "failures", [failure], "s")
    collect(campaign, results, files)
    quarantined = story_of(results, NAME)["label at pbe"]["verdict"]
    assert quarantined.startswith("quarantined: converged: the output does not report convergence")
    assert quarantined.endswith("(in quarantine)")
    missing = story_of(results, labels[-1]["snapshot_id"])["label at r2scan"]
    assert missing == {"it is missing": "timeout: ended after 60 s (2 attempts)"}
    unpicked = story_of(results, "NaCl-2:unit:300K-0GPa:0000150")["selection"]
    assert unpicked["not picked, so not labelled"].startswith("redundant: policy matpes did not need it")
    assert story_of(results, "x")["it is missing"]["structures"].startswith("unreadable")
    with pytest.raises(UserError, match="Of NaCl there are 3"):
        explain(pesatlas.open(results), "NaCl:unit:300K-0GPa:0000051")
    with pytest.raises(UserError, match="no crystal 'KCl'"):
        explain(pesatlas.open(results), "KCl:unit:300K-0GPa:0000051")


def test_inputs_of_vasp_are_written_from_the_row_alone(campaign, tables, write_labels, tmp_path):
    from pymatgen.io.vasp.inputs import Incar, Poscar

    results, _, labels = tables
    incar = {"ENCUT": 680, "EDIFF": 1e-5, "MAGMOM": [0.6, 0.6], "NELM": 200}
    for row in labels[:2]:
        tag = {"METAGGA": "R2SCAN"} if row["level"] == "r2scan" else {}
        settings = {"incar": incar | tag, "kpoints": [[0, 0, 0]], "potcars": ["PAW_PBE Na_pv", "PAW_PBE Cl"]}
        row |= {"settings": json.dumps(settings), "pseudopotentials": '{"Na": "abc"}'}
    collect(campaign, results, write_labels(results, labels))
    invoke("reproduce", NAME, results, "--to", tmp_path / "again")
    place = tmp_path / "again/r2scan"
    assert Incar.from_file(place / "INCAR")["METAGGA"] == "R2scan"
    structure = Poscar.from_file(place / "POSCAR").structure
    assert structure.composition.reduced_formula == "NaCl"
    assert json.loads((place / "POTCAR.spec").read_text())["titles"][0] == "PAW_PBE Na_pv"
    assert json.loads((place / "label.json").read_text())["energy_eV"] == labels[1]["energy_eV"]
    assert "holds" not in invoke("reproduce", NAME, results, "--to", tmp_path / "again", expect=1)


def test_a_row_without_a_label_cannot_be_reproduced_and_is_told_why(finished, tmp_path):
    done = invoke("reproduce", "NaCl-2:unit:300K-0GPa:0000150", finished, "--to", tmp_path / "no", expect=1)
    assert "has no label to reproduce" in done
    assert not (tmp_path / "no").exists()


def test_it_opens_from_another_folder(finished, tmp_path, monkeypatch):
    shutil.copytree(finished, tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    assert len(list(pesatlas.open("moved").rows("pbe"))) == 4
    assert len(read_table(tmp_path / "moved/selection.parquet", "selection")) == 4


def tree(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


COPY = "COPY dataset TO '{target}'"
WRITES = [
    COPY,
    "COPY (SELECT 1) TO '{target}' (FORMAT parquet, USE_TMP_FILE false)",
    "EXPLAIN ANALYZE COPY dataset TO '{target}' (FORMAT parquet, USE_TMP_FILE false)",
    "/* SELECT */ explain analyze /**/ COPY dataset TO '{target}' (FORMAT parquet, USE_TMP_FILE false)",
    "-- a\n EXPLAIN (ANALYZE) COPY dataset TO '{target}' (FORMAT parquet, USE_TMP_FILE false)",
    "EXPLAIN EXPLAIN ANALYZE COPY dataset TO '{target}' (FORMAT parquet, USE_TMP_FILE false)",
    "SELECT 1; COPY dataset TO '{target}' (FORMAT parquet, USE_TMP_FILE false)",
    "CREATE TABLE it AS SELECT 1",
    "ATTACH '{target}.db' AS it",
    "EXPORT DATABASE '{folder}'",
    "PRAGMA profiling_output='{target}.json'",
    "SET enable_external_access = true",
    "PRAGMA enable_external_access=true",
    "PREPARE it AS COPY dataset TO '{target}'",
    "INSTALL httpfs",
    "DROP VIEW dataset",
    "",
    "-- nothing",
]


@pytest.mark.parametrize("sql", WRITES)
@pytest.mark.parametrize("target", ["results/dataset/pbe/part-00000.parquet", "new.parquet"])
def test_a_query_writes_nothing(finished, monkeypatch, sql, target):
    monkeypatch.chdir(finished.parent)
    before = tree(finished.parent)
    atlas = pesatlas.open(finished)
    for path in (target, finished.parent / target):
        with pytest.raises(UserError, match=r"is not a query|cannot be answered"):
            atlas.query(sql.format(target=path, folder=finished.parent / "exported"))
    assert tree(finished.parent) == before


@pytest.mark.parametrize(
    "sql",
    [
        "FROM 'secret.csv'",
        "FROM read_text('{folder}/secret.csv')",
        "FROM read_csv('secret.csv')",
        "SELECT * FROM read_blob('/etc/passwd')",
        "FROM glob('*')",
        "FROM read_parquet('{folder}/theirs.parquet')",
        "FROM read_text('results/../secret.csv')",
        "FROM read_text('{folder}/results/../secret.csv')",
        "FROM read_text('results-2/secret.csv')",
        "FROM read_text('{folder}/results-2/secret.csv')",
        "FROM secret",
        "SELECT * FROM query('FROM read_text(''secret.csv'')')",
        "SELECT getenv('HOME')",
        "FROM 'https://example.org/a.parquet'",
    ],
)
def test_a_query_reads_no_other_file_and_no_variable(finished, monkeypatch, sql):
    import pandas as pd

    monkeypatch.chdir(finished.parent)
    for path in (finished.parent / "secret.csv", finished.parent / "results-2" / "secret.csv"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("a\n1\n")
    shutil.copy(finished / "structures.parquet", finished.parent / "theirs.parquet")
    secret = pd.DataFrame({"a": [1]})
    atlas = pesatlas.open(finished)
    with pytest.raises(UserError, match="cannot be answered"):
        atlas.query(sql.format(folder=finished.parent))
    assert len(secret) == 1


def test_tables_without_a_name_can_be_asked_from_anywhere(finished, monkeypatch, tmp_path):
    sql = "SELECT count(*) AS n FROM read_parquet('{}/quar*/*.parquet')"
    monkeypatch.chdir(finished.parent)
    for root in ("results", "./results", finished, "../" + finished.parent.name + "/results"):
        assert pesatlas.open(root).query(sql.format(root)).to_pylist() == [{"n": 0}]
    link = tmp_path / "link"
    link.symlink_to(finished)
    assert pesatlas.open(link).query(sql.format(link)).to_pylist() == [{"n": 0}]
    assert pesatlas.open(link).query("SELECT count(*) AS n FROM dataset").to_pylist() == [{"n": 8}]


@pytest.mark.parametrize(
    "sql",
    [
        "EXPLAIN SELECT * FROM dataset",
        "EXPLAIN ANALYZE SELECT count(*) FROM dataset",
        "SHOW TABLES",
        "DESCRIBE dataset",
        "SUMMARIZE failures",
        "PRAGMA table_info('dataset')",
        "WITH a AS (SELECT 1 AS one) SELECT * FROM a -- and so on",
        "VALUES (1)",
    ],
)
def test_all_that_asks_is_answered(finished, sql):
    assert len(pesatlas.open(finished).query(sql)) > 0


def test_what_a_query_gives_is_never_written_among_the_results(finished, tmp_path):
    before = tree(finished)
    for name in ("dataset/pbe/part-00000.parquet", "rows.csv", "../results/structures.parquet"):
        said = invoke("query", "FROM dataset", finished, "--to", finished / name, expect=1)
        assert "where the campaign's own files are" in said
    assert tree(finished) == before
    (tmp_path / "rows.parquet").write_text("before")
    assert "cannot be answered" in invoke(
        "query",
        "SELECT error(snapshot_id) FROM dataset",
        finished,
        "--to",
        tmp_path / "rows.parquet",
        expect=1,
    )
    assert (tmp_path / "rows.parquet").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith((".", "pesatlas"))] == []


def test_what_is_asked_for_is_printed_as_it_is(finished):
    said = invoke("query", "SELECT ':x: [red]no[/red] :smile:' AS ':warning:'", finished)
    assert ":x: [red]no[/red] :smile:" in said
    assert ":warning:" in said


def test_rows_are_written_with_their_types(finished, tmp_path):
    sql = "SELECT snapshot_id, forces_eV_per_A, numbers, level = 'pbe' AS here FROM dataset ORDER BY ALL"
    atlas = pesatlas.open(finished)
    atlas.query(sql, tmp_path / "rows.parquet")
    assert pq.read_table(tmp_path / "rows.parquet").to_pylist() == atlas.query(sql).to_pylist()
    assert pq.read_schema(tmp_path / "rows.parquet").types == atlas.query(sql).schema.types
