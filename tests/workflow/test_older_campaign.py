"""A campaign begun by an older version goes on: its trajectories and labels are found, not calculated again.

``older_campaign`` holds the configuration, and in ``finished`` the store, that commit 75e5051 left behind.
"""

import shutil
from pathlib import Path

import yaml

from kill_points import KilledCampaign
from pesatlas.label.backend import from_bytes, to_bytes
from pesatlas.storage.records import read_payload, records
from slurm_campaign import DOUBLE

OLDER = Path(__file__).parent / "older_campaign"


def payloads():
    for path in sorted((OLDER / "finished" / "labels").glob("*.ledger")):
        with path.open("rb") as handle:
            for record in records(handle):
                yield read_payload(handle.fileno(), record)


def test_records_of_labels_are_read_and_written_as_they_were():
    found = list(payloads())
    assert len(found) == 10
    assert [to_bytes(from_bytes(payload)) for payload in found] == found


def test_nothing_that_is_in_the_stores_is_calculated_again(tmp_path):
    campaign = KilledCampaign(tmp_path / "campaign")
    campaign.configuration = yaml.safe_load((OLDER / "config.yaml").read_text())
    campaign.change({"label.backend": DOUBLE})
    shutil.copytree(OLDER / "finished", campaign.path / "store")
    campaign.do("run")
    assert "all 2 trajectories and equilibrium crystals are in the store" in campaign.output
    assert not (campaign.path / "memory").exists()  # in which the double counts its calls
    campaign.do("verify")
    assert [len(campaign.dataset(level)) for level in ("pbe", "r2scan")] == [4, 3]
