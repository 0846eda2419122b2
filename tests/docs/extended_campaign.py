"""A campaign with the extensions of docs/extending.md, stage by stage, in the current folder: what came of
it is in found.json.

Run by test_extending.py in a process of its own, which finds the package of these extensions.
"""

import json
from pathlib import Path

from pesatlas.campaign.load import read_campaign
from pesatlas.cli.select import _run_stage
from pesatlas.explore.explore_batch import run_md
from pesatlas.label.batch import label_batch
from pesatlas.structures.prepare import prepare_structures
from pesatlas.tables import read_table

here = Path()
campaign = read_campaign(here / "config.yaml")
prepare_structures(campaign, here / "structures.parquet", here / "failures.parquet")
run_md(campaign, 0, here / "structures.parquet", here / "pool.parquet", here / "md-failures.parquet", here)
_run_stage(campaign, here, known=False)
label_batch(
    campaign, 0, here / "selection.parquet", here / "labels.parquet", here / "label-failures.parquet", here
)
found = {
    name: read_table(here / f"{file}.parquet", name).to_pylist()
    for name, file in (
        ("structures", "structures"),
        ("snapshots", "pool"),
        ("clusters", "pool.clusters"),
        ("selection", "selection"),
        ("labels", "labels"),
        ("failures", "label-failures"),
    )
}
(here / "found.json").write_text(json.dumps(found))
