"""Features of real dynamics, for `benchmarks/direct.py`.

Cells of the Materials Project explored and encoded by this project.

    python benchmarks/real_features.py FOLDER [--crystals 170] [--shared ../shared]

Writes a campaign into FOLDER and runs its first stages: 300 K NpT with M3GNet-MP-2021.2.8 of every cell of up
to 8 atoms and a supercell, a frame each 20 fs, features of M3GNet's formation-energy model, as MatPES. An
hour on two cores; run it again to go on.
"""

import argparse
import gzip
import json
import subprocess
import sys
from pathlib import Path

import yaml
from pymatgen.core import Structure

from pesatlas.campaign.layout import path_of
from pesatlas.potentials.weights import directory_sha256

ROOT = Path(__file__).parents[1]
_STRIDE = 10


def write_campaign(folder: Path, shared: Path, count: int) -> None:
    """Write crystals and config.yaml."""
    with gzip.open(shared / "data" / "mp-elasticity.json.gz", "rt") as handle:
        rows = json.load(handle)
    crystals = folder / "crystals"
    crystals.mkdir(parents=True, exist_ok=True)
    small = [row for row in rows if len(row["structure"]["sites"]) <= 8]
    # every so many of the list, then those after them, so that a larger count adds crystals and drops none
    order = [i for first in range(_STRIDE) for i in range(first, len(small), _STRIDE)]
    for row in [small[i] for i in order[:count]]:
        Structure.from_dict(row["structure"]).to(str(crystals / f"{row['mp_id']}.json"))
    weights = {
        name: {"path": str(shared / "models" / folder_name), "older_convention": True}
        for name, folder_name in (
            ("potential", "M3GNet-MP-2021.2.8-PES"),
            ("encoder", "M3GNet-MP-2018.6.1-Eform"),
        )
    }
    for options in weights.values():
        options["sha256"] = directory_sha256(Path(str(options["path"])))
    campaign = {
        "campaign": {"name": "real-features", "seed": 1},
        "structures": {
            "sources": [{"kind": "files", "paths": ["crystals"]}],
            "domains": [{"kind": "bulk", "supercell": {"min_length_A": 5.5, "max_atoms": 16}}],
        },
        "explore": {
            "potential": {"kind": "matgl", **weights["potential"]},
            "length_ps": 1.6,
            "frame_interval_ps": 0.02,
            "structures_per_job": 40,
        },
        "encode": {"encoder": {"kind": "m3gnet_eform", **weights["encoder"]}},
        "select": {"target": 1000},
        "label": {"backend": {"kind": "gpaw"}},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(campaign, sort_keys=False))


def main() -> None:
    """Write the campaign and run it as far as the features."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--crystals", type=int, default=170)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    options = parser.parse_args()
    write_campaign(options.folder, options.shared.resolve(), options.crystals)
    command = ["pesatlas", "run", "--profile", f"{ROOT}/profiles/local", "--snakefile", f"{ROOT}/Snakefile"]
    sys.exit(subprocess.call([*command, path_of("pca")], cwd=options.folder))


if __name__ == "__main__":
    main()
