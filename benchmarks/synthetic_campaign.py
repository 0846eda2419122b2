"""The tables of a finished campaign of any size, made of random numbers.

For measuring and testing what reads them.

Crystals of two or three elements on random lattices; energies, forces and stresses have the spread of real
ones and mean nothing. The level is ``mlip``, so that nobody takes them for DFT.
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pesatlas.atoms.elements import reduced_formula
from pesatlas.campaign.layout import BATCHES_IN_GROUP, below, groups, within
from pesatlas.campaign.splits import chemical_system
from pesatlas.config.presets import preset
from pesatlas.dataset.chemistry import material_group
from pesatlas.tables import SCHEMAS, TableWriter, read_entry, write_table

PIECE = 5000
LEVEL = "mlip"
ELEMENTS = [
    3,
    5,
    6,
    7,
    8,
    9,
    11,
    12,
    13,
    14,
    15,
    16,
    17,
    19,
    20,
    22,
    24,
    26,
    28,
    29,
    30,
    31,
    33,
    34,
    38,
    47,
    50,
    56,
    82,
]
FRAMES = 20
"""Frames of each crystal in the pool; the first half of them are selected."""


def fill(table: str, count: int, known: dict[str, Any]) -> pa.Table:
    """Return ``count`` rows of a table with the columns ``known``.

    All others are null where they may be, or empty, or zero.
    """
    columns = []
    for field in SCHEMAS[table]:
        if field.name in known:
            columns.append(pa.array(known[field.name], field.type))
        elif field.nullable:
            columns.append(pa.nulls(count, field.type))
        elif pa.types.is_string(field.type):
            columns.append(pa.array(["-"] * count))
        elif pa.types.is_fixed_size_list(field.type):
            columns.append(pa.array([[0] * field.type.list_size] * count, field.type))
        elif pa.types.is_list(field.type):
            columns.append(pa.array([[]] * count, field.type))
        else:
            columns.append(pa.array(np.zeros(count, dtype=int)).cast(field.type))
    return pa.table(columns, schema=SCHEMAS[table])


class Campaign:
    """Writes the tables of ``rows`` labelled snapshots of a pool of twice as many below ``results``."""

    def __init__(self, results: Path, rows: int) -> None:
        self.results = results
        self.crystals = max(2 * rows // FRAMES, 2)
        self.batches = -(-self.crystals * FRAMES // PIECE)
        self.rng = np.random.default_rng(1)
        self.structures = [self._crystal(i) for i in range(self.crystals)]
        self.files: list[Path] = []

    def _crystal(self, i: int) -> dict[str, Any]:
        kinds = self.rng.choice(ELEMENTS, self.rng.integers(1, 4), replace=False)
        numbers = np.sort(self.rng.choice(kinds, self.rng.integers(2, 9))).tolist()
        edge = (len(numbers) * self.rng.uniform(9, 25)) ** (1 / 3)
        return {
            "structure_id": f"syn-{i}",
            "variant": "unit",
            "domain": ("bulk", "strained")[i % 2],
            "n_atoms": len(numbers),
            "numbers": numbers,
            "cell_A": (edge * np.eye(3) * self.rng.uniform(0.9, 1.1, 3)).ravel().tolist(),
            "positions_A": (edge * self.rng.random((len(numbers), 3))).ravel().tolist(),
            "formula": reduced_formula(numbers),
            "centre": self.rng.normal(size=2).tolist(),
            "depth": float(self.rng.uniform(-7, -2)),
        }

    def write(self) -> None:
        """Write every table that a report or a query reads, and the manifest.

        No more of them is held than a batch.
        """
        self._structures()
        failed: list[str] = []
        selected = 0
        with ExitStack() as stack:
            selection = self._open(stack, within("selection"), "selection")
            labels = self._open(stack, within("labels", batch=0), "labels")
            dataset = self._open(stack, within("dataset", level=LEVEL), "dataset")
            for group in groups(self.batches):
                first = BATCHES_IN_GROUP * int(group)
                with ExitStack() as inside:
                    clusters = self._open(inside, within("clusters", group=group), "clusters")
                    for batch in range(first, min(first + BATCHES_IN_GROUP, self.batches)):
                        frames = self._frames(batch)
                        clusters.write(self._columns("clusters", frames))
                        self._snapshots(batch, frames)
                        picks = [frame for frame in frames if frame["picked"]]
                        selected += len(picks)
                        selection.write(self._columns("selection", picks))
                        rows = self._dataset(picks)
                        dataset.write(rows)
                        labels.write(rows.select(SCHEMAS["labels"].names))
                        failed.append(picks[-1]["structure_id"])
                        if batch == 0:
                            self._parity(picks)
            pool = self.crystals * FRAMES
            selection.counts.update(pool=pool, selected=selected, redundant=pool - selected)
            labels.counts.update({f"labelled_{LEVEL}": labels.rows, f"failed_{LEVEL}": len(failed)})
            dataset.counts.update(accepted=dataset.rows, flagged=0)
        reasons = ["not_converged", "timeout"] * len(failed)
        self._failures(within("label_failures", batch=0), "label", reasons, failed, LEVEL)
        self._failures(within("explore_failures", batch=0), "explore", ["exploded_volume"], ["syn-0"])
        self._table(within("atoms"), "atoms", fill("atoms", 0, {}))
        self._table(within("quarantine", level=LEVEL), "dataset", fill("dataset", 0, {}))
        self._quality(selected)
        self._manifest(selected)

    def _structures(self) -> None:
        n = self.crystals
        names = [
            "structure_id",
            "variant",
            "domain",
            "n_atoms",
            "numbers",
            "cell_A",
            "positions_A",
            "formula",
        ]
        counts = {"accepted": n, "batches": self.batches, "cells": n, "failed": 2, "sources_read": n + 2}
        cells = fill("structures", n, {name: [each[name] for each in self.structures] for name in names})
        self._table(within("structures"), "structures", cells, counts | {"trajectories": n})
        reasons = ["duplicate", "overlapping_atoms"]
        self._failures(within("structure_failures"), "structures", reasons, ["x-1", "x-2"])

    def _snapshots(self, batch: int, frames: Sequence[dict[str, Any]]) -> None:
        trajectories, failed = len(frames) // FRAMES, int(batch == 0)
        counts = {
            "trajectories": trajectories,
            "trajectories_finished": trajectories - failed,
            "trajectories_failed": failed,
        }
        counts |= {"frames": len(frames), "equilibrium": 0}
        self._table(within("snapshots", batch=batch), "snapshots", self._columns("snapshots", frames), counts)

    def _frames(self, batch: int) -> list[dict[str, Any]]:
        """Return the frames of a batch, the same ones at every call."""
        per_batch = PIECE // FRAMES
        rng = np.random.default_rng(batch)
        found = []
        for crystal in self.structures[batch * per_batch : (batch + 1) * per_batch]:
            cell = np.array(crystal["cell_A"])
            for step in range(FRAMES):
                shift = 0.1 * rng.normal(size=3 * crystal["n_atoms"])
                found.append(
                    {
                        **crystal,
                        "snapshot_id": f"{crystal['structure_id']}:unit:300K-0GPa:{50 * step:07d}",
                        "condition": "300K-0GPa",
                        "ensemble": "NpT",
                        "temperature_K": 300.0,
                        "step": 50 * step,
                        "time_fs": 100.0 * step,
                        "instant_temperature_K": 300
                        * rng.chisquare(max(3 * crystal["n_atoms"] - 3, 1))
                        / max(3 * crystal["n_atoms"] - 3, 1),
                        "cell_A": (cell * (1 + 0.02 * rng.normal())).tolist(),
                        "positions_A": (np.array(crystal["positions_A"]) + shift).tolist(),
                        "structure_pcs": [*(np.array(crystal["centre"]) + 0.1 * rng.normal(size=2)), 0.0],
                        "picked": step % 2 == 0,
                        "forces": (2.0 * rng.normal(size=3 * crystal["n_atoms"])).tolist(),
                        "stress": (0.03 * rng.normal(size=6)).tolist(),
                        "energy": crystal["depth"] + 0.05 * rng.gamma(1.0),
                        "novelty": float(rng.gamma(2.0)),
                    }
                )
        return found

    def _columns(self, table: str, frames: Sequence[dict[str, Any]]) -> pa.Table:
        names = [name for name in SCHEMAS[table].names if frames and name in frames[0]]
        return fill(table, len(frames), {name: [frame[name] for frame in frames] for name in names})

    def _quality(self, selected: int) -> None:
        steps = np.unique(np.geomspace(1, selected, 12).astype(int))
        rows = []
        for of, factor in (("picks", 1.0), ("random", 1.6)):
            for step in steps:
                distance = factor * float(step) ** -0.4
                row = {"of": of, "picks": int(step), "cost_atoms3": float(step) * 200}
                for part in ("structures", "atoms"):
                    row |= {
                        f"fill_{name}_{part}": distance * k
                        for name, k in (("mean", 1), ("p99", 3), ("max", 6))
                    }
                    row[f"coverage_{part}"] = 1 - distance / 2
                rows.append(row | {"gain_per_1000_labels": min(0.4 * 1000 / (step + 1000), 0.9)})
        self._table(within("quality"), "quality", pa.Table.from_pylist(rows, schema=SCHEMAS["quality"]))

    def _dataset(self, frames: Sequence[dict[str, Any]]) -> pa.Table:
        """Return the labels of some picks; that of the last one failed."""
        frames = frames[:-1]
        forces = [np.reshape(frame["forces"], (-1, 3)) for frame in frames]
        sizes = [np.linalg.norm(each, axis=1) for each in forces]
        stresses = np.reshape([frame["stress"] for frame in frames], (-1, 6))
        names = [name for name in SCHEMAS["dataset"].names if frames and name in frames[0]]
        known = {name: [frame[name] for frame in frames] for name in names} | {
            "level": [LEVEL] * len(frames),
            "energy_eV": [frame["energy"] * frame["n_atoms"] for frame in frames],
            "free_energy_eV": [frame["energy"] * frame["n_atoms"] for frame in frames],
            "forces_eV_per_A": [each.ravel().tolist() for each in forces],
            "abs_forces_eV_per_A": [each.tolist() for each in sizes],
            "stress_eV_per_A3": stresses.tolist(),
            "cohesive_energy_eV_per_atom": [frame["energy"] for frame in frames],
            "max_force_eV_per_A": [float(each.max()) for each in sizes],
            "net_force_eV_per_A": np.abs(0.004 * self.rng.normal(size=len(frames))),
            "static_pressure_GPa": -160.2 * stresses[:, :3].mean(axis=1),
            "scf_steps": np.zeros(len(frames), int),
            "wall_s": [20.0 * frame["n_atoms"] ** 2.2 for frame in frames],
            "verdict": ["accepted"] * len(frames),
            "verdict_rules": ["[]"] * len(frames),
            "corrections": ["[]"] * len(frames),
            "converged": [True] * len(frames),
            "chemical_system": [chemical_system(frame["numbers"]) for frame in frames],
            "material_group": [material_group(frame["numbers"]) for frame in frames],
            "split": ["train"] * len(frames),
        }
        return fill("dataset", len(frames), known)

    def _parity(self, frames: Sequence[dict[str, Any]]) -> None:
        rows = [
            {name: frame[name] for name in ("snapshot_id", "structure_id", "domain", "n_atoms", "numbers")}
            | {
                "mlip_energy_eV": (0.9 * frame["energy"] + 0.02 * self.rng.normal()) * frame["n_atoms"],
                "mlip_forces_eV_per_A": (
                    0.8 * np.array(frame["forces"]) + 0.1 * self.rng.normal(size=len(frame["forces"]))
                ).tolist(),
                "mlip_stress_eV_per_A3": (0.8 * np.array(frame["stress"])).tolist(),
                "potential": "synthetic",
                "potential_hash": "-",
                "code_version": "-",
            }
            for frame in frames
        ]
        path = below(self.results, "parity")  # made from the dataset, so not in its manifest
        write_table(path, "parity", pa.Table.from_pylist(rows, schema=SCHEMAS["parity"]), "synthetic")

    def _failures(
        self, name: str, stage: str, reasons: list[str], keys: list[str], level: str | None = None
    ) -> None:
        count = len(keys)
        known = {
            "stage": [stage] * count,
            "key": keys,
            "structure_id": keys,
            "level": [level] * count,
            "reason": reasons[:count],
            "detail": ["made up"] * count,
            "attempts": [1] * count,
        }
        self._table(name, "failures", fill("failures", count, known))

    def _open(self, stack: ExitStack, name: str, table: str) -> TableWriter:
        self.files.append(self.results / name)
        return stack.enter_context(TableWriter(self.results / name, table, "synthetic"))

    def _table(self, name: str, table: str, rows: pa.Table, counts: dict[str, int] | None = None) -> None:
        self.files.append(self.results / name)
        write_table(self.results / name, table, rows, "synthetic", counts)

    def _manifest(self, selected: int) -> None:
        configuration = preset("demo")[0].model_dump(mode="json")
        configuration["label"] |= {
            "backend": {"kind": "mlip", "potential": {"kind": "chgnet", "version": "0.2.0"}, "device": "cpu"},
            "levels": [LEVEL],
        }
        manifest = {
            "campaign": "synthetic",
            "code_version": "-",
            "levels": [LEVEL],
            "label_batches": 1,
            "surfaces": {
                LEVEL: {
                    "fingerprints": ["-"],
                    "definition": {"code": {"machine-learning potential": "synthetic"}},
                    "differences": [],
                }
            },
            "references": {"atoms_eV": {}, "elements_eV_per_atom": {}, "median_level_gap_eV_per_atom": None},
            "configuration": configuration,
            "sums": [{"name": "selected", "total": selected, "parts": {"rows": selected}, "closes": True}],
            "files": [
                vars(read_entry(path)) | {"file": path.relative_to(self.results).as_posix()}
                for path in self.files
            ],
        }
        below(self.results, "manifest").write_text(json.dumps(manifest), encoding="utf-8")
