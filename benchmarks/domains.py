"""Every domain on two crystals through a whole campaign; the ready campaigns scaled down.

One cell of each domain by DFT.

    python benchmarks/domains.py explore FOLDER       every domain on MgO and Al, or on MoS2 and WS2 where
    layers are wanted python benchmarks/domains.py campaign FOLDER hydrides|monolayers|battery python
    benchmarks/domains.py label FOLDER [--seconds 600]    the smallest cell of each domain of `explore`, GPAW
    at PBE, coarse

The first two run `pesatlas run` with chgnet, from structures to report, with chgnet's own energies for labels
(level mlip: nothing here is about DFT), a few steps of dynamics and small cells, and print what became of
each domain. The third makes real labels of what the first explored.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pesatlas.campaign.domain_summary import count_by_domain, format_losses
from pesatlas.campaign.finished import read_campaign_manifest
from pesatlas.campaign.layout import RESULTS, numbered
from pesatlas.config import plugins
from pesatlas.config.presets import preset
from pesatlas.label.backend import Failed, Task, Workdir
from pesatlas.levels import gpaw as levels
from pesatlas.tables import read_table

SMALL = {"min_length_A": 4.0, "max_atoms": 16}
FLAT = {"min_length_A": 4.0, "max_atoms": 24}
SLAB = {"miller": [[1, 0, 0], [1, 1, 1]], "max_terminations": 1, "thickness_A": 4.0, "supercell": FLAT}
DOMAINS: list[dict[str, Any]] = [
    {"kind": "bulk", "supercell": None},
    {"kind": "compressed", "supercell": SMALL, "pressures_GPa": [20.0, 100.0, 300.0]},
    {"kind": "hot", "supercell": SMALL, "temperatures_K": [1000.0, 4000.0]},
    {"kind": "liquid", "supercell": SMALL, "melt_ps": 0.02, "cool_ps": 0.02},
    {"kind": "amorphous", "supercell": SMALL, "melt_ps": 0.02, "quench_ps": 0.04, "anneal_ps": 0.02},
    {"kind": "strained", "modes": ["volume", "xx", "xy"], "magnitudes": [-0.05, 0.05]},
    {"kind": "rattled", "supercell": SMALL, "copies": 1},
    {"kind": "vacancy", "supercell": SMALL},
    {"kind": "interstitial", "supercell": SMALL},
    {"kind": "substitution", "supercell": SMALL},
    {"kind": "transition", "supercell": SMALL, "images": 3},
    {"kind": "surface", **SLAB},
    {"kind": "adsorbate", **SLAB, "adsorbates": ["H"]},
    {"kind": "layered", "supercell": None, "spacings_A": [-0.3, 1.0, 4.0]},
    {"kind": "monolayer", "supercell": FLAT, "vacuum_A": 10.0, "vacancies": True},
    {"kind": "grain_boundary", "boundaries": ["tilt", "twist"]},
]
SHORT = {"length_ps": 0.04, "frame_interval_ps": 0.02, "structures_per_job": 60}
LABELS = {
    "backend": {"kind": "mlip", "potential": {"kind": "chgnet"}},
    "levels": ["mlip"],
    "structures_per_job": 40,
}


def run(folder: Path, configuration: dict[str, Any]) -> None:
    """Run a campaign in ``folder`` and print what became of its domains."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "pesatlas.cli.main", "run"], cwd=folder, check=True)
    results = folder / RESULTS
    print(f"\n{time.monotonic() - started:.0f} s\n")
    print(
        "| domain | cells | frames | left_sites | picks | share of cost | rows | lost "
        "|\n|---|---|---|---|---|---|---|---|"
    )
    for row in count_by_domain(results, read_campaign_manifest(results)):
        counts = " | ".join(str(row[name]) for name in ("cells", "frames", "left_sites", "picks"))
        rows = sum(row["rows"].values())
        print(f"| {row['domain']} | {counts} | {row['cost_share']:.1%} | {rows} | {format_losses(row)} |")


def explore(folder: Path) -> None:
    """Run every domain."""
    kinds = [each["kind"] for each in DOMAINS]
    run(
        folder,
        {
            "campaign": {"name": "domains"},
            "structures": {
                "sources": [{"kind": "demo", "names": ["MgO", "Al", "MoS2", "WS2"]}],
                "domains": DOMAINS,
                "max_atoms": 80,
            },
            "explore": {"potential": {"kind": "chgnet"}, **SHORT},
            "encode": {"encoder": {"kind": "chgnet"}},
            "select": {
                "target": 120,
                "quotas": {kind: 0.05 for kind in kinds if kind != "bulk"},
                "structure": {"threshold": 0.05},
                "atoms": {"threshold": 0.05},
            },
            "label": LABELS,
            "dataset": {"exports": {"formats": ["extxyz"]}},
        },
    )


def campaign(folder: Path, name: str) -> None:
    """Run a ready campaign scaled down: cells, trajectories and target small, and no DFT."""
    ready = preset(name)[0]
    values = ready.model_dump(mode="json")
    for domain in values["structures"]["domains"]:
        if domain.get("supercell"):
            domain["supercell"] = {"min_length_A": 3.0, "max_atoms": 24}
    step_ps = ready.explore.longest_timestep_fs / 1000
    values["explore"] |= {
        "length_ps": 10 * step_ps,
        "frame_interval_ps": 5 * step_ps,
        "structures_per_job": 60,
    }
    values["select"]["target"] = 40
    values["select"] |= {"structure": {"threshold": 0.05}, "atoms": {"threshold": 0.05}}
    run(folder, values | {"label": LABELS})


def label(folder: Path, seconds: float) -> None:
    """Label one frame of each domain: of the smallest cell, and of those the first."""
    rows: dict[str, dict[str, Any]] = {}
    for path in numbered(folder / RESULTS, "snapshots"):
        for row in read_table(path, "snapshots").to_pylist():
            best = rows.get(row["domain"])
            if row["condition"] != "equilibrium" and (best is None or row["n_atoms"] < best["n_atoms"]):
                rows[row["domain"]] = row
    backend = plugins.find("pesatlas.label.backends", "gpaw")
    options = backend.Options(quality="demo")
    level = levels.levels(options, ["pbe"])["pbe"]
    print(
        "| domain | snapshot | atoms | SCF steps | energy (eV/atom) | largest force (eV/Å) | s "
        "|\n|---|---|---|---|---|---|---|",
        flush=True,
    )
    for name, row in sorted(rows.items(), key=lambda item: item[1]["n_atoms"]):
        task = Task(
            np.array(row["numbers"]),
            np.reshape(row["cell_A"], (3, 3)),
            np.reshape(row["positions_A"], (-1, 3)),
            level,
        )
        with tempfile.TemporaryDirectory() as scratch:
            place = [Path(scratch) / part for part in ("scratch", "keep", "handover")]
            for each in place:
                each.mkdir()
            started = time.monotonic()
            found = backend.calculate(task, options, Workdir(*place, timeout_s=seconds))
        spent = time.monotonic() - started
        said = f"| {name} | {row['snapshot_id']} | {row['n_atoms']} |"
        if isinstance(found, Failed):
            print(f"{said} {found.reason.value}: {found.detail} | | | {spent:.0f} |", flush=True)
        else:
            force = np.linalg.norm(found.forces_eV_per_A, axis=1).max()
            energy = found.energy_eV / row["n_atoms"]
            print(f"{said} {found.scf_steps} | {energy:.3f} | {force:.2f} | {spent:.0f} |", flush=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["explore", "campaign", "label"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("name", nargs="?", choices=["hydrides", "monolayers", "battery"])
    parser.add_argument("--seconds", type=float, default=600, help="longest time for a label")
    given = parser.parse_args()
    if given.what == "explore":
        explore(given.folder)
    elif given.what == "label":
        label(given.folder, given.seconds)
    elif given.name is None:
        parser.error("campaign needs a name")
    else:
        campaign(given.folder, given.name)


if __name__ == "__main__":
    main()
