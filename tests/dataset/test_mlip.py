"""A dataset of a potential's labels is whole and sound, and calls itself DFT nowhere."""

import gzip
import io
import json
import runpy

import pytest
import yaml
from rich.console import Console

import pesatlas
from collecting import collect
from labelling import label_atoms_of, label_batch_of
from pesatlas.campaign.layout import below
from pesatlas.cli.failures import show_failures
from pesatlas.cli.reproduce import reproduce
from pesatlas.config.dataset import Card
from pesatlas.config.presets import preset
from pesatlas.dataset.card import write_card
from pesatlas.dataset.explain import explain
from pesatlas.dataset.export import export_dataset, formats
from pesatlas.dataset.physics import RowCheck
from pesatlas.dataset.questions import QUESTIONS
from pesatlas.dataset.verify import verify
from pesatlas.report.summary import losses, summary
from pesatlas.tables import read_table

NOT_DFT = "labels of a machine-learning potential (chgnet/0.2.0), NOT DFT"


@pytest.fixture(scope="module")
def labelled(write_tables, tmp_path_factory):
    """The results of a campaign that chgnet labelled, collected and with a card."""
    folder = tmp_path_factory.mktemp("campaign")
    demo, _, _ = preset("demo")
    raw = demo.model_dump(mode="json")
    raw["campaign"]["store"] = str(folder / "store")
    raw["select"]["target"] = 4
    raw["label"] = {
        "backend": {"kind": "mlip", "potential": {"kind": "chgnet", "version": "0.2.0"}},
        "levels": ["mlip"],
        "structures_per_job": 2,
    }
    campaign = type(demo).model_validate(raw)
    results, files, _ = write_tables(folder / "results")
    work = folder / "work"
    label_atoms_of(
        campaign,
        below(results, "structures"),
        below(results, "atoms"),
        below(results, "atom_failures"),
        work,
    )
    for batch, labels in enumerate(files):
        failures = below(results, "label_failures", batch=batch)
        label_batch_of(campaign, batch, below(results, "selection"), labels, failures, work)
    collect(campaign, results, files)
    write_card(Card(), results)
    return results


def said(results):
    shown = io.StringIO()
    Console(file=shown, width=200).print(summary(results))
    return shown.getvalue()


def listed(results, *reasons):
    shown = io.StringIO()
    console = Console(file=shown, width=200)
    show_failures(results, reasons, None, console, every=False, as_json=False)
    return shown.getvalue()


def test_it_is_whole_and_sound_without_isolated_atoms(labelled):
    rows = read_table(labelled / "dataset/mlip/part-00000.parquet", "dataset").to_pylist()
    assert len(rows) == 4
    assert {row["cohesive_energy_eV_per_atom"] for row in rows} == {None}
    assert "machine-learning potential chgnet/0.2.0" in rows[0]["code"]
    failures = read_table(labelled / "failures/atoms.parquet", "failures").to_pylist()
    assert [(row["key"], row["reason"]) for row in failures] == [
        ("atom:Na", "missing_reference_atom"),
        ("atom:Cl", "missing_reference_atom"),
    ]
    assert verify(labelled) == []


def test_card_citation_crate_and_summary_say_that_it_is_no_dft(labelled):
    card = json.loads((labelled / "card.json").read_text())
    assert card["caveats"] == [NOT_DFT]
    assert card["title"].endswith("at mlip-not-DFT")
    assert card["limits"][0] == f"Warning: {NOT_DFT}."
    page = (labelled / "card.md").read_text()
    assert page.splitlines()[2] == f"**Warning: {NOT_DFT}.**"
    assert "for testing.\n" in page  # of one level, nothing is "the same at all levels"
    assert "There are none, so cohesive energies are empty." in page
    assert NOT_DFT in yaml.safe_load((labelled / "CITATION.cff").read_text())["abstract"]
    assert NOT_DFT in (labelled / "ro-crate-metadata.json").read_text()
    assert NOT_DFT in said(labelled)
    assert "No isolated atoms at mlip: cohesive energies are empty there." in said(labelled)
    assert "missing_reference_atom" not in said(labelled)


def test_atoms_that_a_potential_never_has_are_counted_as_failures_nowhere(labelled):
    atlas = pesatlas.open(labelled)
    one = {"stage": "structures", "level": None, "reason": "unreadable", "rows": 1}
    assert atlas.query(QUESTIONS["failures"]).to_pylist() == [one]
    card = json.loads((labelled / "card.json").read_text())
    assert card["failures"] == [one]
    assert losses(labelled, atlas.manifest).total() == 1
    assert "missing_reference_atom" not in (labelled / "card.md").read_text()
    assert "unreadable (1)" in listed(labelled)
    assert "missing_reference_atom" not in listed(labelled)
    assert "missing_reference_atom (2)" in listed(labelled, "missing_reference_atom")


def test_every_export_carries_it_in_its_rows_or_names(labelled, tmp_path):
    for kind in formats():
        files = export_dataset(labelled, kind, tmp_path / kind, verdicts=["accepted", "flagged"])
        assert files
        assert json.loads((tmp_path / kind / "export.json").read_text())["caveats"] == [NOT_DFT]
        assert f"**Warning: {NOT_DFT}.**" in (tmp_path / kind / "README.md").read_text()
        if kind != "huggingface":
            data = [path for path in files if path.name != "README.md"]
            assert all("mlip-not-DFT" in str(path.relative_to(tmp_path)) for path in data)
    documents = json.loads(gzip.decompress((tmp_path / "matpes/demo-mlip-not-DFT.json.gz").read_bytes()))
    assert {document["functional"] for document in documents} == {"mlip-not-DFT"}


def test_such_a_label_under_a_level_of_dft_is_found(labelled):
    row, *_ = read_table(labelled / "dataset/mlip/part-00000.parquet", "dataset").to_pylist()
    check = RowCheck("pbe", [row["level_fingerprint"]], {}, {"limit": 1.0, "then": "quarantine"})
    assert list(check({**row, "level": "pbe"})) == [
        "its settings are those of mlip: labels of a potential, which are not DFT"
    ]


def test_a_label_is_explained_and_given_again_to_the_last_digit(labelled, tmp_path, monkeypatch, capsys):
    name = next(pesatlas.open(labelled).atoms("mlip")).info["snapshot_id"]
    told = dict(explain(pesatlas.open(labelled), name)[-1][1])
    assert "machine-learning potential" in told["calculation"]
    reproduce(name, labelled, tmp_path / "again", Console(quiet=True))
    monkeypatch.chdir(tmp_path / "again/mlip")
    runpy.run_path("calculate.py")
    runpy.run_path("compare.py")
    lines = capsys.readouterr().out.splitlines()
    assert [float(line.split()[-1]) for line in lines] == [0.0] * 4
