"""A row of the table ``imported`` from a frame and its labels."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pesatlas.frames.frame import Frame, Refusal, UnusableFrame, own_id
from pesatlas.frames.items import Item, named
from pesatlas.frames.labels import Labels, read_labels

_SNAPSHOT_KEYS = ("snapshot_id", "matpes_id", "sid")
_NUMBERS = ("band_gap_eV", "cohesive_energy_eV_per_atom", "formation_energy_eV_per_atom")


def rows(items: Iterator[Item], path: Path) -> Iterator[dict[str, Any] | Refusal]:
    """Yield a row or a refusal for each entry of a file; its ids are text as the file has them."""
    stem = path.name.split(".")[0]
    for name, item in named(items, stem):
        snapshot_id = own_id(item.about, _SNAPSHOT_KEYS) or name
        structure_id = own_id(item.about) or snapshot_id
        try:
            frame = item.frame()
            labels = _labels(frame, item)
        except UnusableFrame as why:
            yield Refusal(snapshot_id, structure_id, why.reason, f"{path.name}: {why.detail}")
        else:
            numbers = {key: _number(item.about.get(key)) for key in _NUMBERS}
            yield (
                row(snapshot_id, structure_id, frame, labels)
                | numbers
                | {"split": own_id(item.about, ["split"])}
            )


def _labels(frame: Frame, item: Item) -> Labels:
    try:
        return read_labels(frame, known=frozenset(_NUMBERS))
    except UnusableFrame as why:
        raise UnusableFrame(why.reason, f"{item.where}: {why.detail}") from None


def row(snapshot_id: str, structure_id: str, frame: Frame, labels: Labels) -> dict[str, Any]:
    """Return a row of the table ``imported``."""
    return {
        "snapshot_id": snapshot_id,
        "structure_id": structure_id,
        "numbers": frame.numbers.tolist(),
        "cell_A": frame.cell.reshape(-1).tolist(),
        "positions_A": frame.positions.reshape(-1).tolist(),
        "energy_eV": labels.energy,
        "free_energy_eV": labels.free_energy,
        "forces_eV_per_A": labels.forces.reshape(-1).tolist(),
        "stress_eV_per_A3": None if labels.stress is None else labels.stress.tolist(),
        "magmoms_muB": None if labels.magmoms is None else labels.magmoms.tolist(),
        "notes": [*frame.warnings, *labels.notes],
    }


def _number(value: Any) -> float | None:
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None
