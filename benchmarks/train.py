"""A TensorNet trained on frames that a potential labelled, against what is known without it, and what it is then good for.

    python benchmarks/train.py FOLDER [--shared ../shared] [--crystals 40] [--target 1200] [--epochs 60]

Writes a campaign into FOLDER and runs it: small salts, oxides and sulfides of the Materials Project, short dynamics with chgnet 0.3.0 at several pressures,
labels by chgnet 0.2.0 (level `mlip`, no DFT), splits by chemical system, training. Then a second campaign explores two crystals that
were held out with the trained potential. Half an hour on one core; run it again to go on. It prints errors on held-out systems.
"""

import argparse
import gzip
import json
import subprocess
import sys
from pathlib import Path

import yaml
from pymatgen.core import Structure

from pesatlas.tables import read_table

ROOT = Path(__file__).parents[1]
ELEMENTS = {"Li", "Na", "K", "Rb", "Mg", "Ca", "Sr", "Al", "O", "S", "Se", "F", "Cl", "Br", "I"}
ANIONS = {"O", "S", "Se", "F", "Cl", "Br", "I"}
LARGEST = 6
NAME = "mlip-0"


def write_crystals(folder: Path, shared: Path, count: int) -> None:
    """Write small ionic cells of the shared sets, of each formula the smallest; rock salts with known minima among them."""
    found: dict[str, Structure] = {}
    for name, key in (
        ("mp-elasticity", "mp_id"),
        ("alexandria-phonon", "mp_id"),
        ("wbm-equilibrium", "material_id"),
    ):
        with gzip.open(shared / "data" / f"{name}.json.gz", "rt") as handle:
            for row in json.load(handle):
                structure = Structure.from_dict(row["structure"])
                symbols = {element.symbol for element in structure.composition}
                small = (
                    len(structure) <= LARGEST
                    and symbols <= ELEMENTS
                    and symbols & ANIONS
                    and len(symbols) > 1
                )
                if small and row["formula"] not in found:
                    structure.properties["id"] = row[key]
                    found[row["formula"]] = structure
    folder.mkdir(parents=True, exist_ok=True)
    for structure in [found[formula] for formula in sorted(found)][:count]:
        structure.to(str(folder / f"{structure.properties['id']}.json"))


def campaign(target: int, epochs: int) -> dict:
    """Return the configuration."""
    return {
        "campaign": {"name": "train-benchmark", "seed": 1},
        "structures": {
            "sources": [
                {"kind": "files", "paths": ["crystals"]},
                {"kind": "demo", "names": ["NaCl", "MgO", "LiF"]},
            ],
            "domains": [
                {
                    "kind": "bulk",
                    "supercell": None,
                    "temperatures_K": [300.0, 1000.0],
                    "pressures_GPa": [-3.0, 0.0, 20.0],
                }
            ],
        },
        "explore": {
            "potential": {"kind": "chgnet"},
            "length_ps": 0.2,
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
            "split": {"by": "chemical_system", "valid": 0.1, "test": 0.2},
            "exports": {"formats": []},
        },
        "train": {
            "references": "fit",
            "architecture": {"kind": "tensornet", "units": 32, "blocks": 2},
            "epochs": epochs,
            "batch_size": 16,
            "learning_rate": 2e-3,
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
        "potential": {"kind": "matgl", "path": str(first / "results" / "potentials" / NAME)},
        "length_ps": 1.0,
        "barostat_tau_fs": 1000.0,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    run(folder, "results/snapshots/00000.parquet")
    frames = read_table(folder / "results/snapshots/00000.parquet", "snapshots").to_pylist()
    failed = read_table(folder / "results/failures/explore/00000.parquet", "failures").to_pylist()
    print(
        f"\nsecond round: {len(frames)} frames of {', '.join(ids)} with {frames[0]['potential']}, {len(failed)} failures"
    )
    for name in ids:
        mine = [row for row in frames if row["structure_id"] == name and row["step"] > 0]
        hot = [row["instant_temperature_K"] for row in mine if row["instant_temperature_K"] is not None]
        closest = min(row["min_distance_A"] for row in mine)
        print(
            f"  {name}: {len(mine)} frames, mean temperature {sum(hot) / len(hot):.0f} K, closest atoms {closest:.2f} Å"
        )


def main() -> None:
    """Write, run, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--crystals", type=int, default=40)
    parser.add_argument("--target", type=int, default=1200)
    parser.add_argument("--epochs", type=int, default=60)
    options = parser.parse_args()
    folder = options.folder.resolve()
    write_crystals(folder / "crystals", options.shared, options.crystals)
    (folder / "config.yaml").write_text(
        yaml.safe_dump(campaign(options.target, options.epochs), sort_keys=False)
    )
    run(folder, f"results/potentials/{NAME}/card.json")
    card = json.loads((folder / "results" / "potentials" / NAME / "card.json").read_text())
    rows = read_table(
        folder / "results/dataset/mlip/part-00000.parquet", "dataset", ["split", "structure_id"]
    )
    print(
        f"\nlevel {card['level']}; rows {card['data']['rows']}; epochs {card['training']['epochs']}, ", end=""
    )
    print(
        f"best {card['training']['best_epoch']}, {card['training']['wall_s']:.0f} s; gate passed: {card['gate']['passed']}"
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
    second_round(folder / "second", folder, [name for name in held if not name.startswith("demo")][:2])


if __name__ == "__main__":
    main()
