"""Presets, from which ``config.yaml`` and ``config/*.yaml`` are generated."""

from collections.abc import Iterator
from typing import Any

from pesatlas.atoms.units import ATM_TO_GPA
from pesatlas.config.campaign import Campaign
from pesatlas.config.section import Section
from pesatlas.errors import UserError

Preset = tuple[dict[str, Any], dict[str, str], str]

# Real parts throughout, scaled to five minutes on two cores.
DEMO: Preset = (
    {
        "campaign": {"name": "demo"},
        "structures": {
            "sources": [{"kind": "demo", "names": ["NaCl", "Si", "Si-BC8", "SiC"]}],
            "domains": [
                {
                    "kind": "bulk",
                    "supercell": {"min_length_A": 5.0, "max_atoms": 4},
                    "pressures_GPa": [ATM_TO_GPA],
                }
            ],
        },
        "explore": {
            "potential": {"kind": "chgnet"},
            "timestep_fs": "auto",
            "length_ps": 0.5,
            "frame_interval_ps": 0.02,
            "structures_per_job": 8,
        },
        "encode": {"encoder": {"kind": "chgnet"}},
        "select": {"target": 12, "structure": {"threshold": 0.02}, "atoms": {"threshold": 0.01}},
        "label": {"backend": {"kind": "gpaw", "quality": "coarse"}, "structures_per_job": 2},
    },
    {
        "explore.timestep_fs": "Of the demo's crystals: 2 fs, with Li and C 1 fs. MatPES: 2 for all, with "
        "which bonds of "
        "hydrogen explode.",
        "explore.length_ps": "MatPES: 100. Half a picosecond shows how it works.",
        "structures.domains.0.supercell": "Small, so that DFT of a supercell takes seconds. MatPES has 64 "
        "atoms.",
        "select.target": "4 equilibrium crystals and 8 snapshots.",
        "select.structure": "MatPES: 0.5. Half a picosecond moves less than a hundred, so the net is finer.",
        "select.atoms": "MatPES: 0.1.",
        "label.backend.quality": "Coarse k-points and cut-offs, a level of its own: not for training. For "
        "data to keep: "
        "standard.",
    },
    (
        "The demo: four small crystals, chgnet dynamics, GPAW labels. About five minutes on two cores.\n"
        "Check it: pesatlas config check    Look: pesatlas run -n    Run: pesatlas run"
    ),
)

PUBLISHED = "Published."
_ENCODER: dict[str, Any] = {"kind": "m3gnet_eform", "path": "models/M3GNet-MP-2018.6.1-Eform"}
UNKNOWN = "Not published; this project's choice."

MATPES: Preset = (
    {
        "campaign": {"name": "matpes"},
        "structures": {
            "sources": [{"kind": "materials_project", "cache": "materials_project.parquet"}],
            "domains": [
                {
                    "kind": "bulk",
                    "supercell": {"min_length_A": 7.5, "max_atoms": 64},
                    "temperatures_K": [300.0],
                    "pressures_GPa": [ATM_TO_GPA],
                }
            ],
        },
        "explore": {
            "potential": {"kind": "matgl", "path": "models/M3GNet-MP-2021.2.8-DIRECT-PES"},
            "device": "cuda",
            "timestep_fs": 2.0,
            "length_ps": 100.0,
            "frame_interval_ps": 0.1,
        },
        "encode": {"encoder": _ENCODER, "device": "cuda"},
        "select": {
            "target": 509_799,
            "structure": {"components": 16, "threshold": 0.5},
            "atoms": {"components": 8, "threshold": 0.1},
        },
        "label": {"backend": {"kind": "vasp", "vasp_version": "6.4.3"}},
    },
    {
        "structures.sources.0": "Published: ground states of the Materials Project, v2022.10.28. The API "
        "serves the current "
        "version; the version fetched is in the cache.",
        "structures.domains.0.supercell": "Published: unit cells and supercells, e.g. 8 and 64 atoms by "
        "2x2x2. The rule for others is not "
        "published; this is this project's choice.",
        "structures.domains.0.temperatures_K": PUBLISHED,
        "structures.domains.0.pressures_GPa": "Published: 1 atm.",
        "explore.potential": "Published: M3GNet-MP-2021.2.8-DIRECT.",
        "explore.timestep_fs": "Published. Too long for bonds of hydrogen (9 to 12 fs), whose trajectories "
        "heat up or explode "
        "and become failures; auto keeps them.",
        "explore.length_ps": PUBLISHED,
        "explore.frame_interval_ps": "Published: 1001 frames of a trajectory, the first of them the crystal "
        "as given.",
        "structures.max_atoms": UNKNOWN,
        "structures.min_distance_A": UNKNOWN,
        "structures.remove_duplicates": "Not published; this project's choice. MatPES 2025.2 says that "
        "duplicates were removed, not "
        "how.",
        "structures.sources.0.max_energy_above_hull_eV_per_atom": (
            "Not published: 154,718 ground states are mentioned, but no limit above the hull. null takes "
            "every material."
        ),
        "explore.thermostat_tau_fs": UNKNOWN,
        "explore.barostat_tau_fs": UNKNOWN,
        "explore.compressibility_per_GPa": UNKNOWN,
        "explore.abort": UNKNOWN,
        "encode.encoder": "Published: the formation-energy M3GNet; 128 features of a structure, 64 of an "
        "atom.",
        "select.target": "Published: 358,031 snapshots and 151,768 ground states.",
        "select.include_equilibrium": PUBLISHED,
        "select.structure": "Published: 16 components, threshold 0.5, which gave 15,192 clusters.",
        "select.atoms": "Published: 8 components, threshold 0.1. There the components were fitted on ground "
        "states "
        "alone; here on every snapshot.",
        "select.min_distance_A": UNKNOWN,
        "label.backend": "Published: VASP with pymatgen's MatPESStaticSet. Set your version of VASP; "
        "POTCARs: "
        "docs/vasp.md.",
        "label.levels": PUBLISHED,
        "dataset.rules": UNKNOWN,
        "dataset.split": UNKNOWN,
    },
    (
        "MatPES as published (Kaplan et al., arXiv 2503.04070). Every key says whether its value is "
        "published;\n"
        "docs/selection.md says what the published thresholds give here."
    ),
)

PUBLISHED_KEYS = frozenset(
    {
        "structures.sources.0.kind",
        "structures.domains.0.kind",
        "structures.domains.0.unit_cell",
        "structures.domains.0.temperatures_K",
        "structures.domains.0.pressures_GPa",
        "explore.potential.kind",
        "explore.potential.path",
        "explore.timestep_fs",
        "explore.length_ps",
        "explore.frame_interval_ps",
        "explore.stop.kind",
        "encode.encoder.kind",
        "encode.encoder.path",
        "select.target",
        "select.include_equilibrium",
        "select.structure.components",
        "select.structure.threshold",
        "select.atoms.components",
        "select.atoms.threshold",
        "select.policy.kind",
        "label.backend.kind",
        "label.levels",
    }
)
"""Keys of ``MATPES`` whose value is published: all others are this project's choice."""

ATLAS: Preset = (
    {
        **MATPES[0],
        "campaign": {"name": "atlas"},
        "explore": {
            **MATPES[0]["explore"],
            "timestep_fs": "auto",
            "stop": {"kind": "saturated", "encoder": _ENCODER},
        },
        "encode": {"encoder": _ENCODER, "device": "cuda"},
    },
    {
        "explore.timestep_fs": "MatPES: 2 for all. Bonds of hydrogen need 0.5.",
        "explore.length_ps": "The most that a trajectory gets, if it shows something new until the end. "
        "MatPES: all of them.",
        "explore.stop": "MatPES: fixed. What is saved can be spent on more temperatures or crystals.",
        "explore.stop.encoder": "As in section encode, so that nothing is encoded twice.",
        "select.target": "As MatPES.",
        "label.backend": "As MatPES. Set your version of VASP; POTCARs: docs/vasp.md.",
    },
    (
        "The crystals of MatPES, each explored until it shows nothing new: docs/saturation.md says why and "
        "what it\nsaves. config/matpes.yaml is the published recipe."
    ),
)

_OWN = (
    "Two to begin with. Your own beside them: {kind: files, paths: [folder]} or {kind: materials_project, "
    "...}."
)
_DRIVER = (
    "Runs everywhere. A potential that was trained on more of this regime explores better: {kind: matgl, "
    "path: ...}."
)

HYDRIDES: Preset = (
    {
        "campaign": {"name": "hydrides"},
        "structures": {
            "sources": [{"kind": "demo", "names": ["H3S", "LaH10"]}],
            "domains": [
                {
                    "kind": "compressed",
                    "supercell": {"min_length_A": 6.0, "max_atoms": 64},
                    "temperatures_K": [300.0, 1000.0],
                    "pressures_GPa": [100.0, 150.0, 200.0, 250.0, 300.0],
                    "given_at_GPa": 175.0,
                },
                {
                    "kind": "rattled",
                    "supercell": {"min_length_A": 5.0, "max_atoms": 48},
                    "displacements_A": [0.05, 0.1, 0.15],
                    "copies": 10,
                },
                {
                    "kind": "vacancy",
                    "elements": ["H"],
                    "supercell": {"min_length_A": 6.0, "max_atoms": 64},
                    "pressure_GPa": 175.0,
                },
                {
                    "kind": "transition",
                    "elements": ["H"],
                    "supercell": {"min_length_A": 6.0, "max_atoms": 64},
                },
            ],
        },
        "explore": {
            "potential": {"kind": "chgnet"},
            "timestep_fs": 0.5,
            "length_ps": 10.0,
            "frame_interval_ps": 0.05,
            "compressibility_per_GPa": 0.00125,
            "abort": {"min_distance_A": 0.4},
            "structures_per_job": 8,
        },
        "encode": {"encoder": {"kind": "chgnet"}},
        "select": {
            "target": 400,
            "min_distance_A": 0.6,
            "quotas": {"compressed": 0.6, "rattled": 0.15, "vacancy": 0.15, "transition": 0.1},
        },
        "label": {"backend": {"kind": "gpaw"}},
    },
    {
        "structures.sources.0": _OWN,
        "structures.domains.0.pressures_GPa": "Where superhydrides are made and superconduct: H3S at "
        "90-200, LaH10 at 130-220 GPa.",
        "structures.domains.0.given_at_GPa": "H3S has its volume at 200 GPa, LaH10 at 150 GPa; an error of "
        "25 GPa is 3 % of the volume, which the barostat corrects.",
        "structures.domains.0.temperatures_K": "Where they superconduct and are studied; and where hydrogen "
        "begins to diffuse.",
        "structures.domains.1.displacements_A": "Zero-point motion of H is about 0.15 Å in a coordinate, "
        "which classical dynamics miss.",
        "structures.domains.2.pressure_GPa": "That of given_at_GPa.",
        "explore.potential": _DRIVER,
        "explore.timestep_fs": "A twentieth of the fastest vibration of H (about 10 fs).",
        "explore.compressibility_per_GPa": "1 / (100 + 4 x 175) GPa, as compressed has it.",
        "explore.abort.min_distance_A": "H-H of a molecule is 0.74, and 0.6 in its vibrations.",
        "select.min_distance_A": "As above: PAW spheres of H overlap below.",
        "select.quotas": "Mostly the ladder, and as much of the rest as its few cells give.",
    },
    "Superhydrides under pressure: docs/hydrides.md gives the reason for each number.",
)

MONOLAYERS: Preset = (
    {
        "campaign": {"name": "monolayers"},
        "structures": {
            "sources": [{"kind": "demo", "names": ["MoS2", "WS2"]}],
            "domains": [
                {"kind": "bulk", "supercell": None},
                {
                    "kind": "monolayer",
                    "vacuum_A": 15.0,
                    "supercell": {"min_length_A": 8.0, "max_atoms": 48},
                    "temperatures_K": [300.0, 900.0],
                    "vacancies": True,
                },
                {"kind": "layered", "supercell": {"min_length_A": 6.0, "max_atoms": 54}},
            ],
        },
        "explore": {
            "potential": {"kind": "chgnet"},
            "timestep_fs": 2.0,
            "length_ps": 20.0,
            "frame_interval_ps": 0.1,
            "structures_per_job": 4,
        },
        "encode": {"encoder": {"kind": "chgnet"}},
        "select": {"target": 300, "quotas": {"monolayer": 0.6, "layered": 0.25}},
        "label": {"backend": {"kind": "gpaw"}},
    },
    {
        "structures.sources.0": _OWN,
        "structures.domains.1.vacuum_A": "Twice the range of the potential and more, so that a layer does "
        "not see its image.",
        "structures.domains.1.supercell": "3 x 3: a vacancy is 9.5 Å from its image; 27 atoms are a DFT "
        "calculation of minutes.",
        "structures.domains.1.temperatures_K": "Room temperature, and that at which such layers are grown "
        "and annealed.",
        "structures.domains.1.vacancies": "One atom of each element less: a missing S is the commonest "
        "defect of MoS2.",
        "structures.domains.2.supercell": "3 x 3 x 1.",
        "explore.potential": _DRIVER,
        "explore.timestep_fs": "The fastest vibration takes 70 fs.",
        "select.quotas": "Single layers first, then what binds layers; 15 % are left for the crystals.",
    },
    (
        "Single layers of dichalcogenides, with vacancies: docs/monolayers.md gives the reason for each "
        "number."
    ),
)

BATTERY: Preset = (
    {
        "campaign": {"name": "battery"},
        "structures": {
            "sources": [{"kind": "demo", "names": ["Li2O", "Li2S", "Li3N"]}],
            "domains": [
                {"kind": "bulk", "supercell": {"min_length_A": 8.0, "max_atoms": 64}},
                {
                    "kind": "hot",
                    "supercell": {"min_length_A": 8.0, "max_atoms": 64},
                    "temperatures_K": [600.0, 900.0, 1200.0],
                },
                {
                    "kind": "vacancy",
                    "elements": ["Li"],
                    "supercell": {"min_length_A": 8.0, "max_atoms": 64},
                    "temperatures_K": [600.0, 900.0],
                },
                {
                    "kind": "interstitial",
                    "elements": ["Li"],
                    "supercell": {"min_length_A": 8.0, "max_atoms": 64},
                    "temperatures_K": [600.0],
                },
                {
                    "kind": "transition",
                    "elements": ["Li"],
                    "images": 7,
                    "supercell": {"min_length_A": 8.0, "max_atoms": 64},
                },
            ],
        },
        "explore": {
            "potential": {"kind": "chgnet"},
            "timestep_fs": 1.0,
            "length_ps": 20.0,
            "frame_interval_ps": 0.1,
            "compressibility_per_GPa": 0.015,
            "structures_per_job": 8,
        },
        "encode": {"encoder": {"kind": "chgnet"}},
        "select": {
            "target": 500,
            "quotas": {"hot": 0.4, "vacancy": 0.25, "interstitial": 0.1, "transition": 0.1},
        },
        "label": {"backend": {"kind": "gpaw"}},
    },
    {
        "structures.sources.0": _OWN,
        "structures.domains.0.supercell": "As of the others, so that defects differ from it by the defect "
        "alone.",
        "structures.domains.1.temperatures_K": "Up to where Li2O and Li2S are fast ion conductors (about "
        "1200 and 800 K).",
        "structures.domains.2.elements": "Li moves; the other ions hardly do.",
        "structures.domains.2.temperatures_K": "Hot enough that hops happen within 20 ps.",
        "structures.domains.4.images": "An odd number has one on top of the barrier.",
        "explore.potential": _DRIVER,
        "explore.timestep_fs": "Li is light: its fastest vibration takes 45 fs.",
        "explore.compressibility_per_GPa": "1 / 65 GPa, between Li2S (40) and Li2O (80 GPa).",
        "select.quotas": "Most where ions move; 15 % are left for the crystals.",
    },
    "Ion conductors, hot: docs/battery.md gives the reason for each number.",
)

PRESETS: dict[str, Preset] = {
    "demo": DEMO,
    "matpes": MATPES,
    "atlas": ATLAS,
    "hydrides": HYDRIDES,
    "monolayers": MONOLAYERS,
    "battery": BATTERY,
}
"""By the name of their file in ``config/``."""


def preset(name: str) -> tuple[Campaign, dict[str, str], str]:
    """Return a ready campaign, remarks on its keys, and a title.

    Raises
    ------
    UserError
        If there is no such preset.
    """
    if name not in PRESETS:
        raise UserError(f"there is no preset '{name}'. Choose one of: {', '.join(PRESETS)}.")
    values, notes, title = PRESETS[name]
    campaign = Campaign.model_validate(values)
    return campaign, {**_published(campaign), **notes} if name == "matpes" else notes, title


def _published(section: Section, path: str = "") -> dict[str, str]:
    """Return for every key whether its value is published; of a section, whether anything in it is."""
    marks: dict[str, str] = {}
    for name in type(section).model_fields:
        key = f"{path}{name}"
        inside = dict(_inside(getattr(section, name), key))
        for prefix, inner in inside.items():
            marks |= _published(inner, f"{prefix}.")
        if key in PUBLISHED_KEYS:
            marks[key] = "[published]"
        else:
            part = any(known.startswith(f"{prefix}.") for known in PUBLISHED_KEYS for prefix in inside)
            marks[key] = "[published in part]" if part else "[not published]"
    return marks


def _inside(value: Any, key: str) -> Iterator[tuple[str, Section]]:
    """Yield the sections in a value, with their dotted keys."""
    if isinstance(value, Section):
        yield key, value
    elif isinstance(value, list | tuple):
        yield from ((f"{key}.{i}", item) for i, item in enumerate(value) if isinstance(item, Section))
