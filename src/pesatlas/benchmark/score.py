"""Statistics of table ``scores`` with confidence intervals, and tests of differences between potentials."""

from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from pesatlas.benchmark.error_figure import draw
from pesatlas.benchmark.literature import published_for, verdict
from pesatlas.benchmark.statistics import bootstrap_half_life, bootstrap_mean, paired_test
from pesatlas.campaign.layout import file_name
from pesatlas.config.benchmark import PROPERTIES
from pesatlas.config.plugins import find
from pesatlas.config.section import digest
from pesatlas.dynamics.ends import SURVIVED
from pesatlas.tables import read_table, write_table

_ORDER = ("potential", "property", "quantity", "structure_id")


def score_benchmark(parts: Iterable[Path], folder: Path) -> None:
    """Write scores, differences, figure and summary into ``folder`` from shards in any order."""
    write_scores([row for path in parts for row in read_table(path, "scores").to_pylist()], folder)


def write_scores(rows: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """As ``score_benchmark``, from rows; return the summary."""
    rows = sorted(rows, key=lambda row: tuple(row[name] for name in _ORDER))
    fingerprint = digest(sorted({(row["potential_hash"], row["settings"]) for row in rows}))
    summary = summarize(rows)
    write_table(folder / file_name("benchmark_scores"), "scores", rows, fingerprint)
    write_table(folder / file_name("benchmark_differences"), "differences", differences(rows), fingerprint)
    draw(rows, summary, folder / file_name("benchmark_figure"))
    write_table(folder / file_name("benchmark_summary"), "summary", summary, fingerprint)
    return summary


def summarize(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of table ``summary``, one for each potential and quantity."""
    return [_summary(group) for group in _grouped(rows, ("potential", "property", "quantity")).values()]


def _summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    first = rows[0]
    which = first["property"], first["quantity"]
    statistic = find(PROPERTIES, which[0]).QUANTITIES[which[1]][1]
    good = [row for row in rows if row["reason"] is None]
    value, low, high = _statistic(statistic, good)
    published = published_for(first["potential"], which)
    return {
        **{
            name: first[name]
            for name in (
                "potential",
                "potential_hash",
                "potential_level",
                "property",
                "quantity",
                "unit",
                "reference_column",
            )
        },
        "statistic": statistic,
        "n": len(good),
        "n_failed": len(rows) - len(good),
        "value": value,
        "low": low,
        "high": high,
        "verdict": verdict(which, value),
        "published": published.value if published else None,
        "published_model": published.model if published else None,
        "published_source": published.source if published else None,
    }


def _statistic(
    statistic: str, rows: Sequence[dict[str, Any]]
) -> tuple[float | None, float | None, float | None]:
    if not rows:
        return None, None, None
    if statistic == "half_life":
        ended = [row["outcome"] != SURVIVED for row in rows]
        found = bootstrap_half_life([row["value"] for row in rows], ended)
    else:
        found = bootstrap_mean([row["error" if statistic == "mae" else "value"] for row in rows])
    value, low, high = (float(x) if np.isfinite(x) else None for x in found)
    return value, low, high


def differences(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of table ``differences``.

    Each pair of potentials on the structures that both have a value of.
    """
    found = []
    for (which, quantity), group in _grouped(rows, ("property", "quantity")).items():
        errors: dict[str, dict[str, float]] = {}
        statistic = find(PROPERTIES, which).QUANTITIES[quantity][1]
        for row in group:
            if row["reason"] is None and row["value"] is not None and statistic != "half_life":
                errors.setdefault(row["potential"], {})[row["structure_id"]] = _deviation(statistic, row)
        for first, second in combinations(sorted(errors), 2):
            common = sorted(errors[first].keys() & errors[second].keys())
            if not common:
                continue
            test = paired_test([errors[first][x] for x in common], [errors[second][x] for x in common])
            found.append(
                {
                    "property": which,
                    "quantity": quantity,
                    "first": first,
                    "second": second,
                    "n": test.n,
                    "difference": test.difference,
                    "low": test.low if np.isfinite(test.low) else None,
                    "high": test.high if np.isfinite(test.high) else None,
                    "p_value": test.p_value,
                }
            )
    return found


def _deviation(statistic: str, row: dict[str, Any]) -> float:
    """How bad a value is: its error, its distance from 1, or itself."""
    if statistic == "mae":
        return float(row["error"])
    return abs(row["value"] - 1) if statistic == "ratio" else float(row["value"])


def _grouped(
    rows: Sequence[dict[str, Any]], by: tuple[str, ...]
) -> dict[tuple[str, ...], list[dict[str, Any]]]:
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: tuple(row[name] for name in _ORDER)):
        groups.setdefault(tuple(row[name] for name in by), []).append(row)
    return groups
