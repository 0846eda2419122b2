"""Acceptance rules for labels, by name. Their limits may change at any time: nothing is labelled again."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pesatlas.config.dataset import Rules, Window
from pesatlas.tables.label_verdicts import ACCEPTED, FLAGGED, QUARANTINED

# Named rules with a limit: the column they look at, and its unit.
LIMITS = {
    "net_force": ("net_force_eV_per_A", "eV/Å"),
    "stress_symmetry": ("stress_asymmetry_GPa", "GPa"),
    "force": ("max_force_eV_per_A", "eV/Å"),
    "cohesive_energy": ("cohesive_energy_eV_per_atom", "eV/atom"),
    "stress": ("max_stress_GPa", "GPa"),
    "distance": ("min_distance_A", "Å"),
    "level_gap": ("level_gap_eV_per_atom", "eV/atom"),
    "entropy": ("entropy_eV_per_atom", "eV/atom"),
}

_NUMBERS = ("energy_eV", "free_energy_eV", "cell_A", "positions_A", "forces_eV_per_A", "stress_eV_per_A3")


@dataclass(frozen=True)
class Violation:
    """A rule that a label triggered: its name, its consequence, and the reason."""

    rule: str
    then: str
    why: str


def always(row: Mapping[str, Any], asked_for: bool) -> Iterator[Violation]:
    """Yield triggered rules that have no limit.

    What makes a number no label of this structure at this level.

    Parameters
    ----------
    row : a row of the labels, with the verdict of the calculation itself
    asked_for : whether its geometry is the one that was selected
    """
    if not row["converged"]:
        yield Violation("converged", "quarantine", "the output does not report convergence")
    # what the backend objects to; that it did not converge was said
    for objection in json.loads(row["verdict_rules"]):
        if objection != "not converged":
            yield Violation("calculation", "quarantine", objection)
    if not asked_for:
        yield Violation("structure", "quarantine", "its geometry is not the one that was selected")
    broken = [name for name in _NUMBERS if not np.isfinite(row[name]).all()]
    if broken:
        yield Violation("finite", "quarantine", f"a number of {', '.join(broken)} is not finite")


def check_limits(row: Mapping[str, Any], rules: Rules) -> Iterator[Violation]:
    """Yield the configured rules that a row with its derived columns triggers.

    What has no value (null) breaks no rule.
    """
    for name, (column, unit) in LIMITS.items():
        rule = getattr(rules, name)
        value = row[column]
        if rule.then == "ignore" or value is None or np.isnan(value):
            continue
        if not _passes(name, value, rule):
            yield Violation(name, rule.then, f"{name} {value:.4g} {unit}, {_allowed(name, rule)}")


def decide_verdict(violations: list[Violation]) -> tuple[str, str]:
    """Return the verdict, and as JSON the triggered rules."""
    consequences = {each.then for each in violations}
    verdict = QUARANTINED if "quarantine" in consequences else FLAGGED if consequences else ACCEPTED
    return verdict, json.dumps([asdict(each) for each in violations], ensure_ascii=False)


def _passes(name: str, value: float, rule: Any) -> bool:
    if isinstance(rule, Window):
        return bool(rule.lowest <= value <= rule.highest)
    return bool(value >= rule.limit if name == "distance" else abs(value) <= rule.limit)


def _allowed(name: str, rule: Any) -> str:
    if isinstance(rule, Window):
        return f"allowed {rule.lowest:g} to {rule.highest:g}"
    return f"allowed {'from' if name == 'distance' else 'up to'} {rule.limit:g}"
