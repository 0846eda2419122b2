"""MatPES JSON: a list of documents (``.json``) or one in each line (``.jsonl``), gzipped or not, read in pieces."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pesatlas.elements import atomic_number
from pesatlas.errors import UserError
from pesatlas.units import KBAR_TO_EV_PER_A3

ENDINGS = (".json", ".json.gz", ".jsonl", ".jsonl.gz")


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file.

    Raises
    ------
    UserError
        If ijson is not installed.
    """
    try:
        import ijson  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise UserError(
            f"{error}: reading JSON in pieces needs ijson. Install it with `pip install 'pesatlas[export]'`."
        ) from error
    lines = ".jsonl" in path.name
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        documents = ijson.items(file, "" if lines else "item", use_float=True, multiple_values=lines)
        for document in documents:
            yield _row(document)


def _row(document: dict[str, Any]) -> dict[str, Any]:
    structure, stress = document["structure"], document.get("stress")
    about = document.get("provenance") or {}
    moments = [site.get("properties", {}).get("magmom") for site in structure["sites"]]
    return {
        "snapshot_id": document["matpes_id"],
        "structure_id": about.get("original_mp_id") or document["matpes_id"],
        "numbers": [atomic_number(_element(site)) for site in structure["sites"]],
        "cell_A": [x for vector in structure["lattice"]["matrix"] for x in vector],
        "positions_A": [x for site in structure["sites"] for x in site["xyz"]],
        "energy_eV": document["energy"],
        "forces_eV_per_A": [x for force in document["forces"] for x in force],
        # kbar, compression positive, xx yy zz yz xz xy
        "stress_eV_per_A3": None if stress is None else [-x * KBAR_TO_EV_PER_A3 for x in stress],
        "magmoms_muB": None if None in moments else moments,
        "band_gap_eV": document.get("bandgap"),
        "cohesive_energy_eV_per_atom": document.get("cohesive_energy_per_atom"),
        "formation_energy_eV_per_atom": document.get("formation_energy_per_atom"),
        "split": None,
    }


def _element(site: dict[str, Any]) -> str:
    (species,) = site["species"]
    return str(species["element"])
