"""Selection policies by outcome.

The same TensorNet trained on what `matpes`, `cover` and `random` pick at equal cost from real dynamics.

    python benchmarks/sampling.py prepare FOLDER --pool POOL [--shared ../shared] [--target 500]
    [--test-frames 400] python benchmarks/sampling.py train FOLDER [--device cpu] [--jobs 2] python
    benchmarks/sampling.py report FOLDER

POOL is a campaign made by `benchmarks/real_features.py`. The first part clusters its features, picks, and
labels with TensorNet-MatPES-PBE (level `mlip`, no DFT); minutes. The second trains a potential for each
policy, share of the cost and seed, `--jobs` at a time, and goes on where it was killed; it needs torch, matgl
and pyarrow, `PYTHONPATH=$PWD/src` and of FOLDER what `prepare` prints: another machine may do it. The third
prints the tables.
"""

import argparse
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from pesatlas.campaign.layout import FAILURES, RESULTS, WORK, Results, below, folder_of, path_of
from pesatlas.tables.manifest import entry_path

if TYPE_CHECKING:
    from pesatlas.config.campaign import Campaign

ROOT = Path(__file__).parents[1]
NEEDED = (
    "config.yaml",
    path_of("manifest"),
    f"{RESULTS}/{folder_of('dataset')}",
    f"{path_of('atoms')}*",
    f"{path_of('arms')}*",
)

PREPARED = {
    "target": 500,
    "test-frames": 400,
    "structure-clusters": 100,
    "atom-clusters": 1500,
    "seeds": 5,
    "epochs": 15,
    "seed": 1,
}


def name_the_package() -> None:
    """Let pesatlas know its version where it is not installed, but on the path."""
    try:
        importlib.metadata.version("pesatlas")
    except importlib.metadata.PackageNotFoundError:
        folder = Path(tempfile.mkdtemp()) / "pesatlas-0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: pesatlas\nVersion: 0\n")
        sys.path.append(str(folder.parent))
        os.environ["PYTHONPATH"] = os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(folder.parent)])


def configuration(pool: Path, shared: Path, options: argparse.Namespace) -> dict:
    """Return that of the pool with a comparison."""
    from pesatlas.potentials.weights import directory_sha256  # noqa: PLC0415 - after its version is known

    labels = shared / "models" / "TensorNet-MatPES-PBE-v2025.1-PES"
    raw = yaml.safe_load((pool / "config.yaml").read_text())
    return raw | {
        "campaign": {"name": "sampling", "seed": options.seed},
        "select": {
            "target": options.target,
            "structure": {"clusters": options.structure_clusters},
            "atoms": {"clusters": options.atom_clusters},
        },
        "label": {
            "backend": {
                "kind": "mlip",
                "potential": {
                    "kind": "matgl",
                    "path": str(labels),
                    "older_convention": True,
                    "sha256": directory_sha256(labels),
                },
            },
            "levels": ["mlip"],
            "structures_per_job": 100_000,
        },
        "dataset": {"split": {"valid": 0.1, "test": 0.25}, "exports": {"formats": []}},
        "train": {
            "references": "fit",
            "architecture": {"kind": "tensornet", "units": 16, "blocks": 1},
            "epochs": options.epochs,
            "patience": options.epochs,
            "batch_size": 8,
            "learning_rate": 4e-3,
            "checkpoint_interval_s": 30.0,
            "loss": {"stress": 0.01},
        },
        "compare": {
            "policies": [{"kind": "matpes"}, {"kind": "cover"}, {"kind": "random"}],
            "cost_shares": [0.67, 1.0],
            "seeds": list(range(options.seeds)),
            "test_frames": options.test_frames,
        },
    }


def load() -> "Campaign":
    """Read the configuration of the working folder, without looking for files that it names."""
    from pesatlas.campaign.load import read_campaign  # noqa: PLC0415 - after its version is known

    return read_campaign(Path("config.yaml"), extensions=False)


def select(results: Path) -> None:
    """Cluster the pool and pick the arms, as the rules of select and compare do."""
    from pesatlas.select.candidates import find_candidates  # noqa: PLC0415
    from pesatlas.select.comparison_picks import Explored, pick_arms  # noqa: PLC0415
    from pesatlas.select.quality import measure_selection, sample_frames  # noqa: PLC0415
    from pesatlas.select.select_frames import cluster_frames  # noqa: PLC0415

    campaign = load()
    settings, seed = campaign.select, campaign.campaign.seed
    features = sorted((results / folder_of("features")).glob("*.parquet"))
    snapshots = sorted((results / folder_of("snapshots")).glob("*.parquet"))
    pca, atoms, selection = (below(results, name) for name in ("pca", "atom_centres", "selection"))
    (clusters,) = cluster_frames(settings, {"00000": features}, pca, results).values()
    candidates, geometries, drawn = (
        below(results, name, group="00000") for name in ("candidates", "geometries", "drawn")
    )
    find_candidates(settings, seed, snapshots, clusters, atoms, candidates, geometries)
    pick_arms(
        campaign.compare,
        settings,
        campaign.dataset.split,
        seed,
        Explored(below(results, "structures"), snapshots, [clusters], [candidates], [geometries], atoms),
        selection=selection,
        arms=below(results, "arms"),
        structures_per_job=campaign.label.structures_per_job,
    )
    sample_frames(seed, features, pca, drawn)
    measure_selection(settings, [drawn], features, pca, selection, below(results, "quality"))


def label(results: Path) -> None:
    """Label the selection and collect the dataset."""
    from pesatlas.dataset.collect import collect_dataset  # noqa: PLC0415
    from pesatlas.label.batch import label_batch  # noqa: PLC0415
    from pesatlas.label.isolated_atoms import label_atoms  # noqa: PLC0415

    campaign, work = load(), Path(WORK["label_batch"])
    labels, atoms = below(results, "labels", batch=0), below(results, "atoms")
    label_atoms(
        campaign.label,
        campaign.campaign,
        structures=below(results, "structures"),
        atoms=atoms,
        failures=below(results, "atom_failures"),
        work=work,
    )
    label_batch(
        campaign.label,
        campaign.campaign,
        0,
        selection=below(results, "selection"),
        labels=labels,
        failures=below(results, "label_failures", batch=0),
        work=work,
    )
    collect_dataset(campaign, Results(results, 1, tuple(campaign.label.levels)).files)


def prepare(options: argparse.Namespace) -> None:
    """Pick, label, and say what another machine needs."""
    pool = options.pool.resolve()
    text = yaml.safe_dump(configuration(pool, options.shared.resolve(), options), sort_keys=False)
    options.folder.mkdir(parents=True, exist_ok=True)
    os.chdir(options.folder)
    Path("config.yaml").write_text(text)
    results = Path(RESULTS)
    for folder in (folder_of("snapshots"), folder_of("features"), FAILURES):
        shutil.copytree(pool / RESULTS / folder, results / folder, dirs_exist_ok=True)
    structures = Path(path_of("structures"))
    for path in (structures, entry_path(structures), Path(path_of("pca"))):
        path.parent.mkdir(exist_ok=True)
        shutil.copyfile(pool / path, path)
    below(results, "arms").parent.mkdir(exist_ok=True)
    select(results)
    label(results)
    files = [
        path for pattern in NEEDED for found in Path().glob(pattern) for path in [found, *found.rglob("*")]
    ]
    size = sum(path.stat().st_size for path in files if path.is_file())
    print(f"to train elsewhere ({size / 1e6:.1f} MB): {' '.join(NEEDED)}")


def train(options: argparse.Namespace) -> None:
    """Train what has not been trained, some potentials at a time, each in a process of its own."""
    os.chdir(options.folder)
    campaign = load()
    runs = campaign.compare.runs if campaign.compare else []
    # seed by seed: if time is short, every arm has as many
    left = [run for run in sorted(runs, key=lambda run: run[2]) if not file_of(run).is_file()]
    program = [sys.executable, str(Path(__file__).resolve()), "one", "."]

    def one(run: tuple[str, float, int]) -> int:
        command = [*program, *map(str, run), "--device", options.device]
        log = Path("logs") / f"{file_of(run).parent.name}.log"
        with log.open("w") as handle:
            return subprocess.run(
                command, stdout=handle, stderr=handle, env=environment, check=False
            ).returncode

    Path("logs").mkdir(exist_ok=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    start = time.monotonic()
    with ThreadPoolExecutor(options.jobs) as pool:
        codes = list(pool.map(one, left))
    print(f"{codes.count(0)} of {len(left)} trained in {time.monotonic() - start:.0f} s")
    sys.exit(any(codes))


def file_of(run: tuple[str, float, int]) -> Path:
    """Table of errors of a policy, share and seed, beside its potential, as its rule has it."""
    return Path(path_of("arm_errors", policy=run[0], share=f"{run[1]:g}", seed=run[2]))


def train_one(options: argparse.Namespace) -> None:
    """Train one potential in this process."""
    import logging  # noqa: PLC0415

    from pesatlas.train.comparison_arm import train_arm  # noqa: PLC0415

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    os.chdir(options.folder)
    campaign = load()
    settings = campaign.train.model_copy(update={"device": options.device})
    run = (options.policy, options.share, options.seed)
    arms = Path(path_of("arms"))
    train_arm(
        settings,
        campaign.compare,
        campaign.train_level,
        run,
        results=Path(RESULTS),
        arms=arms,
        folder=file_of(run).parent,
        work=Path(WORK["train_arm"]),
        store=Path(campaign.campaign.store),
    )


def report(options: argparse.Namespace) -> None:
    """Compare the seeds that every arm has, and print the tables."""
    from pesatlas.tables import read_table  # noqa: PLC0415
    from pesatlas.train.comparison import compare_arms  # noqa: PLC0415

    os.chdir(options.folder)
    campaign, results = load(), Path(RESULTS)
    there = {run for run in campaign.compare.runs if file_of(run).is_file()}
    arms = {run[:2] for run in campaign.compare.runs}
    seeds = [seed for seed in campaign.compare.seeds if all((*arm, seed) in there for arm in arms)]
    if len(seeds) < 2:
        sys.exit("fewer than two seeds are trained in every arm; run the part train again")
    compare = campaign.compare.model_copy(update={"seeds": seeds})
    runs = [file_of(run) for run in compare.runs]
    comparison, contrasts = below(results, "comparison"), below(results, "contrasts")
    compare_arms(
        compare,
        campaign.train_level,
        campaign.campaign.seed,
        arms=below(results, "arms"),
        errors=runs,
        comparison=comparison,
        contrasts=contrasts,
        efficiency=below(results, "efficiency"),
    )
    rows = read_table(comparison, "comparison").to_pylist()
    print(f"{len(seeds)} seeds; ", end="")
    for frames in ("dynamics", "equilibrium"):
        some = [row for row in rows if row["frames"] == frames]
        if some:
            print(
                f"{frames}: {some[0]['test_frames']} frames of {some[0]['test_materials']} held-out "
                "materials; ",
                end="",
            )
    picks = {(row["arm"], row["cost_share"]): row["picks"] for row in rows}
    print(
        "\n\n| frames | error | arm | share | cost (atoms³) | picks | mean | 95 % | of the reference | 95 % "
        "| verdict |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for row in read_table(contrasts, "contrasts").to_pylist():
        key = row["arm"], row["cost_share"]
        print(
            f"| {row['frames']} | {row['error']} | {row['arm']} | {row['cost_share']:g} | "
            f"{row['cost_atoms3']:.0f} | {picks[key]} "
            f"| {row['mean']:.4g} | {row['low']:.4g} to {row['high']:.4g} | {row['ratio']:.3f} | "
            f"{row['ratio_low']:.3f} to {row['ratio_high']:.3f} "
            f"| {row['verdict']} |"
        )


def main() -> None:
    """Do one part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(required=True)
    for name, does in (("prepare", prepare), ("train", train), ("one", train_one), ("report", report)):
        part = parts.add_parser(name)
        part.add_argument("folder", type=Path)
        part.set_defaults(does=does)
        if name == "prepare":
            part.add_argument("--pool", type=Path, required=True)
            part.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
            for key, value in PREPARED.items():
                part.add_argument(f"--{key}", type=int, default=value)
        if name == "one":
            part.add_argument("policy")
            part.add_argument("share", type=float)
            part.add_argument("seed", type=int)
        if name in {"train", "one"}:
            part.add_argument("--device", default="cpu")
        if name == "train":
            part.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    name_the_package()
    options.does(options)


if __name__ == "__main__":
    main()
