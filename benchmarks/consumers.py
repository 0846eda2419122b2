"""Train and read with the real programs on a campaign's exports.

Python benchmarks/consumers.py --results FOLDER --envs FOLDER.

Each program gets an environment of its own with the versions below (about 1 GB each; kept in ``--envs``, else
temporary), is given the export as its documentation says, and trains for an epoch or two on one CPU core.
What its loader read is compared row by row with our tables. Without ``--results`` a small campaign with GPAW
is made first: five crystals, some minutes.

pip takes torch from where it takes everything; on a machine without a GPU let it find the build for CPUs
(PIP_FIND_LINKS or the like), for the usual one brings 3 GB of CUDA along.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from quick_campaign import explore, label, select

from pesatlas.atoms.elements import symbol_of
from pesatlas.campaign.finished import read_campaign_manifest
from pesatlas.campaign.layout import below
from pesatlas.campaign.load import load_campaign
from pesatlas.dataset.dataset_rows import FUNCTIONALS
from pesatlas.dataset.export import export_dataset
from pesatlas.tables import read_table

HERE = Path(__file__).parent
TORCH = "torch==2.13.0"
VERDICTS = ["accepted", "flagged"]
ENVIRONMENTS = {
    "mace": ["mace-torch==0.3.16"],
    "nequip": ["nequip==0.19.1"],
    "metatrain": ["metatrain==2026.4.1"],
    "fairchem": ["fairchem-core==2.24.0"],
    "readers": ["matgl==4.1.2", "datasets==5.2.0", "dpdata==1.1.0"],
}
"""Programs that agree on versions share one; MACE wants e3nn 0.4, nequip and fairchem 0.5 and later."""

# As in docs/dataset.md: extended XYZ has all splits in one file, and some trainers stop at elements that they
# have not learned.
SPLIT = """
import sys
from ase.io import read, write
frames = read(sys.argv[1], ":")
learned = {s for atoms in frames if atoms.info["split"] != "test" for s in atoms.symbols}
for atoms in frames:
    name = atoms.info["split"] if learned.issuperset(atoms.symbols) else "test-unseen"
    write(f"{name}.extxyz", atoms, append=True)
"""


@dataclass(frozen=True)
class Given:
    """Interpreter, export and energies that a program is run with.

    Attributes
    ----------
    python : of its environment
    export : folder of the export
    stem : how files of this level begin, e.g. demo-PBE
    elements : symbols in the export
    atoms : energies of isolated atoms in eV, by symbol
    """

    python: Path
    export: Path
    stem: str
    elements: list[str]
    atoms: dict[str, float]

    def program(self, name: str) -> str:
        """Return the path of a command of the environment."""
        return str(self.python.parent / name)


def train_mace(given: Given, folder: Path) -> list[str]:
    """Return the command; elements and E0s are those of the files."""
    files = {split: given.export / f"{given.stem}-{split}.extxyz" for split in ("train", "valid", "test")}
    command = [given.program("mace_run_train"), "--name=tiny", "--device=cpu", "--seed=1"]
    command += [f"--{split}_file={path}" for split, path in files.items() if path.is_file()]
    if "config_type=IsolatedAtom" not in files["train"].read_text():
        command.append("--E0s=average")
    command += ["--loss=stress", "--compute_stress=True", "--default_dtype=float64", "--max_num_epochs=1"]
    command += [
        "--num_channels=8",
        "--max_L=0",
        "--r_max=4.0",
        "--batch_size=2",
        "--error_table=PerAtomRMSEstressvirials",
    ]
    return [*command, f"--work_dir={folder}"]


def train_nequip(given: Given, folder: Path) -> list[str]:
    """Write a file for each split and the configuration; return the command."""
    split_by_hand(given, folder)
    there = [split for split in ("train", "valid", "test") if (folder / f"{split}.extxyz").is_file()]
    loader = {"_target_": "torch.utils.data.DataLoader", "batch_size": 2}
    metrics = {"total_energy_mae": 1.0, "forces_mae": 1.0, "stress_mae": 1.0}
    configuration: dict[str, Any] = {
        "run": ["train", "test"] if "test" in there else ["train"],
        "cutoff_radius": 4.0,
        "model_type_names": given.elements,
        "data": {
            "_target_": "nequip.data.datamodule.ASEDataModule",
            "seed": 1,
            **{f"{'val' if s == 'valid' else s}_file_path": str(folder / f"{s}.extxyz") for s in there},
            "transforms": [
                {
                    "_target_": "nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper",
                    "model_type_names": "${model_type_names}",
                    "chemical_species_to_atom_type_map": "${list_to_identity_dict:${model_type_names}}",
                },
                {"_target_": "nequip.data.transforms.NeighborListTransform", "r_max": "${cutoff_radius}"},
            ],
            **{f"{name}_dataloader": loader for name in ("train", "val", "test")},
            "stats_manager": {
                "_target_": "nequip.data.CommonDataStatisticsManager",
                "type_names": "${model_type_names}",
                "dataloader_kwargs": {"batch_size": 10},
            },
        },
        "trainer": {
            "_target_": "lightning.Trainer",
            "max_epochs": 1,
            "accelerator": "cpu",
            "logger": False,
            "enable_progress_bar": False,
            "callbacks": [
                {
                    "_target_": "lightning.pytorch.callbacks.ModelCheckpoint",
                    "monitor": "val0_epoch/weighted_sum",
                    "dirpath": str(folder),
                    "filename": "best",
                }
            ],
        },
        "training_module": {
            "_target_": "nequip.train.NequIPLightningModule",
            "loss": {
                "_target_": "nequip.train.EnergyForceStressLoss",
                "per_atom_energy": True,
                "coeffs": {"total_energy": 1.0, "forces": 1.0, "stress": 1.0},
            },
            "val_metrics": {"_target_": "nequip.train.EnergyForceStressMetrics", "coeffs": metrics},
            "test_metrics": "${training_module.val_metrics}",
            "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.01},
            "model": {
                "_target_": "nequip.model.NequIPGNNModel",
                "seed": 1,
                "model_dtype": "float64",
                "type_names": "${model_type_names}",
                "r_max": "${cutoff_radius}",
                "l_max": 1,
                "num_layers": 2,
                "num_features": 8,
                "radial_mlp_depth": 1,
                "radial_mlp_width": 8,
                "avg_num_neighbors": "${training_data_stats:num_neighbors_mean}",
                # isolated atoms; per-type statistics are undefined for elements that train lacks
                "per_type_energy_shifts": given.atoms or "${training_data_stats:per_atom_energy_mean}",
                "per_type_energy_scales": "${training_data_stats:forces_rms}",
            },
        },
        "global_options": {"allow_tf32": False},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(configuration, sort_keys=False))
    return [given.program("nequip-train"), "-cp", str(folder), "-cn", "tiny.yaml"]


def train_metatrain(given: Given, folder: Path) -> list[str]:
    """Write a file for each split and the options; return the command.

    The keys are those of ASE: energy, forces, stress.
    """
    split_by_hand(given, folder)

    def of(split: str) -> dict[str, Any]:
        systems = {"read_from": str(folder / f"{split}.extxyz"), "length_unit": "angstrom"}
        target = {"key": "energy", "unit": "eV", "forces": {"key": "forces"}, "stress": {"key": "stress"}}
        return {"systems": systems, "targets": {"energy": target}}

    width = {"d_pet": 16, "d_node": 16, "d_head": 16, "d_feedforward": 16, "num_heads": 2}
    options = {
        "seed": 1,
        "device": "cpu",
        "architecture": {
            "name": "pet",
            "model": {**width, "num_gnn_layers": 1, "num_attention_layers": 1},
            "training": {"batch_size": 2, "num_epochs": 1, "num_workers": 0},
        },
        "training_set": of("train"),
        "validation_set": of("valid"),
        **({"test_set": of("test")} if (folder / "test.extxyz").is_file() else {}),
    }
    (folder / "options.yaml").write_text(yaml.safe_dump(options, sort_keys=False))
    return [given.program("mtt"), "train", "options.yaml"]


def train_matgl(given: Given, folder: Path) -> list[str]:
    """Write a program as matgl's documentation has it; return the command."""
    program = f"""
import gzip, json
from pathlib import Path
from torch.utils.data import Subset
from matgl.models import TensorNet
from matgl.utils.training import MGLDatasetLoader, MGLPotentialTrainer

folder, stem = Path({str(given.export)!r}), {given.stem!r}
data = MGLDatasetLoader.from_json(folder / (stem + ".json.gz"), save_cache=False)
splits = json.loads(gzip.decompress((folder / (stem + "-split.json.gz")).read_bytes()))
splits = {{name: Subset(data, rows) for name, rows in splits.items()}}
atoms = json.loads((folder / (stem + "-atoms.json")).read_text())
model = TensorNet(element_types=data.element_types, units=8, nblocks=1, num_rbf=4, is_intensive=False)
quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False)
trainer = MGLPotentialTrainer(
    model, max_epochs=1, batch_size=2, accelerator="cpu", trainer_kwargs=quiet,
    loader_kwargs=dict(num_workers=0)
)
atomrefs = [atoms[s] for s in data.element_types] if set(data.element_types) <= set(atoms) else None
trainer.fit(dataset=splits, atomrefs=atomrefs)
print({{name: float(value) for name, value in trainer.trainer.callback_metrics.items()}})
"""
    (folder / "train.py").write_text(program)
    return [str(given.python), "train.py"]


def split_by_hand(given: Given, folder: Path) -> None:
    """Write ``train.extxyz``, ``valid.extxyz``, ``test.extxyz`` and ``test-unseen.extxyz``."""
    command = [str(given.python), "-c", SPLIT, str(given.export / f"{given.stem}.extxyz")]
    subprocess.run(command, cwd=folder, check=True)


@dataclass(frozen=True)
class Consumer:
    """A program that takes an export.

    Attributes
    ----------
    environment : where it is installed
    package : whose version the table has
    kind : export that it takes
    train : makes the command that trains; None for what only reads
    command : in the table
    """

    environment: str
    package: str
    kind: str
    train: Callable[[Given, Path], list[str]] | None
    command: str


CONSUMERS = {
    "mace": Consumer("mace", "mace-torch", "mace", train_mace, "mace_run_train"),
    "nequip": Consumer("nequip", "nequip", "extxyz", train_nequip, "nequip-train"),
    "metatrain": Consumer("metatrain", "metatrain", "extxyz", train_metatrain, "mtt train"),
    "matgl": Consumer("readers", "matgl", "matgl", train_matgl, "MGLPotentialTrainer"),
    "fairchem": Consumer("fairchem", "fairchem-core", "aselmdb", None, "AseDBDataset"),
    "datasets": Consumer("readers", "datasets", "huggingface", None, "load_dataset"),
    "dpdata": Consumer("readers", "dpdata", "extxyz", None, "MultiSystems.from_file"),
}


def environment(name: str, envs: Path, python: str) -> Path:
    """Return the interpreter of an environment, which is made if it is not there."""
    interpreter = envs / name / "bin/python"
    if not (envs / name / ".ready").is_file():
        run([python, "-m", "venv", str(envs / name)], envs, 300)
        pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run([*pip, TORCH, *ENVIRONMENTS[name]], envs, 3600)
        (envs / name / ".ready").touch()
    return interpreter


def run(command: list[str], folder: Path, timeout: float) -> str:
    """Run a command on one core; return what it printed.

    Raises
    ------
    RuntimeError
        If it fails: with the last lines that it printed.
    """
    one_core = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    outside = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    path = f"{Path(command[0]).parent}{os.pathsep}{os.environ['PATH']}"
    offline = {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**outside, **one_core, **offline, "PATH": path},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        last = " ".join((done.stdout + done.stderr).strip().splitlines()[-3:])
        raise RuntimeError(f"{Path(command[0]).name} ended with {done.returncode}: {last[-500:]}")
    return done.stdout + done.stderr


def version_of(python: Path, package: str) -> str:
    """Return the version of an installed package."""
    program = f"from importlib.metadata import version; print(version({package!r}))"
    return run([str(python), "-c", program], Path(), 60).split()[-1]


def small_campaign(folder: Path) -> Path:
    """Make a campaign of five crystals with GPAW.

    A metal, whose free energy differs, and one of the split test with elements of its own.

    Return its results.
    """
    raw = yaml.safe_load((HERE.parent / "config/demo.yaml").read_text())
    raw["structures"]["sources"] = [{"kind": "demo", "names": ["Si", "Al", "MgO", "LiF", "NaCl"]}]
    raw["structures"]["domains"][0]["supercell"] = None
    raw["explore"] |= {"length_ps": 0.1, "frame_interval_ps": 0.01}
    raw["select"] |= {"target": 20, "policy": {"kind": "random"}}
    campaign = load_campaign(raw, "config/demo.yaml")
    explore(campaign, folder)
    select(campaign, folder)
    return label(campaign, folder)


def deviations(found: dict[str, Any], rows: dict[str, Any]) -> dict[str, float]:
    """Return the largest differences between what a program read and our tables.

    Of energy also from the free energy.
    """
    if set(found) != set(rows):
        raise RuntimeError(f"it read {len(found)} rows of {len(rows)}")
    worst = {"energy": 0.0, "free energy": 0.0, "forces": 0.0, "stress": 0.0}
    for name, row in rows.items():
        xx, yy, zz, yz, xz, xy = row["stress_eV_per_A3"]
        ours = {
            "energy": row["energy_eV"],
            "free energy": row["free_energy_eV"],
            "forces": np.reshape(row["forces_eV_per_A"], (-1, 3)),
            "stress": [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]],
        }
        theirs = {**found[name], "free energy": found[name]["energy"]}
        for what, value in ours.items():
            worst[what] = max(worst[what], float(np.abs(np.subtract(theirs[what], value)).max()))
    return worst


def try_consumer(name: str, results: Path, level: str, envs: Path, python: str, folder: Path) -> list[str]:
    """Install, train, read and compare; return a row of the table."""
    consumer = CONSUMERS[name]
    folder.mkdir(parents=True)
    interpreter = environment(consumer.environment, envs, python)
    version = f"{consumer.package} {version_of(interpreter, consumer.package)}"
    export = folder / consumer.kind
    export_dataset(results, consumer.kind, export, verdicts=VERDICTS)
    manifest = read_campaign_manifest(results)
    stem = f"{manifest['campaign']}-{FUNCTIONALS[level]}"
    # one level: a trainer is never given two
    for path in [*export.glob("*"), *export.glob("*/")]:
        if path.is_file() and path.suffix in {".extxyz", ".gz", ".json"} and not path.name.startswith(stem):
            path.unlink()
        elif path.is_dir() and path.name not in {stem, level}:
            shutil.rmtree(path)
    table = read_table(below(results, "dataset", level=level), "dataset").to_pylist()
    rows = {row["snapshot_id"]: row for row in table if row["verdict"] in VERDICTS}
    run(
        [str(interpreter), str(HERE / "consumer_readers.py"), name, str(export), str(folder / "read.json")],
        folder,
        600,
    )
    worst = deviations(json.loads((folder / "read.json").read_text()), rows)
    trained = "only read"
    if consumer.train is not None:
        elements = [symbol_of(z) for z in sorted({z for row in rows.values() for z in row["numbers"]})]
        known = manifest["references"]["atoms_eV"].get(level, {})
        atoms = {symbol: known[symbol] for symbol in elements if symbol in known}
        given = Given(interpreter, export, stem, elements, atoms if len(atoms) == len(elements) else {})
        training = folder / "training"
        training.mkdir()
        command = consumer.train(given, training)
        started = time.perf_counter()
        said = run(command, training, 900)
        (folder / "training.log").write_text(said)
        trained = f"trained, {time.perf_counter() - started:.0f} s"
        lost = re.search(r"No (stress|forces) found", said)
        if lost:
            raise RuntimeError(f"it trained, but says '{lost.group()}'")
    numbers = [f"{worst[what]:.1g}" for what in ("energy", "forces", "stress")]
    if worst["free energy"] < worst["energy"]:
        numbers[0] += f" (free energy: {worst['free energy']:.1g})"
    return [version, consumer.kind, f"`{consumer.command}`", trained, str(len(rows)), *numbers]


def main() -> None:
    """Try each program, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--results", type=Path, help="results of a finished campaign; else a small one is made"
    )
    parser.add_argument("--level", default="pbe", help="which level is given to the programs")
    parser.add_argument("--envs", type=Path, help="where environments are kept; else a temporary folder")
    parser.add_argument(
        "--python", default=sys.executable, help="interpreter that environments are made with"
    )
    parser.add_argument("--only", nargs="*", choices=sorted(CONSUMERS), help="these programs; else all")
    parser.add_argument("--keep", type=Path, help="where exports, configurations and logs are kept")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.keep or Path(temporary)).resolve()
        envs = (given.envs or Path(temporary) / "envs").resolve()
        envs.mkdir(parents=True, exist_ok=True)
        results = (given.results or small_campaign(folder / "campaign")).resolve()
        print(
            "| program | export | what reads it | training | rows | energy (eV) | forces (eV/Å) | stress "
            "(eV/Å³) |\n"
            "|---|---|---|---|---|---|---|---|",
            flush=True,
        )
        failed = 0
        for name in given.only or CONSUMERS:
            try:
                row = try_consumer(name, results, given.level, envs, given.python, folder / name)
            except (RuntimeError, subprocess.SubprocessError) as error:
                failed += 1
                row = [
                    name,
                    CONSUMERS[name].kind,
                    f"`{CONSUMERS[name].command}`",
                    f"FAILED: {error}",
                    *[""] * 4,
                ]
            print(f"| {' | '.join(row)} |", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
