"""Full trajectories of real crystals, and the features of their frames, for `benchmarks/adaptive.py`.

    python benchmarks/adaptive_recording.py FOLDER [--shared ../shared] [--per-kind 2 2 2 4] [--turns 6]

Crystals are those of ``shared/data`` with 3 to 16 atoms and no hydrogen (its time step makes a trajectory
four times as long). Their kinds: ``molecular`` and ``layered`` are bonded in 0 and in 2 dimensions by the
score of Larsen et al. 2019 (0.6 or more); ``ion`` has Ag, Cu, Li or Na beside S, Se, Te, Cl, Br or I;
``framework`` is the rest. Of each kind the first ones by -log(u) times the cost of their dynamics, with u the
fraction that sha256 of their id is: a draw without replacement with weights inverse to the cost. Each goes
20 ps (``--length``) at 300 K and 1 atm with M3GNet-MP-2021.2.8, a frame each 0.05 ps, described by
M3GNet-MP-2018.6.1-Eform. Run it again to go on; each batch that is done can be used. With ``--seed`` the same
crystals start with other velocities: a second recording, for ``benchmarks/adaptive_budget.py``. With
``--hard`` six others: two with hydrogen, two at 1000 K, two at 2500 K.
"""

import argparse
import gzip
import hashlib
import json
import logging
import math
import os
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from ase.geometry.dimensionality import analyze_dimensionality
from pymatgen.core import Structure

from pesatlas.atoms.units import ATM_TO_GPA
from pesatlas.config.campaign_info import CampaignInfo
from pesatlas.config.encode import Encode
from pesatlas.config.explore import Explore
from pesatlas.encode.encode_shard import encode_snapshots
from pesatlas.explore.explore_batch import run_md
from pesatlas.potentials.weights import directory_sha256
from pesatlas.structures.crystal import Condition, Crystal, from_pymatgen, to_ase
from pesatlas.tables import write_table

ROOT = Path(__file__).parents[1]
KINDS = ("layered", "molecular", "ion", "framework")
_FILES = (("mp-elasticity", "mp_id"), ("alexandria-phonon", "mp_id"), ("wbm-equilibrium", "material_id"))
_MOBILE, _SOFT = {3, 11, 29, 47}, {16, 17, 34, 35, 52, 53}
_SCORE = 0.6


def options(shared: Path, kind: str, name: str) -> dict[str, object]:
    """Options of a model of ``shared/models``."""
    path = shared / "models" / name
    return {"kind": kind, "path": str(path), "older_convention": True, "sha256": directory_sha256(path)}


def explore_section(shared: Path, length_ps: float = 20.0) -> Explore:
    """Return the settings of the full trajectories."""
    return Explore(
        potential=options(shared, "matgl", "M3GNet-MP-2021.2.8-PES"),
        length_ps=length_ps,
        frame_interval_ps=0.05,
        checkpoint_interval_s=60,
    )


def encode_section(shared: Path) -> Encode:
    """Return the settings of the features."""
    return Encode(encoder=options(shared, "m3gnet_eform", "M3GNet-MP-2018.6.1-Eform"))


def kind_of(crystal: Crystal) -> str:
    """Return the kind of a crystal."""
    best = analyze_dimensionality(to_ase(crystal), method="RDA")[0]
    elements = set(crystal.numbers.tolist())
    if best.dimtype in {"0D", "2D"} and best.score >= _SCORE:
        return "molecular" if best.dimtype == "0D" else "layered"
    return "ion" if elements & _MOBILE and elements & _SOFT else "framework"


def drawn(shared: Path, counts: dict[str, int], *, hydrogen: bool = False) -> dict[str, list[Crystal]]:
    """Return so many crystals of each kind, in the order of the draw, without hydrogen or all with it."""
    found: dict[str, tuple[float, Crystal]] = {}
    for name, key in _FILES:
        with gzip.open(shared / "data" / f"{name}.json.gz", "rt") as handle:
            rows = json.load(handle)
        for row in rows:
            if not 3 <= len(row["structure"]["sites"]) <= 16:
                continue
            crystal = from_pymatgen(row[key], Structure.from_dict(row["structure"]), name)
            if not isinstance(crystal, Crystal) or (1 in crystal.numbers) != hydrogen:
                continue
            fraction = (int(hashlib.sha256(row[key].encode()).hexdigest()[:12], 16) + 1) / (16**12 + 1)
            cost = len(crystal.numbers) * (2 if crystal.numbers.min() <= 7 else 1)
            found.setdefault(row[key], (-math.log(fraction) * cost, crystal))
    kinds: dict[str, list[Crystal]] = {kind: [] for kind in KINDS}
    for _, crystal in sorted(found.values(), key=lambda each: (each[0], each[1].structure_id)):
        kind = kind_of(crystal)
        if len(kinds[kind]) < counts[kind]:
            kinds[kind].append(crystal)
        if all(len(kinds[kind]) == counts[kind] for kind in KINDS):
            break
    return kinds


def _row(crystal: Crystal, domain: str, temperature: float, batch: int) -> dict[str, object]:
    return {
        "structure_id": crystal.structure_id,
        "variant": "unit",
        "domain": domain,
        "n_atoms": len(crystal.numbers),
        "numbers": crystal.numbers.tolist(),
        "cell_A": crystal.cell.ravel().tolist(),
        "positions_A": crystal.positions.ravel().tolist(),
        "formula": to_ase(crystal).get_chemical_formula(empirical=True),
        "conditions": [Condition(f"{temperature:.0f}K", temperature, ATM_TO_GPA).as_row()],
        "batch": batch,
        "warnings": [],
        "source": crystal.source,
        "code_version": "benchmark",
    }


def hard_table(path: Path, shared: Path) -> None:
    """Write a table ``structures`` of what is harder: hydrogen, 1000 K, and more than crystals stand.

    Two crystals each: of the kinds framework and molecular with hydrogen, then of framework and ion.
    """
    light = drawn(shared, dict.fromkeys(KINDS, 1), hydrogen=True)
    heavy = drawn(shared, dict.fromkeys(KINDS, 2))
    rows = [
        _row(crystal, "hydrogen", 300.0, 0) for kind in ("framework", "molecular") for crystal in light[kind]
    ]
    for place, (domain, temperature) in enumerate((("hot", 1000.0), ("melting", 2500.0))):
        rows += [_row(heavy[kind][place], domain, temperature, 0) for kind in ("framework", "ion")]
    write_table(path, "structures", rows, "benchmark")


def structures_table(path: Path, shared: Path, per_kind: list[int], turns: int, together: int) -> None:
    """Write the table ``structures``: in each batch ``together`` turns of crystals of all kinds."""
    counts = dict(zip(KINDS, per_kind, strict=True))
    kinds = drawn(shared, {kind: count * turns for kind, count in counts.items()})
    rows = [
        _row(crystal, kind, 300.0, place // (count * together))
        for kind, count in counts.items()
        for place, crystal in enumerate(kinds[kind])
    ]
    rows.sort(key=lambda row: (row["batch"], row["domain"], row["structure_id"]))
    write_table(path, "structures", rows, "benchmark")


def main() -> None:
    """Draw the crystals, then explore and encode batch after batch."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--per-kind", type=int, nargs=4, default=[2, 2, 2, 4], help=f"of {KINDS}, each turn")
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--together", type=int, default=2, help="turns in a batch")
    parser.add_argument("--hard", action="store_true", help="six crystals: hydrogen, 1000 K, 2500 K")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--length", type=float, default=20.0, help="ps")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    folder, shared = arguments.folder.resolve(), arguments.shared.resolve()
    structures = folder / "structures.parquet"
    if not structures.exists() and arguments.hard:
        hard_table(structures, shared)
    elif not structures.exists():
        structures_table(structures, shared, arguments.per_kind, arguments.turns, arguments.together)
    info = CampaignInfo(name="adaptive", seed=arguments.seed, store=str(folder / "store"))
    for batch in range(1 if arguments.hard else -(-arguments.turns // arguments.together)):
        name = f"{batch:05d}.parquet"
        snapshots, features = folder / "snapshots" / name, folder / "features" / name
        if not snapshots.exists():
            run_md(
                explore_section(shared, arguments.length),
                info,
                batch,
                structures=structures,
                snapshots=snapshots,
                failures=folder / "failures" / name,
                work=folder / "work",
            )
        if not features.exists():
            encode_snapshots(encode_section(shared), snapshots, features, features.with_suffix(".npz"))


if __name__ == "__main__":
    main()
