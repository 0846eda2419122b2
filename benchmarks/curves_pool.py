"""Labelled frames of files: who is in the pool, who tests, and what chgnet says of each."""

import fnmatch
import gzip
import hashlib
import pickle
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from ase.io import read
from numpy.typing import NDArray

POOL, TUNE, TUNE_TEST = "pool", "tune", "tune-test"
"""Roles of frames: the pools of the experiment and of the tuning before it, and the test of the latter."""
SAID = ("structures", "vectors", "energies", "forces", "stresses")
"""Names of the arrays that chgnet gives for frames and atoms."""


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames with labels.

    Attributes
    ----------
    atoms : structures of ASE, with energy (eV), forces (eV/Å) and stress (eV/Å³)
    ids, groups : names of frames, and of the groups they belong to
    roles : ``POOL``, ``TUNE``, ``TUNE_TEST`` or the name of a test
    structures : (F, 64) features of chgnet, mean over the atoms
    vectors : (N, 64) features of all atoms, float16
    owners : (N,) frame of each atom
    predicted : energies (F,) in eV, forces (N, 3) in eV/Å and stresses (F, 6) in eV/Å³ by chgnet
    """

    atoms: list[Any]
    ids: NDArray[np.str_]
    groups: NDArray[np.str_]
    roles: NDArray[np.str_]
    structures: NDArray[np.float32]
    vectors: NDArray[np.float16]
    owners: NDArray[np.int64]
    predicted: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

    @property
    def largest(self) -> NDArray[np.float64]:
        """Largest force of each frame that chgnet predicts (F,), in eV/Å."""
        edges = np.cumsum([0, *self.n_atoms[:-1]])
        largest: NDArray[np.float64] = np.maximum.reduceat(np.linalg.norm(self.predicted[1], axis=1), edges)
        return largest

    @property
    def n_atoms(self) -> NDArray[np.int64]:
        """Atoms of each frame (F,)."""
        return np.bincount(self.owners, minlength=len(self.ids))

    @property
    def cost(self) -> NDArray[np.float64]:
        """DFT cost of each frame (F,): the cube of its number of atoms."""
        return self.n_atoms.astype(float) ** 3

    @property
    def energies(self) -> NDArray[np.float64]:
        """DFT energies (F,) in eV."""
        return np.array([each.get_potential_energy() for each in self.atoms])

    def where(self, role: str) -> NDArray[np.int64]:
        """Rows of a role."""
        return np.flatnonzero(self.roles == role)

    @property
    def tests(self) -> list[str]:
        """Names of the tests."""
        return sorted(set(self.roles.tolist()) - {POOL, TUNE, TUNE_TEST})


def share_of(name: str, salt: str) -> float:
    """Return a number from 0 to 1 that a name has for ever: a hash, so that no order changes it."""
    digest = hashlib.blake2b(f"{salt}:{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64


def roles_of(
    ids: Sequence[str], groups: Sequence[str], tests: Sequence[tuple[str, str]], tuning: float, kept: float
) -> list[str]:
    """Return the role of each frame.

    Parameters
    ----------
    tests : names of tests and patterns of their groups; the first that matches counts
    tuning : share of the other frames with which policies are tuned, and which the experiment never sees
    kept : share of the tuning frames, and of the rest as ``kind`` if no test of that name is given, that test
    """
    drawn = 0.0 if any(name == "kind" for name, _ in tests) else kept
    roles = []
    for identity, group in zip(ids, groups, strict=True):
        found = next((name for name, pattern in tests if fnmatch.fnmatchcase(group, pattern)), None)
        if found is None:
            found = TUNE if share_of(identity, "tune") < tuning else POOL
            if share_of(identity, "test") < (kept if found == TUNE else drawn):
                found = TUNE_TEST if found == TUNE else "kind"
        roles.append(found)
    return roles


def read_frames(files: Sequence[Path], key: str, most_atoms: int | None) -> list[Any]:
    """Read extended XYZ; leave out frames of more than ``most_atoms`` atoms, and those without labels."""
    found = []
    for path in files:
        # unpacked first: ASE seeks back for every frame, and a compressed file starts anew each time
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for number, atoms in enumerate(read(StringIO(text.decode()), ":", format="extxyz")):
            if most_atoms is not None and len(atoms) > most_atoms:
                continue
            if atoms.calc is None or "forces" not in atoms.calc.results or not atoms.pbc.all():
                continue
            atoms.info.setdefault("frame_id", f"{path.name}:{number}")
            atoms.info.setdefault(key, path.name.split(".")[0])
            found.append(atoms)
    return found


def _read_once(files: Sequence[Path], key: str, most_atoms: int | None, kept: Path) -> list[Any]:
    """Read frames, from what was kept of them if it is there: text of 100,000 atoms takes minutes."""
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kept.write_bytes(pickle.dumps(read_frames(files, key, most_atoms)))
    found: list[Any] = pickle.loads(kept.read_bytes())  # noqa: S301 - our own
    return found


def describe(atoms: Sequence[Any]) -> dict[str, NDArray[Any]]:
    """Return what chgnet says of frames: features, energies, forces and stresses."""
    import torch  # noqa: PLC0415 - heavy

    from pesatlas.config.plugins import find  # noqa: PLC0415
    from pesatlas.potentials.described import describe as encode  # noqa: PLC0415
    from pesatlas.potentials.encoder import Frame  # noqa: PLC0415
    from pesatlas.potentials.kinds import chgnet  # noqa: PLC0415
    from pesatlas.potentials.potential import Batch  # noqa: PLC0415

    torch.set_num_threads(1)
    module = find("pesatlas.encode.encoders", "chgnet")
    encoder = module.load(module.Options(), "cpu")
    potential: Any = chgnet.load(chgnet.Options(), "cpu")
    frames = [Frame(each.numbers.astype(np.int64), each.positions, np.array(each.cell)) for each in atoms]
    found: dict[str, list[Any]] = {name: [] for name in SAID}
    for start in range(0, len(frames), 16):
        some = frames[start : start + 16]
        for whole, each in encode(encoder, some, 400):
            found["structures"].append(whole[None])
            found["vectors"].append(each)
        batch = Batch(
            torch.as_tensor(np.concatenate([frame.numbers for frame in some])),
            torch.as_tensor(np.concatenate([frame.positions for frame in some])),
            torch.as_tensor(np.stack([frame.cell for frame in some])),
            torch.tensor([len(frame.numbers) for frame in some]),
        )
        done = potential.evaluate(batch)
        for name in ("energies", "forces", "stresses"):
            found[name].append(getattr(done, name).numpy())
        if start % 1600 == 0:
            print(f"chgnet has seen {start} of {len(frames)} frames", flush=True)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def open_frames(
    files: Sequence[Path],
    cache: Path,
    *,
    key: str = "group",
    most_atoms: int | None = None,
    tests: Sequence[tuple[str, str]] = (),
    tuning: float = 1 / 3,
    kept: float = 0.15,
) -> Frames:
    """Read frames, and describe those once; what chgnet cannot describe is left out.

    Parameters
    ----------
    cache : folder of what was read, and of what chgnet says of it
    """
    atoms = _read_once(files, key, most_atoms, cache / "frames.pkl")
    saved = cache / "described.npz"
    if not saved.is_file():
        np.savez(saved, **describe(atoms))
    with np.load(saved) as file:
        said = {name: file[name] for name in SAID}
    if len(said["structures"]) != len(atoms):
        raise SystemExit(f"{saved} is of other frames: remove {cache}.")
    owners = np.repeat(np.arange(len(atoms)), [len(each) for each in atoms])
    sound = np.isfinite(said["structures"]).all(1) & np.isfinite(said["energies"])
    of_sound = sound[owners]
    good = [each for each, ok in zip(atoms, sound, strict=True) if ok]
    ids, groups = [str(each.info["frame_id"]) for each in good], [str(each.info[key]) for each in good]
    return Frames(
        good,
        np.array(ids),
        np.array(groups),
        np.array(roles_of(ids, groups, tests, tuning, kept)),
        said["structures"][sound].astype(np.float32),
        said["vectors"][of_sound],
        (np.cumsum(sound) - 1)[owners[of_sound]],
        (said["energies"][sound], said["forces"][of_sound], said["stresses"][sound]),
    )
