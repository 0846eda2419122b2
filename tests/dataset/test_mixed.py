"""Tables of two configurations, or of a selection that is another by now, become no dataset."""

import json

import pytest

from collecting import collect
from pesatlas.campaign.layout import below
from pesatlas.dataset.verify import verify
from pesatlas.errors import UserError
from pesatlas.tables.manifest import entry_path, table_fingerprint


def tell(path, **values):
    entry = json.loads(entry_path(path).read_text())
    entry_path(path).write_text(json.dumps(entry | values))


def test_batches_of_two_configurations_are_refused_and_named(campaign, tables):
    results, files, _ = tables
    seeds = {"campaign.seed": campaign.campaign.seed}
    tell(files[0], made_with=seeds)
    tell(files[1], made_with={"campaign.seed": 8})
    with pytest.raises(
        UserError, match=r"labels/00001\.parquet: campaign\.seed was 8, is 7\. `pesatlas run`"
    ):
        collect(campaign, results, files)
    assert not below(results, "manifest").exists()
    tell(files[1], made_with=seeds)
    collect(campaign, results, files)
    assert below(results, "manifest").exists()


def test_labels_of_another_selection_are_refused(campaign, tables):
    results, files, _ = tables
    selection = {"results/selection.parquet": table_fingerprint(below(results, "selection"))}
    tell(files[0], made_of=selection)
    collect(campaign, results, files)
    tell(files[0], made_of={"results/selection.parquet": "0" * 16})
    with pytest.raises(UserError, match=r"selection\.parquet differs from the one that it was made from"):
        collect(campaign, results, files)


def test_a_card_of_another_dataset_is_found_by_verify(finished):
    assert verify(finished) == []
    state = json.loads((finished / "manifest.json").read_text())["state"]
    (finished / "card.json").write_text(f'{{"identifier": "pesatlas-dataset-{state}"}}')
    assert verify(finished) == []
    (finished / "card.json").write_text('{"identifier": "pesatlas-dataset-0000000000000000"}')
    (found,) = verify(finished)
    assert "card.json: describes another state of the dataset than manifest.json" in found
