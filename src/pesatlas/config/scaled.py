"""A configuration scaled to the crystals of a user: a short file, each number with its reason.

What is not in it has its default. A pilot of a few crystals (``pesatlas plan --from``) replaces what is
assumed here about the cost of labels and of dynamics.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pesatlas.config.short import short_yaml

BackendName = Literal["gpaw", "vasp", "qe", "mlip"]

_LENGTHS_PS = (20.0, 10.0, 5.0)
"""Lengths of a trajectory to choose from; the shortest is five relaxation times of the barostat.

Longer ones teach little: of 60 crystals at 300 K, 2.8 ps of each covered what 20 ps did (docs/saturation.md).
"""
_STEP_FS = 2.0
CPU_RATE, GPU_RATE = 1_000.0, 23_000.0
"""Steps·atoms a second: the default potential on a core, and on a GPU (docs/performance.md)."""
_PATIENCE_H = 2.0
"""Core hours of dynamics without ``--gpu-hours``."""
_PICKS_PER_CRYSTAL = 10
_MOST_MIXED = 60_000
"""Labels for which the policy ``mixed`` is taken, half of whose picks are frames of 65,536 cells at most."""
_COMPONENTS = 16
"""Principal components of structures for it, as `pesatlas select` takes."""
_SUPERCELL_ATOMS = {"gpaw": 16, "vasp": 64, "qe": 64, "mlip": 64}
_WIDTH_A = {"gpaw": 5.0, "vasp": 7.5, "qe": 7.5, "mlip": 7.5}
HOURS_OF_64_ATOMS = {"gpaw": 40.0, "vasp": 10.0, "qe": 10.0, "mlip": 0.001}
"""Core hours that a label of 64 atoms is assumed to cost, all levels together, by backend."""
_LABEL_JOBS, _MD_JOBS = 16, 4
_PROGRAMS = {
    "vasp": ("VASP", "vasp_version", "6.4.3", "srun --overlap --ntasks {cores} --cpus-per-task 1 vasp_std"),
    "qe": ("pw.x", "qe_version", "7.5", "mpirun -n {cores} pw.x"),
}
"""Programs that users have of their own, by backend: name, key and example of the version, command."""
_TIMEOUT_MIN = 240
_FEW_CRYSTALS, _FEWEST_TO_SPLIT = 20, 3


@dataclass(frozen=True)
class Wishes:
    """Wishes of a user for a campaign.

    Attributes
    ----------
    paths : files, folders and globs of crystals, as the source ``files`` takes them
    name : of the campaign
    backend : code that labels
    core_hours : for all labels; None: ten picks a crystal
    gpu_hours : for the dynamics, on a GPU; None: on the CPU
    domains : regions beside bulk
    pseudopotentials : folder of UPF files, for Quantum ESPRESSO
    recommendations : file with their cut-offs; empty if there is none
    """

    paths: Sequence[str]
    name: str = "campaign"
    backend: BackendName = "gpaw"
    core_hours: float | None = None
    gpu_hours: float | None = None
    domains: Sequence[str] = ()
    pseudopotentials: str = ""
    recommendations: str = ""


@dataclass
class Scaled:
    """A configuration, and the reason of each of its numbers by dotted key."""

    raw: dict[str, Any]
    reasons: dict[str, str] = field(default_factory=dict)

    def as_yaml(self, title: Sequence[str]) -> str:
        """Return it as YAML, each reason behind its key."""
        return short_yaml(self.raw, self.reasons, title)


def scale(
    atoms: Sequence[int], wishes: Wishes, work_per_ps: float | None = None, cells: int | None = None
) -> Scaled:
    """Return a configuration for crystals with these numbers of atoms.

    Parameters
    ----------
    atoms : (n,) of each crystal's cell; n > 0
    work_per_ps : steps times atoms of a picosecond of all trajectories; None: of bulk with full supercells
    cells : of all crystals and domains; None: two of each crystal
    """
    backend, crystals = wishes.backend, len(atoms)
    largest = _SUPERCELL_ATOMS[backend]
    supercell = {"min_length_A": _WIDTH_A[backend], "max_atoms": largest}
    made = Scaled({"campaign": {"name": wishes.name}})
    made.raw["structures"] = {
        "sources": [{"kind": "files", "paths": list(wishes.paths)}],
        "domains": [{"kind": "bulk", "supercell": supercell}, *({"kind": name} for name in wishes.domains)],
    }
    made.reasons["structures.domains.0.supercell"] = (
        "labels cost the cube of their atoms; "
        f"{'MatPES has 7.5 Å and 64 atoms' if backend != 'gpaw' else 'small, for DFT on few cores'}"
    )
    _explore(made, cells or 2 * crystals, work_per_ps or _bulk_work(atoms, largest), wishes)
    _select(made, crystals, wishes)
    labels = made.raw["select"]["target"]
    made.raw["label"] = _label(wishes, math.ceil(labels / _LABEL_JOBS))
    made.reasons["label.structures_per_job"] = f"about {_LABEL_JOBS} jobs of labels"
    if backend in _PROGRAMS:
        _program(made, backend)
    if backend == "gpaw":
        made.reasons["label.levels"] = "one level; [pbe, r2scan] took four times as long for the demo"
        made.reasons["label.backend"] = "GPAW's standard quality: k-points and cut-offs to train on"
    if crystals < _FEW_CRYSTALS:
        # a little more than one of them: a share just below one may come to none
        share = math.ceil(1000 / crystals) / 1000 if crystals >= _FEWEST_TO_SPLIT else 0.0
        made.raw["dataset"] = {"split": {"valid": share, "test": 0.0}}
        made.reasons["dataset.split"] = (
            f"whole crystals are held out, and of {crystals} not both splits can have one"
        )
    return made


def _bulk_work(atoms: Sequence[int], largest: int) -> float:
    """Return steps times atoms of a picosecond of a unit cell and a supercell of each crystal."""
    return (sum(atoms) + largest * len(atoms)) * 1000 / _STEP_FS


def _explore(made: Scaled, cells: int, work_per_ps: float, wishes: Wishes) -> None:
    """Choose the longest trajectories that the hours for dynamics allow."""
    hours, rate = (wishes.gpu_hours, GPU_RATE) if wishes.gpu_hours else (_PATIENCE_H, CPU_RATE)
    allowed = hours * 3600 * rate / work_per_ps
    length = next((each for each in _LENGTHS_PS if each <= allowed), _LENGTHS_PS[-1])
    made.raw["explore"] = {
        "length_ps": length,
        "frame_interval_ps": 0.1,
    }
    needs = work_per_ps * length / rate / 3600
    where = "GPU" if wishes.gpu_hours else "core"
    made.reasons["explore.length_ps"] = (
        f"all cells with their time steps: about {needs:.2g} {where} hours at {rate:,.0f} steps·atoms/s"
        + (f", more than the {hours:g} given: shorter ones are not equilibrated" if needs > hours else "")
    )
    if wishes.gpu_hours:
        made.raw["explore"]["device"] = "cuda"
        made.raw["encode"] = {"device": "cuda"}
    else:
        made.raw["explore"]["structures_per_job"] = math.ceil(cells / _MD_JOBS)
        made.reasons["explore.structures_per_job"] = "a few jobs, to run side by side"


def _select(made: Scaled, crystals: int, wishes: Wishes) -> None:
    """Choose the number of labels, by crystals or by a budget."""
    target = _PICKS_PER_CRYSTAL * crystals
    made.raw["select"] = {"target": target, "structure": {"clusters": target}}
    made.reasons["select.target"] = (
        f"{crystals} crystals at rest, and {_PICKS_PER_CRYSTAL - 1} frames for each of them"
    )
    made.reasons["select.structure"] = (
        "as many clusters as labels; MatPES' threshold suits millions of frames"
    )
    if target <= _MOST_MIXED:
        made.raw["select"]["structure"]["components"] = _COMPONENTS
        made.raw["select"]["policy"] = {"kind": "mixed"}
        made.reasons["select.policy"] = (
            "rare environments and frequent frames in turns (docs/evidence.md); MatPES' recipe is matpes"
        )
    if wishes.core_hours is not None:
        assumed = HOURS_OF_64_ATOMS[wishes.backend]
        made.raw["select"]["budget"] = {"core_hours": wishes.core_hours, "core_hours_of_64_atoms": assumed}
        made.reasons["select.budget"] = (
            "core_hours_of_64_atoms is assumed: take what a pilot says (`pesatlas plan --from PILOT`)"
        )


def _program(made: Scaled, backend: BackendName) -> None:
    """Add what only the user knows of a program of their own, with its defaults, to be looked at."""
    program, key, version, command = _PROGRAMS[backend]
    label = made.raw["label"]
    label["backend"] |= {key: version, "command": command}
    label |= {"cores": 1, "timeout_min": _TIMEOUT_MIN, "scratch": None}
    made.reasons |= {
        f"label.backend.{key}": f"write the version of your {program}, which is part of the level",
        "label.backend.command": f"what starts {program} on your machine, without a shell",
        "label.cores": f"of each calculation: write those of your nodes (docs/{backend}.md)",
        "label.timeout_min": "of one calculation",
        "label.scratch": "folder on the disk of the node; null: $TMPDIR of the job, or /tmp",
    }
    if backend == "qe":
        made.reasons["label.backend.pseudopotentials"] = "the whole set is part of the level"
        made.reasons["label.backend.recommendations"] = "cut-offs of each element; or write cutoffs_Ry"


def _label(wishes: Wishes, per_job: int) -> dict[str, Any]:
    upf = {"pseudopotentials": wishes.pseudopotentials}
    upf |= {"recommendations": wishes.recommendations} if wishes.recommendations else {}
    options: dict[str, dict[str, Any]] = {
        "gpaw": {"backend": {"kind": "gpaw"}, "levels": ["pbe"]},
        "vasp": {"backend": {"kind": "vasp"}, "levels": ["pbe", "r2scan"]},
        "qe": {"backend": {"kind": "qe", **upf}, "levels": ["pbe"]},
        "mlip": {
            "backend": {"kind": "mlip", "potential": {"kind": "chgnet", "version": "r2scan"}},
            "levels": ["mlip"],
        },
    }
    return {**options[wishes.backend], "structures_per_job": per_job}
