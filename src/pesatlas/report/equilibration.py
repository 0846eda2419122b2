"""Verdict on the dynamics: temperature and pressure against their targets, drift, block averages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pesatlas.atoms.units import BOLTZMANN_EV_PER_K, EV_PER_A3_TO_GPA
from pesatlas.campaign.campaign_tables import CampaignTables
from pesatlas.report.report_verdict import Mark, Verdict, within

_QUESTION = "Are the dynamics equilibrated?"
_LIMITS = {"temperature": 0.05, "pressure": 0.5, "volume": 0.01}
"""Largest deviations: share of the target, GPa, share from the third quarter to the last."""
_FEWEST = 4
"""Trajectories below which no interval is given."""

_VOLUME = (
    "abs(cell_A[1] * (cell_A[5] * cell_A[9] - cell_A[6] * cell_A[8]) - cell_A[2] * (cell_A[4] * cell_A[9] - "
    "cell_A[6] * cell_A[7]) + cell_A[3] * (cell_A[4] * cell_A[8] - cell_A[5] * cell_A[7]))"
)
_OF_QUARTERS = ", ".join(
    f"max({name}) FILTER (quarter = {i}) AS {name}{i}" for i in range(1, 5) for name in _LIMITS
)
_MEANS = ", ".join(f"avg({name}), stddev_samp({name}), count({name})" for name in _LIMITS)
_BLOCKS = ", ".join(f"avg(temperature{i}), avg(pressure{i}), avg(volume{i} / volume1)" for i in range(1, 5))
_QUARTERS = f"""
WITH frames AS (
  SELECT structure_id, variant, condition, ensemble, time_fs, instant_temperature_K AS kinetic, n_atoms,
         temperature_K AS target, pressure_GPa, mlip_stress_eV_per_A3 AS stress, {_VOLUME} AS volume,
         max(time_fs) OVER (PARTITION BY structure_id, variant, condition) AS longest
  FROM it WHERE ensemble <> 'none' AND time_fs > 0 AND temperature_K > 0
    AND instant_temperature_K IS NOT NULL),
quarters AS (
  SELECT structure_id, variant, condition, ceil(4 * time_fs / longest) AS quarter,
         avg(kinetic / target) AS temperature, avg(volume) AS volume, any_value(longest) AS longest,
         avg({EV_PER_A3_TO_GPA} * ((n_atoms - 1) * {BOLTZMANN_EV_PER_K} * kinetic / volume
             - (stress[1] + stress[2] + stress[3]) / 3) - pressure_GPa)
           FILTER (ensemble IN ('NpT', 'NpT-isotropic')) AS pressure
  FROM frames GROUP BY ALL),
trajectories AS (
  SELECT any_value(longest) AS longest,
         {_OF_QUARTERS}
  FROM quarters GROUP BY structure_id, variant, condition),
compared AS (
  SELECT *, (temperature3 + temperature4) / 2 - 1 AS temperature, (pressure3 + pressure4) / 2 AS pressure,
         volume4 / volume3 - 1 AS volume
  FROM trajectories WHERE temperature1 + temperature2 + temperature3 + temperature4 IS NOT NULL)
SELECT count(*), median(longest) / 1000,
       {_MEANS},
       {_BLOCKS}
FROM compared"""  # noqa: S608 - our own names and numbers


@dataclass(frozen=True)
class _Mean:
    """A mean over trajectories, with half its 95 % interval (two standard errors), None for too few."""

    value: float
    error: float | None

    def text(self, factor: float, unit: str) -> str:
        error = "" if self.error is None else f" ± {factor * self.error:.2g}"
        return f"{factor * self.value:+.2g}{error} {unit}"


def equilibrated(tables: CampaignTables, explore: Mapping[str, Any]) -> Verdict:
    """Return the verdict on the dynamics of a campaign.

    Quarters of each trajectory are averaged, then trajectories, which are independent: their spread gives
    the intervals. The pressure is that of the potential's virial and 3n - 3 kinetic degrees of freedom.

    Parameters
    ----------
    explore : section of the configuration
    """
    found = tables.query(_QUARTERS, "snapshots")
    count, length, *values = found[0] if found else (0, None)
    if not count:
        return Verdict(
            _QUESTION, "not known", "Not known: no trajectory has frames in each quarter of its time."
        )
    means = {
        name: _mean(*values[3 * i : 3 * i + 3]) for i, name in enumerate(_LIMITS) if values[3 * i] is not None
    }
    marks = {name: within(mean.value, mean.error, _LIMITS[name]) for name, mean in means.items()}
    tau = explore.get("barostat_tau_fs", 0.0) / 1000
    short = "pressure" in means and length < tau
    mark: Mark = (
        "look"
        if short or "look" in marks.values()
        else "not known"
        if "not known" in marks.values()
        else "fine"
    )
    return Verdict(
        _QUESTION,
        mark,
        _sentence(mark, means, marks, (count, length), f"{tau:g} ps" if short else ""),
        "Averages over the quarters of each trajectory, then over trajectories; ± is two standard errors "
        "over "
        f"trajectories, none for fewer than {_FEWEST}. Pressure: virial of the potential and kinetic part of "
        "3n - 3 degrees of freedom, where the cell may change its volume. Limits, our own choice: 5 % of the "
        "temperature, 0.5 GPa, 1 % of the volume from the third quarter to the last.",
        ("quarter", "temperature / target", "pressure - target (GPa)", "volume / first quarter"),
        _blocks(values[3 * len(_LIMITS) :]),
    )


def _mean(value: float, spread: float | None, count: int) -> _Mean:
    return _Mean(value, 2 * spread / count**0.5 if spread is not None and count >= _FEWEST else None)


def _blocks(values: Sequence[float | None]) -> list[tuple[str, ...]]:
    return [
        (
            name,
            *(
                "-" if value is None else f"{value:.{digits}f}"
                for value, digits in zip(values[3 * i : 3 * i + 3], (3, 2, 4), strict=True)
            ),
        )
        for i, name in enumerate(("first", "second", "third", "last"))
    ]


def _sentence(
    mark: Mark,
    means: Mapping[str, _Mean],
    marks: Mapping[str, Mark],
    of: tuple[int, float],
    tau: str,
) -> str:
    texts = {
        "temperature": means["temperature"].text(100, "% from the target temperature"),
        "volume": means["volume"].text(100, "% change of the volume in the last half"),
    }
    if "pressure" in means:
        texts["pressure"] = means["pressure"].text(1, "GPa from the target pressure")
    count, length = of
    numbers = (
        f"{', '.join(texts.values())}, over the second halves of {count:,} "
        f"{'trajectory' if count == 1 else 'trajectories'} of {length:.3g} ps (median)"
    )
    if mark == "fine":
        return f"Yes: {numbers}."
    if mark == "not known":
        unsure = [name for name, each in marks.items() if each == "not known"]
        return f"Not known, too few or too short trajectories to tell for {' and '.join(unsure)}: {numbers}."
    off = [name for name, each in marks.items() if each == "look"]
    why = [f"{' and '.join(off)} outside the limits"] if off else []
    why += [f"shorter than the barostat's time constant of {tau}"] if tau else []
    return f"Not yet ({'; '.join(why)}): {numbers}."
