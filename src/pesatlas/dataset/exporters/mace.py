"""Extended XYZ for MACE: ``REF_`` energy, forces, stress (eV/Å³, tension positive), a file for each split.

MACE knows the elements of the files that it trains and validates on, and stops at any other. So:

- Isolated atoms of these elements alone lead the training file as ``config_type=IsolatedAtom``, which MACE
  takes its E0s from. Where one of them has no energy there are none, for MACE takes all or none from the
  file.
- Frames of the split test with other elements have a file of their own, ``-test-unseen.extxyz``.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from pesatlas.atoms.elements import symbol_of
from pesatlas.campaign.splits import SPLITS
from pesatlas.dataset.convert import text_info, to_ase
from pesatlas.dataset.dataset_rows import Source

UNSEEN = "test-unseen"
_BOX_A = 20.0
_VOIGT = ((0, 5, 4), (5, 1, 3), (4, 3, 2))


def export(source: Source, folder: Path) -> list[Path]:
    """Write ``-train``, ``-valid``, ``-test`` and ``-test-unseen.extxyz``, as far as there are frames.

    Return them.
    """
    from ase import Atoms  # noqa: PLC0415 - slow to import
    from ase.io.extxyz import write_extxyz  # noqa: PLC0415

    elements = _elements_of(source)
    paths = {split: folder / f"{source.stem}-{split}.extxyz" for split in (*SPLITS, UNSEEN)}
    with ExitStack() as stack:
        files: dict[str, TextIO] = {
            split: stack.enter_context(path.open("w", encoding="utf-8")) for split, path in paths.items()
        }
        for symbol in elements.isolated:
            atom = Atoms(symbol, cell=[_BOX_A] * 3)
            atom.info = {"REF_energy": source.atoms[symbol], "config_type": "IsolatedAtom"}
            atom.arrays["REF_forces"] = np.zeros((1, 3))
            write_extxyz(files["train"], [atom])
        for row in source.rows():
            atoms: Any = to_ase(row, results=False)
            atoms.info = {
                **text_info(row),
                "config_type": "Default",
                "REF_energy": row["energy_eV"],
                "REF_stress": np.array(row["stress_eV_per_A3"])[list(map(list, _VOIGT))],
            }
            atoms.arrays["REF_forces"] = np.reshape(row["forces_eV_per_A"], (-1, 3))
            unseen = row["split"] == "test" and not set(row["numbers"]) <= elements.numbers
            write_extxyz(files[UNSEEN if unseen else row["split"]], [atoms])
    # MACE is not given a file without frames
    for path in paths.values():
        if not path.stat().st_size:
            path.unlink()
    return [path for path in paths.values() if path.exists()]


def remarks(source: Source) -> list[str]:
    """Return remarks on missing isolated atoms, and on frames that MACE cannot be tested on."""
    elements = _elements_of(source)
    found = []
    if elements.without_energy:
        found.append(
            "No isolated atoms are in the training file: there is no energy for "
            f"{', '.join(elements.without_energy)}. MACE takes its E0s "
            "from all of them or from none: train with `--E0s average`."
        )
    elif elements.left_out:
        found.append(
            f"Isolated atoms of {', '.join(elements.left_out)} are left out: no frame of train or valid has "
            "these elements, and MACE stops at isolated atoms of others. Their energies are in the card of "
            "the dataset."
        )
    if elements.unseen_frames:
        found.append(
            "Frames of the split test with elements that no frame of train or valid has: "
            f"{elements.unseen_frames}. MACE stops at them, so they are in a file of their own, "
            f"`{source.stem}-{UNSEEN}.extxyz`."
        )
    return found


@dataclass(frozen=True)
class _Elements:
    """Elements of an export.

    Attributes
    ----------
    numbers : atomic numbers in the splits train and valid
    isolated : symbols of the isolated atoms that are written
    left_out : symbols of those that are not, for no frame of train or valid has them
    without_energy : symbols in train and valid that have no isolated atom
    unseen_frames : frames of the split test with elements that are not in ``numbers``
    """

    numbers: frozenset[int]
    isolated: list[str]
    left_out: list[str]
    without_energy: list[str]
    unseen_frames: int


def _elements_of(source: Source) -> _Elements:
    learned: set[int] = set()
    # few different sets of elements make up the many rows of a split
    tested: dict[frozenset[int], int] = {}
    for row in source.rows(["numbers", "split"]):
        if row["split"] == "test":
            held = frozenset(row["numbers"])
            tested[held] = tested.get(held, 0) + 1
        else:
            learned.update(row["numbers"])
    symbols = [symbol_of(number) for number in sorted(learned)]
    without_energy = [symbol for symbol in symbols if symbol not in source.atoms]
    return _Elements(
        frozenset(learned),
        isolated=[symbol for symbol in source.atoms if symbol in symbols and not without_energy],
        left_out=[symbol for symbol in source.atoms if symbol not in symbols],
        without_energy=without_energy,
        unseen_frames=sum(count for held, count in tested.items() if not held <= learned),
    )
