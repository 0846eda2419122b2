"""Statements of the card are true, and libraries read its machine-readable parts."""

import hashlib
import json

import pytest
import yaml

from collecting import collect
from pesatlas.campaign.layout import below
from pesatlas.config.dataset import Author, Card, Dataset, Rule, Rules
from pesatlas.config.section import digest
from pesatlas.dataset.card import write_card
from pesatlas.dataset.verify import verify
from pesatlas.tables import read_entry, read_table, write_table
from pesatlas.tables.schemas import SOURCES
from strain_files import definitions, store

SETTINGS = Card(
    title="Salts",
    authors=[Author(given="Ada", family="Lovelace", orcid="0000-0002-1825-0097")],
    licence="CC0-1.0",
    doi="10.5281/zenodo.1",
    remarks=["Only two crystals."],
)


@pytest.fixture
def carded(campaign, tables, write_labels):
    """A campaign in which rules spoke, with its card."""
    results, _, labels = tables
    labels[0] |= {"converged": False, "verdict": "quarantined", "verdict_rules": '["not converged"]'}
    labels[3]["free_energy_eV"] -= 1.0
    campaign.dataset = Dataset(rules=Rules(net_force=Rule(limit=0.01, then="flag", source="a paper")))
    collect(campaign, results, write_labels(results, labels))
    write_card(SETTINGS, results)
    return results


def test_the_card_counts_what_is_there(carded):
    card = json.loads((carded / "card.json").read_text())
    pbe, r2scan = card["levels"]["pbe"], card["levels"]["r2scan"]
    assert (pbe["rows"], r2scan["rows"]) == (3, 4)
    assert (pbe["atoms"], pbe["crystals"], pbe["chemical_systems"]) == (6, 2, 1)
    assert r2scan["verdicts"] == {"accepted": 3, "flagged": 1}
    assert card["elements"] == {"Na": {"pbe": 3, "r2scan": 4}, "Cl": {"pbe": 3, "r2scan": 4}}
    assert card["filters"] == [
        {"level": "pbe", "rule": "converged", "consequence": "quarantine", "rows": 1},
        {"level": "r2scan", "rule": "entropy", "consequence": "flag", "rows": 1},
    ]
    assert {"stage": "dataset", "level": "pbe", "reason": "quarantined", "rows": 1} in card["failures"]
    assert card["charges"] == [
        {"level": "pbe", "method": "test", "missing": None, "rows": 3},
        {"level": "r2scan", "method": None, "missing": "no density", "rows": 4},
    ]
    assert "| r2scan | - | no density | 4 |" in (carded / "card.md").read_text()
    assert card["references"]["atoms_eV"]["pbe"] == {"Cl": -2.0, "Na": -1.0}
    assert pbe["definition"]["settings"] == {"cutoff_eV": 400.0}
    assert card["rules"]["net_force"]["source"] == "a paper"
    assert card["exploration"]["potentials"] == [{"potential": "harmonic/1", "potential_hash": "h"}]


def test_the_card_has_the_licence_and_the_number_of_every_source(campaign, tables, write_labels):
    results, _, labels = tables
    path = below(results, "structures")
    rows, counts = read_table(path, "structures").to_pylist(), read_entry(path).counts
    rows[0]["source"] = "materials_project 2025.09.25"
    rest = {row["source"].split()[0] for row in rows[1:]}
    stated = [{"kind": "materials_project", "licences": ["CC BY 4.0 (Materials Project)"], "read": 7}]
    write_table(path, "structures", rows, "f", counts, {SOURCES: json.dumps(stated)})
    collect(campaign, results, write_labels(results, labels))
    write_card(SETTINGS, results)
    found = {
        row["kind"]: row for row in json.loads(below(results, "card").read_text())["exploration"]["licences"]
    }
    assert set(found) == {"materials_project"} | rest
    assert found["materials_project"]["licences"] == ["CC BY 4.0 (Materials Project)"]
    assert (found["materials_project"]["read"], found["materials_project"]["crystals"]) == (7, 1)
    assert all(found[kind]["licences"] == ["not stated"] for kind in rest)
    page = below(results, "card_page").read_text()
    assert "| materials_project | CC BY 4.0 (Materials Project) | 7 | 1 |" in page


def test_a_licence_that_nobody_stated_is_said_to_be_the_default(carded):
    for name in ("card.md", "CITATION.cff"):
        assert "dataset.card.licence" not in (carded / name).read_text().partition("## Complete")[0]
    write_card(Card(title="Salts"), carded)
    page = (carded / "card.md").read_text()
    assert "Licence CC-BY-4.0 (the default of dataset.card.licence: nobody stated it" in page
    text = (carded / "CITATION.cff").read_text()
    assert text.startswith("# license: the default of dataset.card.licence")
    assert yaml.safe_load(text)["license"] == "CC-BY-4.0"


def test_files_are_counted_on_the_page_and_named_in_the_card(campaign, tables, write_labels):
    results, _, labels = tables
    path = below(results, "structures")
    rows, counts = read_table(path, "structures").to_pylist(), read_entry(path).counts
    for i, row in enumerate(rows):
        row["source"] = f"files cells/{i}.cif sha256:{i:012d}"
    write_table(path, "structures", rows, "f", counts)
    collect(campaign, results, write_labels(results, labels))
    write_card(SETTINGS, results)
    page = below(results, "card_page").read_text()
    assert f"Structures: files ({len(rows)}); column `source`" in page
    assert "sha256:" not in page
    named = json.loads(below(results, "card").read_text())["exploration"]["sources"]
    assert [each["source"] for each in named] == sorted(row["source"] for row in rows)


def test_the_card_says_what_the_picks_cover_and_by_which_encoder(carded):
    selection = json.loads((carded / "card.json").read_text())["selection"]
    assert selection["encoder"] == {"kind": "chgnet", "name": "test/1", "weights_hash": "e" * 64}
    picks, random = selection["coverage"]["picks"], selection["coverage"]["random"]
    assert (picks["picks"], random["picks"]) == (4, 4)
    assert (picks["fill_mean_structures"], picks["fill_p99_structures"], picks["fill_max_atoms"]) == (1, 3, 8)
    assert (picks["coverage_atoms"], random["coverage_structures"]) == (0.75, 0.6875)
    assert picks["gain_per_1000_labels"] == 0.05
    text = (carded / "card.md").read_text()
    for said in (
        f"Frames described by test/1, weights {'e' * 64}.",
        "|  | picks | random |",
        "| frames | 4 | 4 |",
        "| mean distance, structures | 1.000000 | 2.500000 |",
        "| largest distance, atoms | 8.000000 | 20.000000 |",
        "| coverage, atoms | 0.750000 | 0.375000 |",
    ):
        assert said in text, said
    # four picks tell nothing of a thousand
    assert "would reduce the mean distance" not in text


def test_the_page_has_it_for_people(carded):
    text = (carded / "card.md").read_text()
    assert text.startswith("# Salts\n")
    for said in (
        "Licence CC0-1.0. DOI",
        "for testing; the same at all levels.",
        "| net_force | 0.01 | flag | a paper |",
        "| r2scan | entropy | flag | 1 |",
        '"cutoff_eV": 400.0',
        "weights h",
        "- Only two crystals.",
        "labels in dataset: 8 = 3 pbe + 4 r2scan + 1 quarantined",
    ):
        assert said in text, said


def test_the_citation_has_what_its_format_demands(carded):
    cited = yaml.safe_load((carded / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert cited["authors"] == [
        {"family-names": "Lovelace", "given-names": "Ada", "orcid": "https://orcid.org/0000-0002-1825-0097"}
    ]
    assert (cited["license"], cited["doi"], cited["type"]) == ("CC0-1.0", "10.5281/zenodo.1", "dataset")


def test_the_crate_opens_and_its_checksums_are_right(carded):
    from rocrate.rocrate import ROCrate

    crate = ROCrate(str(carded))
    assert crate.name == "Salts"
    tables = {e.id: e for e in crate.data_entities if e.id.endswith(".parquet")}
    assert set(tables) == {
        f"{place}/{level}{rest}.parquet"
        for level in ("pbe", "r2scan")
        for place, rest in (("dataset", "/part-00000"), ("quarantine", ""))
    }
    for name, entity in tables.items():
        assert entity["sha256"] == hashlib.sha256((carded / name).read_bytes()).hexdigest()
    assert crate.root_dataset["author"][0]["name"] == "Ada Lovelace"


def test_without_authors_there_is_still_a_citation(finished):
    write_card(Card(), finished)
    cited = yaml.safe_load((finished / "CITATION.cff").read_text())
    assert cited["authors"] == [{"name": "The authors of campaign test"}]


def test_the_card_says_how_each_level_did_in_its_strain_test_and_that_one_was_not_tested(carded):
    assert json.loads((carded / "card.json").read_text())["strain_tests"] is None
    assert (carded / "card.md").read_text().count("Stress against strain: not tested.") == 2
    assert verify(carded) == []
    store(carded, definitions(carded)["pbe"])
    problems = verify(carded)
    assert [problem.split(":")[0] for problem in problems] == [
        str(carded / "card.json"),
        str(carded / "card.md"),
    ]
    assert all("shows other strain tests" in problem for problem in problems)
    write_card(SETTINGS, carded)
    assert verify(carded) == []
    card, page = json.loads((carded / "card.json").read_text()), (carded / "card.md").read_text()
    assert card["levels"]["pbe"]["strain"]["difference_GPa"] == 0.03
    assert card["levels"]["r2scan"]["strain"] is None
    assert (
        "Stress against strain: 0.03 GPa off at strains of 0.5 %, tested 2026-11-29 with double 1.2.3, "
        "library 4.0 on Si." in page
    )
    assert page.count("not tested") == 1
    assert "/home/me" not in page + json.dumps(card), "a command may name folders of a machine"
    assert card["caveats"] == []


def test_a_level_that_failed_is_a_warning_wherever_the_dataset_is_shown(carded):
    store(carded, definitions(carded)["r2scan"], off_gpa=7.5)
    write_card(SETTINGS, carded)
    warning = "stresses at r2scan differ from slopes of the energy by up to 7.50 GPa"
    for name in ("card.md", "CITATION.cff", "ro-crate-metadata.json"):
        assert warning in " ".join((carded / name).read_text().split()), name
    assert "Stress against strain: FAILED, 7.50 GPa off (at most 1 GPa)" in (carded / "card.md").read_text()
    below(carded, "strain", level="r2scan", fingerprint=digest(definitions(carded)["r2scan"])).unlink()
    assert len([each for each in verify(carded) if "shows other strain tests" in each]) == 2


def test_a_test_of_other_settings_is_not_shown(carded):
    finer = definitions(carded)["pbe"] | {"settings": {"cutoff_eV": 500.0}}
    store(carded, finer)
    assert verify(carded) == []
    before = (carded / "card.json").read_bytes()
    write_card(SETTINGS, carded)
    assert (carded / "card.json").read_bytes() == before


def test_a_card_without_charges_does_not_speak_of_them(campaign, tables, write_labels):
    results, _, labels = tables
    for row in labels:
        row.update(dict.fromkeys([name for name in row if name.startswith("bader_")]))
    collect(campaign, results, write_labels(results, labels))
    write_card(SETTINGS, results)
    assert "charges" not in json.loads((results / "card.json").read_text())
    assert "Bader" not in (results / "card.md").read_text()
