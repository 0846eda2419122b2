"""MatPES JSON: a list of documents or JSON lines, gzipped or not, read in pieces."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pesatlas.atoms.units import KBAR_TO_EV_PER_A3
from pesatlas.dataset.importers._rows import number_or_none, row
from pesatlas.frames import documents
from pesatlas.frames.frame import ID_KEYS, Frame, Refusal, UnusableFrame, own_id
from pesatlas.frames.items import numbered
from pesatlas.frames.labels import Labels, read_labels, voigt
from pesatlas.tables.schemas import FailureReason

ENDINGS = (".json", ".json.gz", ".jsonl", ".jsonl.gz")

_KNOWN = frozenset(
    {
        "forces",
        "stress",
        "bandgap",
        "abs_forces",
        "cohesive_energy_per_atom",
        "formation_energy_per_atom",
        "bader_magmoms",
    }
)
"""Keys of MatPES that are read here, or follow from others."""


def read(path: Path) -> Iterator[dict[str, Any] | Refusal]:
    """Yield a row or a refusal for each document of a file."""
    stem = path.name.split(".")[0]
    for number, item in numbered(documents.items(path), stem):
        document = item.about
        about = document.get("provenance")
        snapshot_id = own_id(document, ("matpes_id", "snapshot_id")) or number
        original = own_id(about, ("original_mp_id",)) if isinstance(about, Mapping) else None
        structure_id = original or own_id(document, ID_KEYS) or snapshot_id
        try:
            frame = item.frame()
            yield _row(snapshot_id, structure_id, frame, document)
        except UnusableFrame as why:
            yield Refusal(snapshot_id, structure_id, why.reason, f"{path.name}: {why.detail}")


def _row(snapshot_id: str, structure_id: str, frame: Frame, document: Mapping[str, Any]) -> dict[str, Any]:
    labels = _labels(frame, document)
    found = row(snapshot_id, structure_id, frame, labels)
    sites = document.get("structure", document)["sites"]
    moments = [(site.get("properties") or {}).get("magmom") for site in sites]
    if None not in moments:
        array = np.asarray(_floats("magmom", moments))
        if array.ndim == 1:
            found["magmoms_muB"] = array.tolist()
        else:
            found["notes"].append("magmom is not read: not one number for each atom")
    return found | {
        "band_gap_eV": number_or_none(document.get("bandgap")),
        "cohesive_energy_eV_per_atom": number_or_none(document.get("cohesive_energy_per_atom")),
        "formation_energy_eV_per_atom": number_or_none(document.get("formation_energy_per_atom")),
        "split": None,
    }


def _labels(frame: Frame, document: Mapping[str, Any]) -> Labels:
    """Return the labels of a document.

    Stress is in kbar and positive under compression, xx yy zz yz xz xy or three rows of three.
    """
    forces = {"forces": np.asarray(_floats("forces", document["forces"]))} if document.get("forces") else {}
    stress = document.get("stress")
    extra = {}
    if stress is not None:
        try:
            extra["stress"] = -voigt(stress) * KBAR_TO_EV_PER_A3
        except (TypeError, ValueError) as error:
            raise UnusableFrame(FailureReason.BAD_OUTPUT, f"stress: {error}") from None
    plain = Frame(frame.numbers, frame.cell, frame.positions, frame.pbc, {}, forces, frame.warnings)
    told = {key: value for key, value in document.items() if key not in _KNOWN and key != "structure"}
    return read_labels(plain, {**told, **extra}, _KNOWN - {"forces", "stress"})


def _floats(name: str, values: Any) -> list[Any]:
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise UnusableFrame(FailureReason.UNREADABLE, f"{name}: {error}") from None
    if not np.isfinite(array).all():
        raise UnusableFrame(FailureReason.NOT_FINITE, f"{name} is not finite")
    return list(array.tolist())
