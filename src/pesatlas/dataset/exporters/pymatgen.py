"""pymatgen JSON: a list of ``ComputedStructureEntry``, for phase diagrams and the like."""

import gzip
from collections import Counter
from pathlib import Path
from typing import Any

from pesatlas.atoms.elements import symbol_of
from pesatlas.dataset.dataset_rows import FUNCTIONALS, Source, as_json, provenance
from pesatlas.dataset.exporters.matpes import structure_dict, triples

_CHARGES = ("bader_charges_e", "bader_net_charges_e", "bader_magmoms_muB", "bader_method")


def export(source: Source, folder: Path) -> list[Path]:
    """Write one ``-entries.json.gz``; return it."""
    path = folder / f"{source.stem}-entries.json.gz"
    with gzip.GzipFile(path, "wb", compresslevel=4, mtime=0) as file:
        file.write(b"[")
        for i, row in enumerate(source.rows()):
            file.write((b",\n" if i else b"\n") + as_json(_entry(row)))
        file.write(b"\n]\n")
    return [path]


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as an entry: uncorrected total energy, the rest with units in its names."""
    return {
        "@module": "pymatgen.entries.computed_entries",
        "@class": "ComputedStructureEntry",
        "energy": row["energy_eV"],
        "composition": Counter(symbol_of(number) for number in row["numbers"]),
        "entry_id": row["snapshot_id"],
        "correction": 0.0,
        "energy_adjustments": [],
        "parameters": {"functional": FUNCTIONALS.get(row["level"], row["level"]), "code": row["code"]},
        "data": {
            **provenance(row),
            "forces_eV_per_A": triples(row["forces_eV_per_A"]),
            "stress_eV_per_A3": row["stress_eV_per_A3"],
            "band_gap_eV": row["band_gap_eV"],
            "cohesive_energy_eV_per_atom": row["cohesive_energy_eV_per_atom"],
            "formation_energy_eV_per_atom": row["formation_energy_eV_per_atom"],
            **{name: row[name] for name in _CHARGES if row[name] is not None},
        },
        "structure": structure_dict(row),
    }
