"""A row of the table ``imported`` from a frame and its labels."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pesatlas.frames.frame import Frame, Refusal, UnusableFrame, own_id
from pesatlas.frames.items import Item, numbered
from pesatlas.frames.labels import Labels, read_labels

_SNAPSHOT_KEYS = ("snapshot_id", "matpes_id", "sid")
_NUMBERS = ("band_gap_eV", "cohesive_energy_eV_per_atom", "formation_energy_eV_per_atom")


def rows(items: Iterator[Item], path: Path) -> Iterator[dict[str, Any] | Refusal]:
    """Yield a row or a refusal for each entry of a file; its ids are text as the file has them."""
    stem = path.name.split(".")[0]
    seen: set[str] = set()
    for i, (number, item) in enumerate(numbered(items, stem)):
        snapshot_id, structure_id = own_id(item.about, _SNAPSHOT_KEYS), own_id(item.about)
        if snapshot_id is None:
            # a crystal's name names its frame, too, if it is the only one
            snapshot_id = number if structure_id is None else structure_id
            snapshot_id = f"{snapshot_id}-{i:05d}" if snapshot_id in seen else snapshot_id
            seen.add(snapshot_id)
        structure_id = structure_id or snapshot_id
        try:
            frame = item.frame()
            labels = _labels(frame, item)
        except UnusableFrame as why:
            yield Refusal(snapshot_id, structure_id, why.reason, f"{path.name}: {why.detail}")
        else:
            numbers = {key: number_or_none(item.about.get(key)) for key in _NUMBERS}
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


def number_or_none(value: Any) -> float | None:
    """Return a value that is a number, by what it is or by its text."""
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None
