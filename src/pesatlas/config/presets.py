"""Ready campaigns, from which ``config.yaml`` and ``config/*.yaml`` are generated."""

from typing import Any

from pesatlas.config.campaign import Campaign
from pesatlas.errors import UserError
from pesatlas.units import ATM_TO_GPA

Preset = tuple[dict[str, Any], dict[str, str], str]

# Real parts throughout, scaled to ten minutes on two cores.
DEMO: Preset = (
    {
        "campaign": {"name": "demo"},
        "structures": {
            "sources": [{"kind": "demo"}],
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
            "length_ps": 0.5,
            "frame_interval_ps": 0.02,
            "structures_per_job": 8,
        },
        "encode": {"encoder": {"kind": "chgnet"}},
        "select": {"target": 24, "structure": {"threshold": 0.02}, "atoms": {"threshold": 0.01}},
        "label": {"backend": {"kind": "gpaw", "quality": "demo"}, "structures_per_job": 2},
    },
    {
        "explore.length_ps": "MatPES: 100. Half a picosecond shows how it works.",
        "structures.domains.0.supercell": "Small, so that DFT of a supercell takes seconds. MatPES has 64 atoms.",
        "select.target": "8 equilibrium crystals and 16 snapshots.",
        "select.structure": "MatPES: 0.5. Half a picosecond moves less than a hundred, so the net is finer.",
        "select.atoms": "MatPES: 0.1.",
        "label.backend.quality": "Coarse k-points and cut-offs, a level of its own: not for training. For data to keep: standard.",
    },
    (
        "The demo: eight small crystals, chgnet dynamics, GPAW labels. About ten minutes on two cores.\n"
        "Check it: pesatlas config check    Look: pesatlas run -n    Run: pesatlas run"
    ),
)

PUBLISHED = "Published."
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
        "encode": {
            "encoder": {"kind": "m3gnet_eform", "path": "models/M3GNet-MP-2018.6.1-Eform"},
            "device": "cuda",
        },
        "select": {
            "target": 509_799,
            "structure": {"components": 16, "threshold": 0.5},
            "atoms": {"components": 8, "threshold": 0.1},
        },
        "label": {"backend": {"kind": "vasp", "vasp_version": "6.4.3"}},
    },
    {
        "structures.sources.0": "Published: ground states of the Materials Project, v2022.10.28. The API serves the current version; the version fetched is in the cache.",
        "structures.domains.0.supercell": "Published: unit cells and supercells, e.g. 8 and 64 atoms by 2x2x2. The rule for others is not published; this is this project's choice.",
        "structures.domains.0.temperatures_K": PUBLISHED,
        "structures.domains.0.pressures_GPa": "Published: 1 atm.",
        "explore.potential": "Published: M3GNet-MP-2021.2.8-DIRECT.",
        "explore.timestep_fs": PUBLISHED,
        "explore.length_ps": PUBLISHED,
        "explore.frame_interval_ps": "Published: 1001 frames of a trajectory, the first of them the crystal as given.",
        "explore.thermostat_tau_fs": UNKNOWN,
        "explore.barostat_tau_fs": UNKNOWN,
        "explore.compressibility_per_GPa": UNKNOWN,
        "explore.abort": UNKNOWN,
        "encode.encoder": "Published: the formation-energy M3GNet; 128 features of a structure, 64 of an atom.",
        "select.target": "Published: 358,031 snapshots and 151,768 ground states.",
        "select.include_equilibrium": PUBLISHED,
        "select.structure": "Published: 16 components, threshold 0.5, which gave 15,192 clusters.",
        "select.atoms": "Published: 8 components, threshold 0.1. There the components were fitted on ground states alone; here on every snapshot.",
        "select.min_distance_A": UNKNOWN,
        "label.backend": "Published: VASP with pymatgen's MatPESStaticSet. Set your version of VASP; POTCARs: docs/vasp.md.",
        "label.levels": PUBLISHED,
        "dataset.rules": UNKNOWN,
        "dataset.split": UNKNOWN,
    },
    "MatPES as published (Kaplan et al., arXiv 2503.04070). What is not known says so.",
)

PRESETS: dict[str, Preset] = {"demo": DEMO, "matpes": MATPES}


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
    return Campaign.model_validate(values), notes, title
