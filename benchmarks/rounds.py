"""Error reduction by the picks of a second round, against as many random picks of the same pool.

    python benchmarks/rounds.py FOLDER [--picks 20] [--seeds 3] [--epochs 100] [--ps 0.2] [--arms random
    cover]

Rock-salt crystals of 8 displaced atoms in which Li and Na, F and Cl share their sites at random. Round 1
explores 8 of them at 300 K and three pressures with chgnet 0.3.0, labels 40 frames by chgnet 0.2.0 (level
`mlip`, no DFT) and trains a committee of small TensorNets, one for each seed. The pool are frames of 10
others, half of them at 1200 K. Round 2 picks from it by `disagree` and at random, once for each seed. Every
choice is labelled, and a potential is trained on it and round 1 for each seed. Errors are of forces on frames
of 6 crystals more that nobody saw. All cells are equally large, so that as many picks cost the same. Run it
again to go on where it was ended.
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.io import write
from quick_campaign import explore, label, select
from scipy import stats

from pesatlas.campaign.layout import RESULTS, WORK, file_name, path_of
from pesatlas.campaign.load import load_campaign
from pesatlas.campaign.rounds import datasets_before
from pesatlas.config.campaign import Campaign
from pesatlas.potentials.committee import MeanPrediction, predict
from pesatlas.potentials.kinds import matgl
from pesatlas.tables import read_table
from pesatlas.train.training import train_potential

SITES = np.array([[0, 0, 0], [0, 2, 2], [2, 0, 2], [2, 2, 0], [2, 0, 0], [0, 2, 0], [0, 0, 2], [2, 2, 2]]) / 4
RADII_A = {"Li": 0.76, "Na": 1.02, "F": 1.33, "Cl": 1.81}
"""Of ions with six neighbours: R. D. Shannon, Acta Cryst. A 32, 751 (1976)."""
EVERYWHERE = {"temperatures_K": [300.0, 1200.0], "pressures_GPa": [0.0, 15.0]}


def write_crystals(path: Path, first: int, count: int) -> None:
    """Write crystals of the family, numbered from ``first``; the first two of all are NaCl and LiF."""
    made = []
    for number in range(first, first + count):
        draw = np.random.default_rng(number)
        pure = {0: ["Na"] * 4 + ["Cl"] * 4, 1: ["Li"] * 4 + ["F"] * 4}
        symbols = pure.get(number) or [*draw.choice(["Li", "Na"], 4), *draw.choice(["F", "Cl"], 4)]
        a = 2 * np.mean([RADII_A[symbol] for symbol in symbols[:4]]) + 2 * np.mean(
            [RADII_A[symbol] for symbol in symbols[4:]]
        )
        places = SITES * a + draw.normal(scale=0.08, size=(8, 3))
        made.append(Atoms(symbols, places, cell=[a] * 3, pbc=True, info={"structure_id": f"salt-{number}"}))
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, made, format="extxyz")


def configuration(
    folder: Path, options: argparse.Namespace, bulk: dict[str, Any], ps: float
) -> dict[str, Any]:
    """Return what all campaigns share."""
    return {
        "campaign": {"name": "rounds", "store": str(options.folder / "store"), "seed": 0},
        "structures": {
            "sources": [{"kind": "files", "paths": [str(folder / "crystals.extxyz")]}],
            "domains": [{"kind": "bulk", "supercell": None, **bulk}],
            "remove_duplicates": False,
        },
        "explore": {
            "potential": {"kind": "chgnet"},
            "length_ps": ps,
            "frame_interval_ps": ps / 5,
            "barostat_tau_fs": 100.0,
            "structures_per_job": 100,
        },
        "encode": {"encoder": {"kind": "chgnet"}},
        "select": {
            "target": 40,
            "policy": {"kind": "cover"},
            "include_equilibrium": False,
            "structure": {"clusters": 15},
            "atoms": {"clusters": 400},
        },
        "label": {
            "backend": {"kind": "mlip", "potential": {"kind": "chgnet", "version": "0.2.0"}},
            "levels": ["mlip"],
            "structures_per_job": 1000,
        },
        "dataset": {"split": {"valid": 0.15, "test": 0.0}, "exports": {"formats": []}},
        "train": {
            "references": "fit",
            "architecture": {
                "kind": "tensornet",
                "units": 16,
                "blocks": 1,
                "radial_functions": 6,
                "cutoff_A": 4.0,
            },
            "seeds": list(range(options.seeds)),
            "epochs": options.epochs,
            "batch_size": 8,
            "learning_rate": 5e-3,
            "loss": {"stress": 0.01},
        },
    }


def train(campaign: Campaign, folder: Path, seeds: Sequence[int]) -> list[Path]:
    """Train a potential for each seed on the dataset of a campaign; return their folders."""
    made = []
    for seed in seeds:
        card = folder / path_of("potential_card", level="mlip", seed=seed)
        made.append(card.parent)
        if not card.is_file():
            train_potential(
                campaign.train,
                campaign.train_level,
                seed,
                results=folder / RESULTS,
                folder=made[-1],
                work=folder / WORK["train_potential"],
                store=Path(campaign.campaign.store),
                before=datasets_before(campaign.round, campaign.train_level),
            )
    return made


def errors(potential: Path, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Errors of a potential on labelled rows: of forces root mean square and mean, eV/Å.

    Of energies mean, eV/atom.
    """
    options = matgl.Options.model_validate({"path": str(potential)})
    member = matgl.load(options, "cpu")
    said = list(predict([member, member], rows))
    forces, energies = [], []
    for row, opinion in zip(rows, said, strict=True):
        assert isinstance(opinion, MeanPrediction)
        forces.append(
            np.linalg.norm(np.reshape(row["forces_eV_per_A"], (-1, 3)) - opinion.forces_eV_per_A, axis=1)
        )
        energies.append(abs(row["energy_eV"] / row["n_atoms"] - opinion.energy_eV_per_atom))
    of_atoms = np.concatenate(forces)
    return {
        "force_rmse": float(np.sqrt((of_atoms**2).mean())),
        "force_mae": float(of_atoms.mean()),
        "energy_mae": float(np.mean(energies)),
    }


def interval(values: Sequence[float]) -> str:
    """Return the mean and its 95 % interval (Student's t)."""
    mean = np.mean(values)
    if len(values) < 2:
        return f"{mean:.4f}"
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{mean:.4f} ± {half:.4f}"


def made(folder: Path, raw: dict[str, Any], crystals: tuple[int, int]) -> Campaign:
    """Make the folder of a campaign with its crystals, explored."""
    if not (folder / "crystals.extxyz").is_file():
        write_crystals(folder / "crystals.extxyz", *crystals)
    campaign = load_campaign(raw)
    if not (folder / "explored").is_file():
        explore(campaign, folder)
        (folder / "explored").touch()
    return campaign


def labelled(campaign: Campaign, folder: Path, picking: Campaign | None = None) -> None:
    """Select and label, unless it was done."""
    if not (folder / path_of("manifest")).is_file():
        select(picking or campaign, folder)
        label(campaign, folder)


def arm(source: Path, folder: Path, raw: dict[str, Any], seeds: Sequence[int], draw: int = 0) -> list[Path]:
    """Pick from the pool that was explored in ``source`` as ``raw`` says, label, and train for each seed."""
    if not (folder / RESULTS).is_dir():
        shutil.copytree(source / RESULTS, folder / RESULTS)
    campaign = load_campaign(raw)
    # another seed draws others; that of splits stays
    picking = load_campaign(raw | {"campaign": raw["campaign"] | {"seed": draw}})
    labelled(campaign, folder, picking)
    return train(campaign, folder, seeds)


def main() -> None:
    """Run both rounds and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--picks", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument(
        "--ps", type=float, default=0.2, help="length of a trajectory, of which five frames are kept"
    )
    parser.add_argument("--arms", nargs="+", default=["random"], help="policies beside disagree")
    parser.add_argument("--shorter", action="store_true", help="to see whether it runs")
    options = parser.parse_args()
    options.folder = options.folder.resolve()
    torch.set_num_threads(1)
    seeds = list(range(options.seeds))
    counts = (4, 4, 2) if options.shorter else (8, 10, 6)

    first = options.folder / "round-1"
    raw = configuration(
        first, options, {"temperatures_K": [300.0], "pressures_GPa": [-3.0, 0.0, 15.0]}, options.ps
    )
    campaign = made(first, raw, (0, counts[0]))
    labelled(campaign, first)
    committee = train(campaign, first, seeds)
    for path in committee:
        card = json.loads((path / file_name("potential_card")).read_text())
        print(path.name, "gate:", card["gate"]["passed"], "epochs:", card["training"]["epochs"], flush=True)

    test = options.folder / "test"
    raw = configuration(test, options, EVERYWHERE, options.ps)
    raw["select"] |= {"target": 1000, "policy": {"kind": "random"}}
    labelled(made(test, raw, (300, counts[2])), test)
    held = read_table(test / path_of("dataset", level="mlip"), "dataset").to_pylist()
    found: dict[str, list[dict[str, float]]] = {"round 1": [errors(path, held) for path in committee]}
    print(f"{len(held)} held-out frames; round 1: {found['round 1']}", flush=True)

    pool = options.folder / "pool"
    raw = configuration(pool, options, EVERYWHERE, options.ps)
    raw["round"] = {
        "number": 2,
        "previous": str(first),
        "committee": [{"kind": "matgl", "path": str(path)} for path in committee],
    }
    raw["select"]["target"] = options.picks
    made(pool, raw, (100, counts[1]))
    for policy in ("disagree", *(name for name in options.arms if name != "random")):
        chosen = raw | {"select": raw["select"] | {"policy": {"kind": policy}}}
        paths = arm(pool, options.folder / policy, chosen, seeds)
        found[policy] = [errors(path, held) for path in paths]
        print(policy, found[policy], flush=True)
    chosen = raw | {"select": raw["select"] | {"policy": {"kind": "random"}}}
    found["random"] = []
    for seed in seeds:
        paths = arm(pool, options.folder / f"random-{seed}", chosen, [seed], draw=1 + seed)
        found["random"] += [errors(path, held) for path in paths]
        print("random", seed, found["random"][-1], flush=True)

    print(
        f"\nerrors on {len(held)} held-out frames, mean and 95 % interval over {len(seeds)} seeds; "
        f"{options.picks} picks"
    )
    for name, each in found.items():
        print(f"{name:10}", "   ".join(f"{what} {interval([e[what] for e in each])}" for what in each[0]))
    for other in options.arms:
        paired = [
            a["force_rmse"] - b["force_rmse"] for a, b in zip(found["disagree"], found[other], strict=True)
        ]
        print(f"disagree less {other}, by seed: force_rmse {interval(paired)}")
    (options.folder / "errors.json").write_text(json.dumps(found, indent=1))
    rows = read_table(options.folder / "disagree" / path_of("calibration"), "calibration").to_pylist()
    for row in rows:
        if row["bin"] == 0:
            print("calibration", {k: v for k, v in row.items() if k not in {"bin", "code_version"}})


if __name__ == "__main__":
    main()
