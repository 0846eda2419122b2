"""Saturated against fixed lengths at equal labels: errors of a potential trained on what was picked of each.

    python benchmarks/adaptive_labels.py FOLDER [--shared ../shared] [--targets 100 200] [--seeds 1 2 3]

FOLDER is a recording of `benchmarks/adaptive_recording.py`. Of the first three quarters of its trajectories
three pools are made: all frames, those until each trajectory is saturated, and as many of each trajectory as
cost the same. The policy `mixed` picks as many frames of each pool; chgnet 0.3.0 labels them, in place of
DFT; M3GNet-MP-2021.2.8, which explored, is fine-tuned on them, and tested on frames of the last quarter. It
prints errors of forces, with the deviation of the seeds.
"""

import argparse
import logging
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from adaptive import Pool, Recording, fixed_lengths, read_recording, saturated_lengths, work_of
from adaptive_recording import ROOT, encode_section, explore_section
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from curves_tuning import FineTuning, Matgl

from pesatlas.campaign.layout import below
from pesatlas.config.explore import Explore
from pesatlas.config.plugins import find
from pesatlas.config.select import Select
from pesatlas.dataset.convert import to_ase
from pesatlas.explore.saturation import Saturation
from pesatlas.potentials.kinds import chgnet
from pesatlas.potentials.potential import VOIGT
from pesatlas.select.select_frames import select_frames
from pesatlas.tables import read_table
from pesatlas.testing.crystals import to_batch

RATE = 3e-4
TESTED = 4
"""Frames of the last quarter of each trajectory that test."""


def picked(recording: Recording, lengths: Mapping[str, int], target: int, seed: int) -> list[str]:
    """Return the names of the frames that ``mixed`` picks of a pool."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pool = Pool(recording, lengths, folder)
        settings = Select(
            target=target,
            structure={"clusters": target // 4, "components": 16},
            atoms={"clusters": 16 * target},
            policy={"kind": "mixed"},
        )
        select_frames(settings, seed, [pool.shard], folder / "out", structures_per_job=target)
        table = read_table(below(folder / "out", "selection"), "selection", ["snapshot_id"])
        names: list[str] = table["snapshot_id"].to_pylist()
        return names


def labelled(recording: Recording, names: Sequence[str]) -> list[Atoms]:
    """Return frames with the labels of chgnet."""
    rows = recording.snapshots.filter(pc.is_in(recording.snapshots["snapshot_id"], pa.array(names)))
    potential: Any = chgnet.load(chgnet.Options(), "cpu")
    frames = []
    for row in rows.select(["numbers", "positions_A", "cell_A"]).to_pylist():
        atoms = to_ase(row, results=False)
        done = potential.evaluate(to_batch([atoms]))
        atoms.calc = SinglePointCalculator(
            atoms,
            energy=float(done.energies[0]),
            forces=done.forces.numpy(),
            stress=done.stresses[0].numpy()[VOIGT],
        )
        frames.append(atoms)
    return frames


def force_error(tuning: FineTuning, model: torch.nn.Module, rows: Sequence[int]) -> tuple[float, float]:
    """Mean and 95th percentile of errors of forces, meV/Å."""
    found = 1000 * np.concatenate([each["forces"] for each in tuning.errors(model, rows)])
    return float(found.mean()), float(np.percentile(found, 95))


def main() -> None:
    """Compare the pools, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--targets", type=int, nargs="+", default=[100, 200])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    shared = arguments.shared.resolve()
    recording = read_recording(arguments.folder)
    options: Any = encode_section(shared).encoder
    encoder = find("pesatlas.encode.encoders", options.kind).load(options, "cpu")
    section = explore_section(shared).model_dump() | {"stop": {"kind": "saturated", "encoder": options}}
    rule = Saturation(Explore.model_validate(section), encoder)
    most = {each.name: 3 * len(each.frames) // 4 for each in recording.trajectories}
    saturated = {name: min(count, most[name]) for name, count in saturated_lengths(recording, rule).items()}
    fixed = fixed_lengths(recording, work_of(recording, saturated))
    pools = {"all": most, "saturated": saturated, "fixed": fixed}
    tests = [
        each.frames[k]
        for each in recording.trajectories
        for k in np.linspace(most[each.name], len(each.frames) - 1, TESTED).astype(int)
    ]
    held_out = labelled(recording, tests)
    learner = Matgl(shared / "models" / "M3GNet-MP-2021.2.8-PES", older_convention=True)
    whole = work_of(recording, most)
    before = FineTuning(held_out, learner)
    mean, large = force_error(before, learner.new(), range(len(held_out)))
    print(f"{len(recording.trajectories)} trajectories; before: mean {mean:.1f}, 95 % {large:.1f} meV/Å\n")
    print("| pool | steps·atoms | picks | mean of forces | 95 % |")
    print("|---|---|---|---|---|")
    for target in arguments.targets:
        for name, lengths in pools.items():
            errors = []
            for seed in arguments.seeds:
                frames = labelled(recording, picked(recording, lengths, target, seed))
                tuning = FineTuning(frames + held_out, learner)
                model = tuning.train(range(len(frames)), seed, RATE)
                rows = range(len(frames), len(frames) + len(held_out))
                errors.append(force_error(tuning, model, rows))
            (mean, large), spread = np.mean(errors, 0), np.std(errors, 0)
            share = work_of(recording, lengths) / whole
            print(
                f"| {name} | {share:.3f} | {len(frames)} | {mean:.1f} ± {spread[0]:.1f} | "
                f"{large:.0f} ± {spread[1]:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
