"""MatPES JSON: its keys, stress in kbar, positive under compression, Voigt xx yy zz yz xz xy.

Beside it, as MatPES has them: energies of isolated atoms, and the splits as indices.
"""

import gzip
import json
from collections import Counter
from collections.abc import Callable
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np

from pesatlas.atoms.elements import symbol_of
from pesatlas.atoms.units import ATM_TO_GPA, KBAR_TO_EV_PER_A3
from pesatlas.campaign.splits import SPLITS
from pesatlas.dataset.dataset_rows import FUNCTIONALS, Source, as_json

_DALTON_PER_A3_TO_G_PER_CM3 = 1.66053906660


def document(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as MatPES documents one."""
    structure = structure_dict(row)
    counts = Counter(symbol_of(number) for number in row["numbers"])
    divisor = gcd(*counts.values())
    volume = structure["lattice"]["volume"]
    dynamics = row["ensemble"] != "none"
    return {
        "matpes_id": row["snapshot_id"],
        "functional": FUNCTIONALS.get(row["level"], row["level"]),
        "nsites": row["n_atoms"],
        "elements": sorted(counts),
        "nelements": len(counts),
        "composition": dict(counts),
        "composition_reduced": {symbol: n / divisor for symbol, n in counts.items()},
        "formula_pretty": row["formula"],
        "chemsys": row["chemical_system"],
        "volume": volume,
        "density": _mass(row["numbers"]) / volume * _DALTON_PER_A3_TO_G_PER_CM3,
        "density_atomic": volume / row["n_atoms"],
        "symmetry": {"number": row["space_group"], "symbol": row["space_group_symbol"]},
        "structure": structure,
        "energy": row["energy_eV"],
        "forces": triples(row["forces_eV_per_A"]),
        "stress": kbar(row["stress_eV_per_A3"]),
        "bandgap": row["band_gap_eV"],
        "cohesive_energy_per_atom": row["cohesive_energy_eV_per_atom"],
        "formation_energy_per_atom": row["formation_energy_eV_per_atom"],
        "abs_forces": row["abs_forces_eV_per_A"],
        "bader_charges": row["bader_charges_e"],
        "bader_magmoms": row["bader_magmoms_muB"],
        "provenance": {
            "original_mp_id": row["structure_id"],
            "materials_project_version": row["source"],
            "md_ensemble": row["ensemble"] if dynamics else None,
            "md_temperature": row["temperature_K"] if dynamics else None,
            "md_pressure": row["pressure_GPa"] / ATM_TO_GPA if dynamics else None,
            "md_step": row["step"] if dynamics else None,
            "mlip_name": row["potential"] if dynamics else None,
            "level_fingerprint": row["level_fingerprint"],
            "code": row["code"],
        },
    }


def export(
    source: Source, folder: Path, document: Callable[[dict[str, Any]], dict[str, Any]] = document
) -> list[Path]:
    """Write ``MatPES-...json.gz``, ``...-atoms.json`` and ``...-split.json.gz``; return them."""
    data, atoms, splits = (
        folder / f"{source.stem}{ending}" for ending in (".json.gz", "-atoms.json", "-split.json.gz")
    )
    indices: dict[str, list[int]] = {name: [] for name in SPLITS}
    with _gzip(data) as file:
        file.write(b"[")
        for i, row in enumerate(source.rows()):
            file.write((b",\n" if i else b"\n") + as_json(document(row)))
            indices[row["split"]].append(i)
        file.write(b"\n]\n")
    with _gzip(splits) as file:
        file.write(as_json(indices))
    atoms.write_text(json.dumps(source.atoms, indent=1) + "\n", encoding="utf-8")
    return [data, atoms, splits]


def kbar(stress: list[float]) -> list[float]:
    """Return a stress in eV/Å³, tension positive, as MatPES and VASP have it: kbar, compression positive."""
    return [-component / KBAR_TO_EV_PER_A3 for component in stress]


def triples(flat: list[float]) -> list[list[float]]:
    """Return 3n numbers as n lists of three."""
    return [flat[i : i + 3] for i in range(0, len(flat), 3)]


def structure_dict(row: dict[str, Any]) -> dict[str, Any]:
    """Return the geometry of a row as ``pymatgen.core.Structure.as_dict`` does.

    Final magnetic moments as a site property.
    """
    cell = np.array(row["cell_A"]).reshape(3, 3)
    positions = triples(row["positions_A"])
    fractional = (np.array(positions) @ np.linalg.inv(cell)).tolist()
    moments = row["magmoms_muB"]
    sites = []
    for i, number in enumerate(row["numbers"]):
        symbol = symbol_of(number)
        site = {
            "species": [{"element": symbol, "occu": 1}],
            "abc": fractional[i],
            "properties": {} if moments is None else {"magmom": moments[i]},
            "label": symbol,
            "xyz": positions[i],
        }
        sites.append(site)
    lengths = np.linalg.norm(cell, axis=1)
    cosines = [cell[j] @ cell[k] / (lengths[j] * lengths[k]) for j, k in ((1, 2), (0, 2), (0, 1))]
    angles = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    lattice = {
        "matrix": cell.tolist(),
        "pbc": [True, True, True],
        **dict(zip(("a", "b", "c"), lengths.tolist(), strict=True)),
        **dict(zip(("alpha", "beta", "gamma"), angles.tolist(), strict=True)),
        "volume": float(abs(np.linalg.det(cell))),
    }
    return {
        "@module": "pymatgen.core.structure",
        "@class": "Structure",
        "charge": 0,
        "lattice": lattice,
        "properties": {},
        "sites": sites,
    }


def _mass(numbers: list[int]) -> float:
    from ase.data import atomic_masses  # noqa: PLC0415 - ase is slow to import

    return float(atomic_masses[numbers].sum())


def _gzip(path: Path) -> gzip.GzipFile:
    """Open a file for writing whose bytes depend on its content alone: no name, no time."""
    return gzip.GzipFile(path, "wb", compresslevel=4, mtime=0)
