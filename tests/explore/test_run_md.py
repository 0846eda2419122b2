"""The whole of `run_md` with a real potential, as a job calls it."""

import numpy as np

from exploring import structure_row
from pesatlas.config.campaign_info import CampaignInfo
from pesatlas.config.explore import Explore
from pesatlas.explore.explore_batch import run_md
from pesatlas.tables import check_entry, read_table, write_table

FCC = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
AMBIENT = ((300.0, 0.0),)


def test_rock_salt_and_silicon_by_chgnet(tmp_path):
    silicon = (np.array([14, 14]), FCC * 5.47, np.array([[0, 0, 0], [0.25, 0.25, 0.25]]) * 5.47)
    salt = (np.array([11, 17]), FCC * 5.69, np.array([[0, 0, 0], [0.5, 0.5, 0.5]]) * 5.69)
    copper = (np.array([29]), FCC * 3.61, np.zeros((1, 3)))
    rows = [
        structure_row(name, each, conditions=AMBIENT)
        for name, each in (("Si", silicon), ("NaCl", salt), ("Cu", copper))
    ]
    write_table(tmp_path / "structures.parquet", "structures", rows, "test")
    run_md(
        Explore(length_ps=0.06, frame_interval_ps=0.02),
        CampaignInfo(name="test", seed=1, store=str(tmp_path / "store")),
        batch=0,
        structures=tmp_path / "structures.parquet",
        snapshots=tmp_path / "snapshots.parquet",
        failures=tmp_path / "failures.parquet",
        work=tmp_path / "work",
    )
    assert read_table(tmp_path / "failures.parquet", "failures").num_rows == 0
    counts = check_entry(tmp_path / "snapshots.parquet").counts
    assert (counts["trajectories_finished"], counts["frames"], counts["equilibrium"]) == (3, 9, 3)
    found = read_table(tmp_path / "snapshots.parquet", "snapshots").to_pylist()
    assert {row["potential"] for row in found} == {"chgnet/0.3.0"}
    still = {row["structure_id"]: row for row in found if row["condition"] == "equilibrium"}
    # per atom, as published by the potential's authors for MP's Si, NaCl and Cu (with MP's corrections)
    assert abs(still["Si"]["mlip_energy_eV"] / 2 + 5.3) < 0.15
    assert abs(still["Cu"]["mlip_energy_eV"] + 4.1) < 0.15
    for row in found:
        assert row["mlip_max_force_eV_per_A"] < 3
        assert row["min_distance_A"] > 1.9
        if row["step"]:
            assert (row["instant_temperature_K"] is None) == (row["structure_id"] == "Cu")
