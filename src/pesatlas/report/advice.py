"""Expected benefit, cost and best domains of further labels."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pesatlas.atoms.elements import symbol_of
from pesatlas.campaign.finished import read_campaign_manifest
from pesatlas.config.round import Round
from pesatlas.report.cost import costs
from pesatlas.report.texts import GO_ON, STOP
from pesatlas.storage.atomic import write_text
from pesatlas.tables import iter_table, read_table
from pesatlas.tables.io import check_metadata

_SHOWN = 5
_FEWEST_ATOMS = 20
"""Below, the error of a domain or an element is not told."""


def advise_round(settings: Round, files: Mapping[str, Sequence[Path]], advice: Path) -> None:
    """Write ``advice``, JSON: stop or go on, and the numbers that say so.

    ``files`` are those of the campaign by their names in the layout, as the rule declares them.

    The error now is the calibrated disagreement of the committee on candidates that were not picked, root
    mean square over their atoms. It is taken to fall as the distance of atoms of the pool to the nearest
    label falls, whose pace is measured (``gain_per_1000_labels`` of the last picks in table ``quality``). So
    the gain of a thousand labels is the error times that share: stop if it is below
    ``round.stop_below_eV_per_A``. What they cost is what this round's picks cost at all levels, on average.
    """
    (manifest_path,), (selection,), (calibration,), (quality,) = (
        files[name] for name in ("manifest", "selection", "calibration", "quality")
    )
    manifest = read_campaign_manifest(manifest_path.parent)
    picked = set(read_table(selection, "selection", ["snapshot_id"])["snapshot_id"].to_pylist())
    factor, held_out = _factor(calibration)
    squares: dict[tuple[str, str], NDArray[np.float64]] = defaultdict(lambda: np.zeros(2))
    for kind, name, of_atoms in _not_selected(files["disagreement"], picked):
        squares[kind, name] += (of_atoms**2).sum(), len(of_atoms)
    error = _error(squares["all", ""], factor)
    share = _pace(quality)
    gain = None if error is None or share is None else error * share
    spent = costs(manifest_path.parent.parent, manifest, [*files["labels"], *files["atoms"]])
    label = next(cost for cost in spent if cost.stage == "label")
    found = {
        "round": settings.number,
        "verdict": GO_ON if gain is None or gain >= settings.stop_below_eV_per_A else STOP,
        "expected_error_eV_per_A": error,
        "share_per_1000_labels": share,
        "gain_eV_per_A": gain,
        "stop_below_eV_per_A": settings.stop_below_eV_per_A,
        "core_hours_of_1000_labels": 1000 * label.core_h / len(picked) if picked else None,
        "calibrated_on_held_out_labels": held_out,
        "domains": _worst(squares, "domain", factor),
        "elements": _worst(squares, "element", factor),
    }
    write_text(advice, json.dumps(found, indent=1) + "\n")


def _factor(calibration: Path) -> tuple[float, bool]:
    rows = read_table(calibration, "calibration", ["quantity", "bin", "factor", "held_out"]).to_pylist()
    whole = next(row for row in rows if (row["quantity"], row["bin"]) == ("forces", 0))
    return whole["factor"], whole["held_out"]


def _pace(quality: Path) -> float | None:
    """Share by which the distance of the pool's atoms to the nearest label falls with a thousand more."""
    rows = read_table(quality, "quality", ["of", "picks", "gain_per_1000_labels"]).to_pylist()
    paced = [row for row in rows if row["of"] == "picks" and row["gain_per_1000_labels"] is not None]
    return max(paced, key=lambda row: row["picks"])["gain_per_1000_labels"] if paced else None


def _not_selected(tables: Sequence[Path], picked: set[str]) -> Iterator[tuple[str, str, NDArray[np.float64]]]:
    """Yield disagreement on atoms of candidates that were not picked: of all, of a domain, of an element."""
    for path in tables:
        check_metadata(path, "disagreement")
        for piece in iter_table(path, ["snapshot_id", "domain", "numbers", "force_std_eV_per_A", "reason"]):
            for row in piece.to_pylist():
                if row["reason"] is None and row["snapshot_id"] not in picked:
                    std, numbers = np.array(row["force_std_eV_per_A"]), np.array(row["numbers"])
                    yield "all", "", std
                    yield "domain", row["domain"], std
                    for z in np.unique(numbers).tolist():
                        yield "element", symbol_of(z), std[numbers == z]


def _error(sums: NDArray[np.float64], factor: float) -> float | None:
    return float(factor * np.sqrt(sums[0] / sums[1])) if sums[1] else None


def _worst(
    squares: dict[tuple[str, str], NDArray[np.float64]], kind: str, factor: float
) -> list[dict[str, Any]]:
    """Return domains or elements with the largest expected error, largest first."""
    found = sorted(
        (-float(factor * np.sqrt(sums[0] / sums[1])), name, int(sums[1]))
        for (of, name), sums in squares.items()
        if of == kind and sums[1] >= _FEWEST_ATOMS
    )
    return [
        {"name": name, "expected_error_eV_per_A": -error, "atoms": atoms}
        for error, name, atoms in found[:_SHOWN]
    ]
