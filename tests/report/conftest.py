"""Reports of finished campaigns: a small one at two levels, and one of thousands of labels."""

import json
import shutil
from pathlib import Path

import pytest
from synthetic_campaign import Campaign

from pesatlas.campaign.layout import below
from pesatlas.tables import SCHEMAS, read_entry, read_table, write_table
from report_pages import built

SMALL = Path(__file__).parents[1] / "dataset" / "schema_2"


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """Four snapshots at two levels; the potential's forces are eight tenths of the label's."""
    results = tmp_path_factory.mktemp("small") / "results"
    shutil.copytree(SMALL, results)
    rows = [
        {name: row[name] for name in ("snapshot_id", "structure_id", "domain", "n_atoms", "numbers")}
        | {
            "mlip_energy_eV": 0.9 * row["energy_eV"],
            "mlip_forces_eV_per_A": [0.8 * force for force in row["forces_eV_per_A"]],
            "mlip_stress_eV_per_A3": row["stress_eV_per_A3"],
            "potential": "test",
            "potential_hash": "-",
            "code_version": "-",
        }
        for row in read_table(below(results, "dataset", level="pbe"), "dataset").to_pylist()
    ]
    assert set(rows[0]) <= set(SCHEMAS["parity"].names)
    write_table(below(results, "parity"), "parity", rows, "test")
    cells = read_table(below(results, "structures"), "structures").to_pylist()
    told = {cells[0]["structure_id"]: ["own.cif: deuterium (D) is read as hydrogen"]}
    cells = [cell | {"warnings": told.get(cell["structure_id"], [])} for cell in cells]
    counts = read_entry(below(results, "structures")).counts
    write_table(below(results, "structures"), "structures", cells, "test", counts)
    # which manifests did not list when this folder was written
    manifest = json.loads(below(results, "manifest").read_text())
    quality = below(results, "quality")
    manifest["files"].append(vars(read_entry(quality)) | {"file": "select/quality.parquet"})
    below(results, "manifest").write_text(json.dumps(manifest))
    return built(results)


@pytest.fixture(scope="session")
def large(tmp_path_factory):
    """5,000 picks of 10,000 snapshots, at the level of a potential."""
    results = tmp_path_factory.mktemp("large") / "results"
    Campaign(results, 5000).write()
    return built(results)
