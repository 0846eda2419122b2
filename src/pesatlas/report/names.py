"""The figures of a report, by name, in the order in which a person meets them. Rules need the names alone, so nothing heavy is imported."""

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
    "softness": "trust",
    "net_force": "trust",
    "scf_steps": "trust",
    "md_temperature": "trust",
    "md_volume": "trust",
    "hours": "cost",
    "label_time": "cost",
}
"""Name of each figure and the section it belongs to."""

ROUND_FIGURES: dict[str, str] = {"reliability_forces": "round", "reliability_energy": "round"}
"""The same, of a campaign that is a round after the first."""

SECTIONS = {
    "energetics": "What did we get?",
    "coverage": "Does it cover what matters?",
    "trust": "Can it be trusted?",
    "cost": "What did it cost?",
    "round": "Is another round worth it?",
}
"""Sections by name, in their order, with the question that each answers; ``round`` is there only if the campaign is one."""
