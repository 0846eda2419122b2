"""A campaign with the extensions of docs/extending.md, stage by stage, in the current folder: what came of
it is in found.json.

Run by test_extending.py in a process of its own, which finds the package of these extensions.
"""

import json
from pathlib import Path

from pesatlas.campaign.load import read_campaign
from pesatlas.cli.select import run_stage
from pesatlas.explore.explore_batch import run_md
from pesatlas.label.batch import label_batch
from pesatlas.structures.prepare import prepare_structures
from pesatlas.tables import read_table

here = Path()
campaign = read_campaign(here / "config.yaml")
structures = here / "structures.parquet"
prepare_structures(
    campaign.structures, campaign.explore, campaign.label.backend, structures, here / "failures.parquet"
)
run_md(
    campaign.explore,
    campaign.campaign,
    0,
    structures=structures,
    snapshots=here / "pool.parquet",
    failures=here / "md-failures.parquet",
    work=here,
)
run_stage(campaign, here, known=False)
label_batch(
    campaign.label,
    campaign.campaign,
    0,
    selection=here / "selection.parquet",
    labels=here / "labels.parquet",
    failures=here / "label-failures.parquet",
    work=here,
)
found = {
    name: read_table(here / f"{file}.parquet", name).to_pylist()
    for name, file in (
        ("structures", "structures"),
        ("snapshots", "pool"),
        ("clusters", "select/clusters/00000"),
        ("selection", "selection"),
        ("labels", "labels"),
        ("failures", "label-failures"),
    )
}
(here / "found.json").write_text(json.dumps(found))
