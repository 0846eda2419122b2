"""Methods of the report: what they name is in the campaign, and every citation has its reference."""

import re
import shutil
from types import SimpleNamespace

import pytest

from pesatlas.campaign.account import accounts
from pesatlas.campaign.finished import read_campaign_manifest
from pesatlas.campaign.layout import Results, below
from pesatlas.campaign.source_texts import format_sources
from pesatlas.report.figure_rows import Reader
from pesatlas.report.methods import methods
from pesatlas.tables import read_entry, read_table, write_table
from pesatlas.tables.manifest import sha256_of
from report_pages import page_of


def methods_of(report, **changes):
    manifest = read_campaign_manifest(report.results) | changes
    files = Results(report.results, manifest["label_batches"], tuple(manifest["levels"])).files
    reader = Reader(files | {"parity": [below(report.results, "parity")]}, manifest)
    return methods(reader, manifest, accounts(report.results, manifest))


def test_every_reference_is_cited_and_every_citation_has_its_reference(small, large):
    for report in (small, large):
        found = methods_of(report)
        cited = {int(n) for each in re.findall(r"\[([\d, ]+)\]", found.paragraph) for n in each.split(",")}
        assert cited == set(range(1, len(found.references) + 1))
        assert found.paragraph in page_of(report).text


def test_it_names_level_potential_and_counts(small):
    found = methods_of(small)
    for words in (
        "2 crystals from ",
        "picked 4 of ",
        "Labels at pbe are single-point evaluations with double 1.2.3, library 4.0 ",
        "cut-off (eV) 400",
        "pbe: 4 selected = 4 exported",
    ):
        assert words in found.paragraph
    for words in ("Perdew", "Furness", "foundational potential energy surface dataset"):
        assert any(words in each for each in found.references)
    assert "Convergence with k-points and cut-off was not measured." in found.not_done


def test_it_says_how_many_clusters_where_their_number_was_set_and_cites_once(small):
    manifest = read_campaign_manifest(small.results)
    select = {"structure": {"threshold": 0.5, "clusters": 40}, "atoms": {"threshold": 0.1, "clusters": None}}
    found = methods_of(small, configuration=manifest["configuration"] | {"select": select})
    assert "(40 clusters of structures and threshold 0.1 of atoms)" in found.paragraph
    assert not re.search(r"\[(\d+), \1\]", found.paragraph)


def test_cells_without_dynamics_are_no_trajectories(small, tmp_path):
    results = shutil.copytree(small.results, tmp_path / "results")
    path = below(results, "snapshots", batch=0)
    rows = read_table(path, "snapshots").to_pylist()
    for row in rows[:2]:
        row["ensemble"] = "none"
    write_table(path, "snapshots", rows, "test", read_entry(path).counts)
    moving = {(row["structure_id"], row["variant"], row["condition"]) for row in rows[2:]}
    told = methods_of(SimpleNamespace(results=results)).paragraph
    assert f"in {len(moving)} trajectories of at most" in told
    assert f": {len(rows) - 2} frames. The pool has 2 cells without dynamics, too." in told


def test_files_are_counted_not_listed():
    files = [f"files cells/{i}.cif sha256:{i:012d}" for i in range(1200)]
    assert format_sources([*files, "demo 2"]) == ["files (1,200)", "demo 2"]


@pytest.mark.parametrize(
    ("name", "words"), [("chgnet/0.3.0", ["Deng"]), ("tensornet-matpes-pbe", ["Simeon", "Kaplan"])]
)
def test_a_potential_is_cited_by_its_name(name, words):
    from pesatlas.report.methods import REFERENCES, _potential

    told = " ".join(REFERENCES[key] for key in _potential(name))
    assert all(word in told for word in words)


def test_labels_of_a_potential_are_said_to_be_that(large):
    found = methods_of(large)
    assert any("NOT DFT" in each for each in found.not_done)
    assert not any("k-points" in each for each in found.not_done)


def test_checksums_are_those_of_the_files_and_authors_those_of_the_configuration(small):
    manifest = read_campaign_manifest(small.results)
    card = {"authors": [{"given": "Ada", "family": "Lovelace"}], "licence": "CC0-1.0", "doi": None}
    dataset = manifest["configuration"]["dataset"] | {"card": card}
    found = methods_of(small, configuration=manifest["configuration"] | {"dataset": dataset})
    assert ("authors", "Ada Lovelace") in found.facts
    assert ("licence", "CC0-1.0") in found.facts
    assert len(found.checksums) == 2
    for file, _, checksum in found.checksums:
        assert sha256_of(small.results / file) == checksum
