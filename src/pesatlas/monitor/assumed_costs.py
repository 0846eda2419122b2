"""Costs of dynamics, features and labels that nobody measured: those that ``pesatlas init`` reckons with."""

from typing import Any

from pesatlas.config.campaign import Campaign
from pesatlas.config.label import MLIP
from pesatlas.config.scaled import CPU_RATE, GPU_RATE, HOURS_OF_64_ATOMS
from pesatlas.monitor.rates import Rate, Rates

ASSUMED = ("md", "encode", *(f"label_{level}" for level in ("pbe", "r2scan", MLIP)))
"""Rates that a measurement changes most."""
_ENCODE = {False: 2_200.0, True: 12_000.0}
"""Atoms a second on a core and on a GPU (docs/performance.md)."""


def assumed_costs(campaign: Campaign, atoms: float) -> Rates:
    """Return the speed of dynamics and of features, and the time of a label at each level.

    Those of the default potential and encoder; of a label, the core hours of 64 atoms, of
    ``select.budget`` or assumed, by the cube of the atoms (by their number where a potential labels).
    Backends of other distributions have no assumed time.

    Parameters
    ----------
    atoms : mean number in a frame
    """
    on_gpu = {name: getattr(campaign, name).device != "cpu" for name in ("explore", "encode")}
    where = {True: "on a GPU", False: "on a core"}
    found = {
        "md": Rate(
            GPU_RATE if on_gpu["explore"] else CPU_RATE,
            f"assumed: the default potential {where[on_gpu['explore']]} (docs/performance.md)",
        ),
        "encode": Rate(
            _ENCODE[on_gpu["encode"]],
            f"assumed: the default encoder {where[on_gpu['encode']]} (docs/performance.md)",
        ),
    }
    backend: Any = campaign.label.backend
    budget = campaign.select.budget
    hours = budget.core_hours_of_64_atoms if budget else HOURS_OF_64_ATOMS.get(backend.kind)
    if hours is not None:
        power = 1 if backend.kind == MLIP else 3
        levels, cores = campaign.label.levels, campaign.label.cores
        seconds = 3600 * hours * (atoms / 64) ** power / len(levels) / cores
        source = f"assumed: {hours:g} core hours for 64 atoms at all levels, by {backend.kind}"
        found |= {f"label_{level}": Rate(seconds, source) for level in levels}
    return found
