"""TensorNet trained on frames labelled by a potential: its errors against baselines, and its use.

    python benchmarks/train.py FOLDER [--target 1600] [--epochs 40]

Writes a campaign into FOLDER and runs it: 36 salts of nine cations and eight anions in five structures, short
dynamics with chgnet 0.3.0 at three pressures, labels by chgnet 0.2.0 (level `mlip`, no DFT), splits by
crystal, training. Then a second campaign explores two crystals that were held out with the trained potential.
Run it again to go on. It prints errors on held-out salts.
"""

import argparse
import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml
from pymatgen.core import Lattice, Structure

from pesatlas.campaign.layout import path_of
from pesatlas.tables import read_table

# Shannon's crystal radii for six neighbours (Å): Acta Cryst. A 32, 751 (1976)
SALTS = (
    (
        {"Li": 0.90, "Na": 1.16, "K": 1.52, "Rb": 1.66, "Cs": 1.81},
        {"F": 1.19, "Cl": 1.67, "Br": 1.82, "I": 2.06},
    ),
    ({"Mg": 0.86, "Ca": 1.14, "Sr": 1.32, "Ba": 1.49}, {"O": 1.26, "S": 1.70, "Se": 1.84, "Te": 2.07}),
)
CARD = path_of("potential_card", level="mlip", seed=0)


def crystals(cation: str, anion: str, bond: float) -> dict[str, Structure]:
    """Return a salt in five structures.

    ``bond`` (Å) is for six neighbours, 3 % more for eight and 5 % less for four.
    """
    a, b, z = 2 * bond, 2 * 1.03 * bond / 3**0.5, 4 * 0.95 * bond / 3**0.5
    w, n = 0.95 * bond * (8 / 3) ** 0.5, bond * 2**0.5
    half, one = [[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]], [cation, anion]
    two = [cation, cation, anion, anion]
    sites = [[1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0.5], [1 / 3, 2 / 3, 0.375], [2 / 3, 1 / 3, 0.875]]
    layers = [[0, 0, 0], [0, 0, 0.5], [1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]]
    return {
        "rocksalt": Structure(Lattice(np.array(half) * a), one, [[0, 0, 0], [0.5, 0.5, 0.5]]),
        "cscl": Structure(Lattice.cubic(b), one, [[0, 0, 0], [0.5, 0.5, 0.5]]),
        "zincblende": Structure(Lattice(np.array(half) * z), one, [[0, 0, 0], [0.25, 0.25, 0.25]]),
        "wurtzite": Structure(Lattice.hexagonal(w, w * (8 / 3) ** 0.5), two, sites),
        "nias": Structure(Lattice.hexagonal(n, n * (8 / 3) ** 0.5), two, layers),
    }


def write_crystals(folder: Path) -> None:
    """Write every salt in every structure, bonds as long as the radii say."""
    folder.mkdir(parents=True, exist_ok=True)
    for cations, anions in SALTS:
        for (cation, small), (anion, large) in itertools.product(cations.items(), anions.items()):
            for name, crystal in crystals(cation, anion, small + large).items():
                crystal.to(str(folder / f"{cation}{anion}-{name}.json"))


def campaign(target: int, epochs: int) -> dict:
    """Return the configuration."""
    return {
        "campaign": {"name": "train-benchmark", "seed": 12},
        "structures": {
            "sources": [{"kind": "files", "paths": ["crystals"]}],
            "domains": [
                {
                    "kind": "bulk",
                    "supercell": None,
                    "temperatures_K": [500.0],
                    "pressures_GPa": [-3.0, 5.0, 20.0],
                }
            ],
        },
        "explore": {
            "potential": {"kind": "chgnet"},
            "length_ps": 0.14,
            "frame_interval_ps": 0.02,
            "barostat_tau_fs": 100.0,
            "structures_per_job": 100,
        },
        "encode": {"encoder": {"kind": "chgnet"}},
        "select": {"target": target, "policy": {"kind": "random"}},
        "label": {
            "backend": {"kind": "mlip", "potential": {"kind": "chgnet", "version": "0.2.0"}},
            "levels": ["mlip"],
            "structures_per_job": target,
        },
        "dataset": {
            "split": {"valid": 0.1, "test": 0.2},
            "exports": {"formats": []},
        },
        "train": {
            "references": "fit",
            "architecture": {"kind": "tensornet", "units": 24, "blocks": 1},
            "epochs": epochs,
            "batch_size": 16,
            "learning_rate": 3e-3,
            "loss": {"stress": 0.01},
        },
    }


def run(folder: Path, target: str) -> None:
    """Run a campaign as far as one file."""
    command = [
        sys.executable,
        "-m",
        "pesatlas.cli.main",
        "run",
        "--profile",
        "profiles/local",
        "--cores",
        "1",
        target,
    ]
    subprocess.check_call(command, cwd=folder)


def second_round(folder: Path, first: Path, ids: list[str]) -> None:
    """Explore some crystals with the trained potential."""
    raw = campaign(10, 1)
    del raw["train"]
    crystals = [str(first / "crystals" / f"{name}.json") for name in ids]
    raw["structures"]["sources"] = [{"kind": "files", "paths": crystals}]
    raw["structures"]["domains"] = [
        {"kind": "bulk", "supercell": {"min_length_A": 6.0, "max_atoms": 32}, "temperatures_K": [300.0]}
    ]
    raw["explore"] |= {
        "potential": {"kind": "matgl", "path": str((first / CARD).parent)},
        "length_ps": 1.0,
        "barostat_tau_fs": 1000.0,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    run(folder, path_of("snapshots", batch=0))
    frames = read_table(folder / path_of("snapshots", batch=0), "snapshots").to_pylist()
    failed = read_table(folder / path_of("explore_failures", batch=0), "failures").to_pylist()
    print(
        f"\nsecond round: {len(frames)} frames of {', '.join(ids)} with {frames[0]['potential']}, "
        f"{len(failed)} failures"
    )
    for name in ids:
        mine = [row for row in frames if row["structure_id"] == name and row["step"] > 0]
        hot = [row["instant_temperature_K"] for row in mine if row["instant_temperature_K"] is not None]
        closest = min(row["min_distance_A"] for row in mine)
        print(
            f"  {name}: {len(mine)} frames, mean temperature {sum(hot) / len(hot):.0f} K, closest atoms "
            f"{closest:.2f} Å"
        )


def main() -> None:
    """Write, run, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--target", type=int, default=1600)
    parser.add_argument("--epochs", type=int, default=40)
    options = parser.parse_args()
    folder = options.folder.resolve()
    write_crystals(folder / "crystals")
    (folder / "config.yaml").write_text(
        yaml.safe_dump(campaign(options.target, options.epochs), sort_keys=False)
    )
    run(folder, CARD)
    card = json.loads((folder / CARD).read_text())
    rows = read_table(folder / path_of("dataset", level="mlip"), "dataset", ["split", "structure_id"])
    print(
        f"\nlevel {card['level']}; rows {card['data']['rows']}; epochs {card['training']['epochs']}, ", end=""
    )
    print(
        f"best {card['training']['best_epoch']}, {card['training']['wall_s']:.0f} s; gate passed: "
        f"{card['gate']['passed']}"
    )
    print("split  potential     rows   meV/atom   meV/Å    GPa")
    for score in card["scores"]:
        if score["group"] == "all":
            numbers = [
                score[name] for name in ("energy_mae_meV_per_atom", "force_mae_meV_per_A", "stress_mae_GPa")
            ]
            print(
                f"{score['split']:6} {score['of']:12} {score['rows']:5}  "
                + "  ".join(f"{n:8.3g}" for n in numbers)
            )
    held = sorted({row["structure_id"] for row in rows.to_pylist() if row["split"] == "test"})
    second_round(folder / "second", folder, [name for name in held if name.endswith("rocksalt")][:2])


if __name__ == "__main__":
    main()
