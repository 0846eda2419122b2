"""A finished campaign made of tables alone: two crystals, a harmonic 'surface', both levels."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from collecting import collect
from pesatlas.campaign.layout import below
from pesatlas.config.dataset import Dataset
from pesatlas.levels.level import Level
from pesatlas.tables import write_table

GEOMETRY = {"n_atoms": 2, "numbers": [11, 17], "cell_A": [4.0, 0, 0, 0, 4.0, 0, 0, 0, 4.0]}
SOURCE = {"source": "test", "code_version": "0"}
POTENTIAL = {"potential": "harmonic/1", "potential_hash": "h"}
LEVELS = ("pbe", "r2scan")
SHIFT = {"pbe": 0.0, "r2scan": -3.0}
ATOM = {"Na": -1.0, "Cl": -2.0}
CHARGES = {
    "bader_charges_e": [6.14, 7.86],
    "bader_net_charges_e": [0.86, -0.86],
    "bader_magmoms_muB": [0.25, -0.5],
    "bader_method": "test",
    "bader_missing": None,
}


class CampaignOfTables:
    """Stands for the parts of a Campaign that collecting reads."""

    def __init__(self):
        self.campaign = SimpleNamespace(name="test", seed=7)
        self.label = SimpleNamespace(levels=LEVELS)
        self.dataset = Dataset()
        self.round = None

    def identity(self):
        return {"test": 1}

    def model_dump(self, mode):
        return {
            "dataset": self.dataset.model_dump(mode=mode),
            "label": {"backend": {"kind": "test"}},
            "encode": {"encoder": {"kind": "chgnet"}},
            "select": {"target": 4, "min_distance_A": 0.7, "policy": {"kind": "matpes"}},
        }


FUNCTIONALS = {"pbe": "PBE", "r2scan": "MGGA_X_R2SCAN+MGGA_C_R2SCAN"}
DEFINITIONS = {
    level: Level(
        name=level,
        code={"double": "1.2.3", "library": "4.0"},
        functional=FUNCTIONALS[level],
        settings={"cutoff_eV": 400.0},
        pseudopotentials="paw",
    )
    for level in LEVELS
}
METADATA = {"pesatlas.levels": json.dumps({d.fingerprint: d.identity() for d in DEFINITIONS.values()})}


def _measured(of, picks, distance):
    """A row of table quality."""
    row = {"of": of, "picks": picks, "cost_atoms3": 8.0 * picks, "gain_per_1000_labels": distance / 10}
    for what in ("structures", "atoms"):
        distance *= 2
        row |= {f"fill_mean_{what}": distance, f"fill_p99_{what}": 3 * distance}
        row |= {f"fill_max_{what}": 4 * distance, f"coverage_{what}": 1 - distance / 8}
    return row


QUALITY = [
    _measured(*row) for row in (("picks", 1, 1.0), ("picks", 4, 0.5), ("random", 1, 1.5), ("random", 4, 1.25))
]


def stress_of(row):
    """Some stress that depends on the frame, as that of the potential does too."""
    x, y, z = np.asarray(row["positions_A"][3:]) - 2
    return [0.1 * x, 0.1 * y, 0.1 * z, 0.05 * y * z, 0.05 * x * z, 0.05 * x * y]


def frame(structure, step, rng):
    return {
        **GEOMETRY,
        **SOURCE,
        "snapshot_id": f"{structure}:unit:300K-0GPa:{step:07d}",
        "structure_id": structure,
        "variant": "unit",
        "domain": "bulk",
        "condition": "300K-0GPa",
        "ensemble": "NpT",
        "temperature_K": 300.0,
        "pressure_GPa": 0.0,
        "step": step,
        "positions_A": [0.0, 0, 0, *(2 + 0.1 * rng.standard_normal(3))],
    }


def label(row, level):
    pull = -np.asarray(row["positions_A"][3:]) + 2
    energy = 0.5 * float(pull @ pull) - 6 + SHIFT[level]
    stress = stress_of(row)
    return {
        **row,
        **POTENTIAL,
        "level": level,
        "level_fingerprint": DEFINITIONS[level].fingerprint,
        "energy_eV": energy,
        "free_energy_eV": energy,
        "forces_eV_per_A": [*(-pull), *pull],
        "stress_eV_per_A3": stress,
        "scf_steps": 5,
        "converged": True,
        "corrections": "[]",
        "code": "test",
        "pseudopotentials": "{}",
        "settings": json.dumps({"functional": FUNCTIONALS[level], "max_iterations": 50}),
        "wall_s": 1.0,
        **(CHARGES if level == "pbe" else {"bader_missing": "no density"}),
        "verdict": "accepted",
        "verdict_rules": "[]",
        "label_key": f"{row['snapshot_id']}{level}",
    }


@pytest.fixture
def campaign():
    return CampaignOfTables()


@pytest.fixture
def tables(tmp_path):
    """Write the tables of every stage before the dataset; return (results, label files, label rows)."""
    return _write_tables(tmp_path / "results")


def _write_tables(results, crystals=("NaCl", "NaCl-2"), steps=(50, 100, 150)):
    """Write six frames; the first four are picked and labelled."""
    rng = np.random.default_rng(3)
    rows = [frame(structure, step, rng) for structure in crystals for step in steps]
    count = len(crystals)
    cells = [
        {
            **GEOMETRY,
            **SOURCE,
            "structure_id": s,
            "variant": "unit",
            "domain": "bulk",
            "positions_A": [0.0, 0, 0, 2, 2, 2],
            "formula": "NaCl",
            "conditions": [],
            "batch": 0,
            "warnings": [],
        }
        for s in crystals
    ]
    structures = {"sources_read": count + 1, "accepted": count, "failed": 1, "cells": count}
    structures |= {"trajectories": count, "batches": 1}
    write_table(below(results, "structures"), "structures", cells, "s", structures)
    failure = {
        "stage": "structures",
        "key": "x",
        "structure_id": "x",
        "level": None,
        "reason": "unreadable",
        "detail": "",
        "attempts": 1,
        "code_version": "0",
    }
    write_table(below(results, "structure_failures"), "failures", [failure], "s")
    for name in ("atoms", "explore/00000", "label/00000", "label/00001"):
        write_table(results / f"failures/{name}.parquet", "failures", [], "s")
    extra = {
        "time_fs": 0.0,
        "mlip_energy_eV": -6.0,
        "mlip_max_force_eV_per_A": 0.1,
        "min_distance_A": 2.0,
    }
    explored = {
        "structures": count,
        "trajectories": count,
        "trajectories_finished": count,
        "trajectories_failed": 0,
        "frames": 6,
        "equilibrium": 0,
        "equilibrium_failed": 0,
    }
    write_table(
        below(results, "snapshots", batch=0),
        "snapshots",
        [{**r, **extra, **POTENTIAL, "mlip_stress_eV_per_A3": stress_of(r)} for r in rows],
        "s",
        explored,
    )
    features = [
        {
            "snapshot_id": r["snapshot_id"],
            "n_atoms": 2,
            "structure_features": [0.5],
            "atom_features": [0.5, 0.5],
        }
        for r in rows
    ]
    encoder = {"pesatlas.encoder": "test/1", "pesatlas.encoder_hash": "e" * 64}
    write_table(below(results, "features", batch=0), "features", features, "s", metadata=encoder)
    clusters = [
        {
            "snapshot_id": r["snapshot_id"],
            "structure_cluster": 0,
            "atom_clusters": [0, 0],
            "structure_pcs": [0.0, 0.0],
            "centre_distance": 0.0,
        }
        for r in rows
    ]
    write_table(below(results, "clusters", group=0), "clusters", clusters, "s")
    write_table(below(results, "candidates", group=0), "candidates", [], "s")
    write_table(below(results, "quality"), "quality", QUALITY, "s")
    picked = {
        "policy": "test",
        "reason": "test",
        "structure_cluster": 0,
        "atom_clusters": 1,
        "novelty": 1.0,
        "mlip_energy_eV": -6.0,
    }
    picks = [{**r, **picked, **POTENTIAL, "rank": i, "batch": i // 2} for i, r in enumerate(rows[:4])]
    write_table(
        below(results, "selection"), "selection", picks, "s", {"pool": 6, "selected": 4, "redundant": 2}
    )
    atoms = [
        {
            **{
                k: v
                for k, v in label(rows[0], level).items()
                if k not in rows[0] and k not in POTENTIAL and not k.startswith("verdict")
            },
            "forces_eV_per_A": [0.0] * 3,
            "element": element,
            "energy_eV": energy,
            "code_version": "0",
        }
        for level in LEVELS
        for element, energy in ATOM.items()
    ]
    write_table(below(results, "atoms"), "atoms", atoms, "s", metadata=METADATA)
    labels = [label(row, level) for row in rows[:4] for level in LEVELS]
    files = _write_labels(results, labels)
    return results, files, labels


def _write_labels(results, labels, failed=None, metadata=None):
    """Write two batches of labels with the counts that belong to them."""
    files = []
    for batch in (0, 1):
        part = labels[4 * batch : 4 * batch + 4]
        counts = {
            "selected": 2,
            **{f"labelled_{level}": sum(r["level"] == level for r in part) for level in LEVELS},
        }
        counts |= {f"failed_{level}": (failed or {}).get(batch, {}).get(level, 0) for level in LEVELS}
        files.append(below(results, "labels", batch=batch))
        write_table(files[-1], "labels", part, "s", counts, metadata or METADATA)
    return files


@pytest.fixture
def write_labels():
    return _write_labels


@pytest.fixture(scope="session")
def write_tables():
    return _write_tables


@pytest.fixture
def finished(campaign, tables):
    """Return the results of a finished campaign."""
    results, files, _ = tables
    collect(campaign, results, files)
    return results


@pytest.fixture
def definitions():
    return DEFINITIONS


@pytest.fixture
def older():
    """Return the results of a small campaign as schema version 1 wrote them."""
    return Path(__file__).parent / "schema_1"
