"""Of a frame that was not picked, the story tells which cause it was."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

import pesatlas
from pesatlas.atoms.geometry import geometry_digest
from pesatlas.campaign.layout import below
from pesatlas.dataset.explain import explain
from pesatlas.tables import write_table

NAME = "NaCl-2:unit:300K-0GPa:0000150"
TWIN = "NaCl-2:unit:300K-0GPa:0000100"


def why(results, name=NAME):
    story = dict(explain(pesatlas.open(results), name))
    assert list(story) == ["source crystal", "snapshot", "selection"]
    return dict(story["selection"])["not picked, so not labelled"]


def change(path, table, name, **values):
    """Change a row, and return it."""
    rows = pq.read_table(path).to_pylist()
    (row,) = [row for row in rows if row["snapshot_id"] == name]
    row.update(values)
    write_table(path, table, rows, "s")
    return row


def snapshot(results, name):
    return change(below(results, "snapshots", batch=0), "snapshots", name)


def counts(results, **values):
    """Change what the selection counted."""
    manifest = json.loads(below(results, "manifest").read_text())
    (entry,) = [entry for entry in manifest["files"] if entry["table"] == "selection"]
    entry["counts"] = {"pool": 6, "selected": 4} | values
    below(results, "manifest").write_text(json.dumps(manifest))


def candidate(results, *rows):
    """Write the table of candidates: these frames."""
    frames = [
        {
            **{key: row[key] for key in ("snapshot_id", "structure_id", "domain", "n_atoms")},
            "equilibrium": row["condition"] == "equilibrium",
            "geometry": bytes.fromhex(
                geometry_digest(
                    np.array(row["numbers"]), np.array(row["cell_A"]), np.array(row["positions_A"])
                )
            ),
            "structure_cluster": 0,
            "atom_clusters": [0],
            "structure_pcs": [0.0, 0.0],
            "centre_distance": 0.0,
            "shard": "00000.parquet",
            "row": 0,
        }
        for row in rows
    ]
    write_table(below(results, "candidates", group=0), "candidates", frames, "s")


def test_two_atoms_were_too_close(finished):
    change(finished / "snapshots/00000.parquet", "snapshots", NAME, min_distance_A=0.65)
    assert why(finished) == "too_close: two atoms are 0.650 Å apart, select.min_distance_A is 0.7"


@pytest.mark.parametrize(
    ("column", "value"), [("mlip_energy_eV", float("nan")), ("mlip_stress_eV_per_A3", [float("inf")] * 6)]
)
def test_the_potential_gave_no_finite_number(finished, column, value):
    change(finished / "snapshots/00000.parquet", "snapshots", NAME, **{column: value, "min_distance_A": 0.1})
    assert why(finished).startswith(f"not_finite: {column} ")


def test_the_encoder_gave_no_finite_features(finished):
    change(finished / "select/clusters/00000.parquet", "clusters", NAME, structure_cluster=-1)
    assert why(finished).startswith("not_finite: the encoder")


def test_another_frame_of_the_crystal_has_the_same_geometry(finished):
    twin = snapshot(finished, TWIN)
    change(finished / "snapshots/00000.parquet", "snapshots", NAME, positions_A=twin["positions_A"])
    assert why(finished) == f"duplicate: the same geometry as {TWIN}, which represents both"
    assert why(finished, TWIN).startswith("redundant")  # it is the one that stands for both


def test_a_candidate_of_another_crystal_has_the_same_geometry(finished):
    row = snapshot(finished, NAME)
    candidate(finished, {**row, "snapshot_id": "ZZ:unit:equilibrium:0", "condition": "equilibrium"})
    assert why(finished).startswith("duplicate: the same geometry as ZZ:unit:equilibrium:0")
    candidate(finished, {**row, "snapshot_id": "ZZ:unit:300K-0GPa:0"})  # met later: it is the duplicate
    assert why(finished).startswith("redundant")


def test_the_reference_knows_it(finished):
    row = snapshot(finished, NAME)
    frames = [snapshot(finished, TWIN), {**row, "snapshot_id": "theirs:given:given:7"}]
    write_table(finished / "snapshots/reference.parquet", "snapshots", frames, "s")
    assert why(finished) == "known: select.reference has the same geometry (theirs:given:given:7)"


def test_the_policy_did_not_need_it_or_the_target_came_first(finished):
    row = snapshot(finished, NAME)
    late = "over_target: it comes after the 4 picks that select.target (4) allows"
    spared = "redundant: policy matpes did not need it"
    counts(finished, redundant=2, over_target=0)
    assert why(finished).startswith(spared)
    counts(finished, redundant=0, over_target=2)
    candidate(finished, row)
    assert why(finished) == late
    counts(finished, redundant=1, over_target=1)
    assert why(finished).startswith(f"{late} (1 frames do), or {spared}")
    candidate(finished)  # never offered to the policy
    assert why(finished).startswith(spared)
