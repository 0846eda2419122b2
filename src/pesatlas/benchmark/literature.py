"""Published results and thresholds, every number with its source."""

from dataclasses import dataclass

_MATPES = "Kaplan et al., arXiv 2503.04070 (MatPES), table of PBE benchmarks"


@dataclass(frozen=True)
class Published:
    """A published value of a statistic, of which model, and where."""

    model: str
    value: float
    source: str


PUBLISHED: dict[tuple[str, str], tuple[Published, ...]] = {
    ("relaxation", "distance"): (
        Published("TensorNet-MatPES-PBE", 0.371, _MATPES),
        Published("M3GNet-MatPES-PBE", 0.418, _MATPES),
    ),
    ("formation_energy", "formation_energy"): (
        Published("TensorNet-MatPES-PBE", 0.081, _MATPES),
        Published("M3GNet-MatPES-PBE", 0.109, _MATPES),
    ),
    ("elasticity", "bulk_modulus"): (
        Published("TensorNet-MatPES-PBE", 18.0, _MATPES),
        Published("M3GNet-MatPES-PBE", 26.1, _MATPES),
    ),
    ("elasticity", "shear_modulus"): (
        Published("TensorNet-MatPES-PBE", 14.8, _MATPES),
        Published("M3GNet-MatPES-PBE", 25.3, _MATPES),
    ),
    ("heat_capacity", "heat_capacity"): (
        Published("TensorNet-MatPES-PBE", 13.3, _MATPES),
        Published("M3GNet-MatPES-PBE", 27.2, _MATPES),
    ),
    ("softening", "force_slope"): (
        Published("TensorNet-MatPES-PBE", 0.93, _MATPES),
        Published("M3GNet-MatPES-PBE", 0.97, _MATPES),
    ),
    ("conductivity", "log10_conductivity"): (Published("TensorNet-MatPES-PBE", 0.365, _MATPES),),
    ("md_stability", "end_temperature"): (
        Published("TensorNet-MatPES-PBE", 1852.0, _MATPES),
        Published("M3GNet-MatPES-PBE", 1636.0, _MATPES),
    ),
}
"""By property and quantity, of the whole published sets; the first is what is shown beside ours."""


def published_for(potential: str, which: tuple[str, str]) -> Published | None:
    """Return the published value of ``potential``, else that of the best published model."""
    known = PUBLISHED.get(which, ())
    words = potential.lower()
    for each in known:
        architecture = each.model.split("-")[0].lower()
        if architecture in words and "matpes-pbe" in words:
            return each
    return known[0] if known else None


@dataclass(frozen=True)
class Threshold:
    """Up to ``good`` a statistic is coloured good, from ``poor`` on poor.

    Reversed if ``good`` is the larger.
    """

    good: float
    poor: float
    source: str


_AS_MATPES = "own choice: good is as the published MatPES-TensorNet, poor is twice as far off"
THRESHOLDS: dict[tuple[str, str], Threshold] = {
    ("relaxation", "distance"): Threshold(0.371, 0.742, _AS_MATPES),
    ("formation_energy", "formation_energy"): Threshold(0.081, 0.162, _AS_MATPES),
    ("elasticity", "bulk_modulus"): Threshold(18.0, 36.0, _AS_MATPES),
    ("elasticity", "shear_modulus"): Threshold(14.8, 29.6, _AS_MATPES),
    ("heat_capacity", "heat_capacity"): Threshold(13.3, 26.6, _AS_MATPES),
    ("conductivity", "log10_conductivity"): Threshold(0.365, 0.73, _AS_MATPES),
    ("md_stability", "end_temperature"): Threshold(1852.0, 1000.0, f"{_AS_MATPES}, as far as 300 K allows"),
    ("softening", "force_slope"): Threshold(
        0.07,
        0.2,
        "distance of the slope from 1: MatPES-TensorNet has 0.07; Deng et al. 2025 find 0.2 in soft models",
    ),
}


def verdict(which: tuple[str, str], value: float | None) -> str:
    """Return ``good``, ``fair``, ``poor`` or an empty word for what no threshold is known of."""
    limit = THRESHOLDS.get(which)
    if limit is None or value is None:
        return ""
    if which == ("softening", "force_slope"):
        value = abs(value - 1)
    if limit.good > limit.poor:
        return "good" if value >= limit.good else "poor" if value <= limit.poor else "fair"
    return "good" if value <= limit.good else "poor" if value >= limit.poor else "fair"
