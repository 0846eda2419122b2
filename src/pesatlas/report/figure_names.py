"""Names of the report's figures in their order; imports nothing heavy, because rules need them."""

FIGURES: dict[str, str] = {
    "map": "coverage",
    "elements": "coverage",
    "fill_atoms": "coverage",
    "fill_structures": "coverage",
    "gain": "coverage",
    "cohesive_energy": "energetics",
    "forces": "energetics",
    "pressure": "energetics",
    "volume": "energetics",
    "level_parity": "energetics",
    "level_offsets": "energetics",
    "losses": "trust",
    "losses_by_element": "trust",
    "parity_energy": "trust",
    "parity_forces": "trust",
    "parity_stress": "trust",
    "net_force": "trust",
    "scf_steps": "trust",
    "md_temperature": "trust",
    "md_volume": "trust",
    "label_time": "cost",
}
"""Name of each figure and the section it belongs to."""

SECTIONS = {
    "energetics": "What did we get?",
    "coverage": "Does it cover what matters?",
    "trust": "Can it be trusted?",
    "cost": "What did it cost?",
}
"""Sections by name, in their order, with the question that each answers."""

TRAINED_FIGURES = {"learning": "train", "trained_errors": "train"}
"""The same of the section that is there where potentials were trained."""

TRAINED_SECTION = {"train": "What can be trained on it?"}

ROUND_FIGURES = {"reliability_forces": "round", "reliability_energy": "round"}
"""The same of the section that is there in rounds after the first."""

ROUND_SECTION = {"round": "Is another round worth it?"}
COMPARED_FIGURES = {"error_against_cost": "compare"}
"""The same of the section that is there where policies were compared."""

COMPARED_SECTION = {"compare": "Which selection teaches most?"}
