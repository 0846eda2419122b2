"""Section ``round``: the chain of rounds before, and what is said when a link of it is not what it was."""

import json

import pytest

from pesatlas.campaign.layout import below
from pesatlas.campaign.rounds import datasets_before
from pesatlas.config.round import Round
from pesatlas.errors import UserError
from pesatlas.tables.manifest import sha256_of

COMMITTEE = [{"kind": "chgnet", "version": version} for version in ("0.2.0", "0.3.0")]


@pytest.fixture
def chain(tmp_path):
    """Rounds 1 and 2, finished, side by side; return section ``round`` of the third."""
    before = None
    for number in (1, 2):
        results = tmp_path / f"round-{number}" / "results"
        results.mkdir(parents=True)
        about = before and {"number": number, "previous": f"../round-{number - 1}", "manifest_sha256": before}
        manifest = {"campaign": "x", "files": [], "levels": ["pbe", "r2scan"], "label_batches": 1}
        path = below(results, "manifest")
        path.write_text(json.dumps(manifest | {"configuration": {"round": about}}))
        before = sha256_of(path)
    return {
        "number": 3,
        "previous": tmp_path / "round-2",
        "manifest_sha256": before,
        "committee": COMMITTEE,
    }


def test_the_datasets_of_all_rounds_before_are_found_from_anywhere(chain, tmp_path, monkeypatch):
    expected = [tmp_path / f"round-{n}/results/dataset/r2scan/part-00000.parquet" for n in (2, 1)]
    found = datasets_before(Round.model_validate(chain), "r2scan")
    assert [path.resolve() for path in found] == expected
    # a level that they do not have: their first
    assert {path.parent.name for path in datasets_before(Round.model_validate(chain), "mlip")} == {"pbe"}
    # relative paths start in the working directory, those of earlier rounds in the folder of the campaign
    (tmp_path / "round-3").mkdir()
    monkeypatch.chdir(tmp_path / "round-3")
    found = datasets_before(Round.model_validate(chain | {"previous": "../round-2"}), "r2scan")
    assert [path.resolve() for path in found] == expected


@pytest.mark.parametrize("number", [1, 2])
def test_a_change_anywhere_in_the_chain_is_seen(chain, tmp_path, number):
    manifest = tmp_path / f"round-{number}/results/manifest.json"
    manifest.write_text(manifest.read_text() + " ")
    with pytest.raises(UserError, match=f"has changed since round {number + 1} was written"):
        datasets_before(Round.model_validate(chain), "pbe")


def test_without_a_checksum_whatever_is_there_is_taken(chain, tmp_path):
    manifest = tmp_path / "round-2/results/manifest.json"
    manifest.write_text(manifest.read_text() + " ")
    assert len(datasets_before(Round.model_validate(chain | {"manifest_sha256": None}), "pbe")) == 2


def test_another_number_and_a_round_that_has_not_finished_are_refused(chain, tmp_path):
    with pytest.raises(UserError, match="is round 2, so the next round is 3, not 2"):
        datasets_before(Round.model_validate(chain | {"number": 2}), "pbe")
    (tmp_path / "round-1/results/manifest.json").unlink()
    with pytest.raises(UserError, match="no finished campaign"):
        datasets_before(Round.model_validate(chain), "pbe")
