"""Section ``explore``: molecular dynamics of every cell at each of its conditions."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, PlainSerializer, WithJsonSchema, WrapValidator, model_validator

from pesatlas.config import plugins
from pesatlas.config.explore_stop import Fixed, Saturated, Stop
from pesatlas.config.section import Runtime, Section

AUTO = "auto"
"""The time step that the lightest element of each cell allows."""

_TIMESTEPS_FS = ((1, 0.5), (7, 1.0), (118, 2.0))
"""Up to which atomic number of the lightest element which time step (fs).

A tenth or less of the fastest vibration's period.

Velocity Verlet is stable up to a third of it; the energy of a vibration fluctuates by 5 % at a tenth, by 2 %
at a fifteenth. Hydrogen: O-H 9 fs, N-H 10, C-H 11, H-H 8. Helium to nitrogen: N-N 14, C-N and C-O 15, C-C 20,
B-N 24, Li-O 45 fs. Oxygen and heavier: O-O 21, S-O and P-O 28, Si-O 30 fs.
"""

HYDROGEN = 1
LONGEST_WITH_HYDROGEN_FS = 1.0
"""A number above is a mistake where there is hydrogen, or has to be meant."""


def _number_or_auto(value: Any, number: Any) -> Any:
    return AUTO if value == AUTO else number(value)


if TYPE_CHECKING:
    # the union is built at run time from the modules that are there
    Potential = Any
    Timestep = float | Literal["auto"]
else:
    Potential = plugins.options_of("pesatlas.potentials.kinds")
    # no union: of a number that is out of bounds, pydantic would say two things
    Timestep = Annotated[
        float,
        Field(gt=0, le=1000),
        WrapValidator(_number_or_auto),
        PlainSerializer(lambda value: value, return_type=Any),
        WithJsonSchema(
            {"anyOf": [{"const": AUTO}, {"exclusiveMinimum": 0, "maximum": 1000, "type": "number"}]}
        ),
    ]

_LONGEST_USUAL_TIMESTEP_FS = 10.0
_FEWEST_FRAMES = 4
"""Of the shortest trajectory: fewer say little."""
LAST_STEP = 9_999_999
"""The last step that a ``snapshot_id`` has room for."""


class Abort(Section):
    """Limits of a trajectory: beyond them it ends as a failure row and keeps its frames."""

    max_volume_ratio: float = Field(
        2.0,
        gt=1,
        le=100,
        description="end a trajectory whose volume grows or shrinks by more than this factor from its start",
    )
    min_distance_A: float = Field(
        0.5,
        ge=0,
        le=3,
        description="end a trajectory with two atoms closer than this (Å); checked at its start and at "
        "every frame",
    )
    max_temperature_factor: float = Field(
        10.0,
        gt=1,
        le=1000,
        description="end a trajectory hotter than this many times its target, or 300 K if that is more; "
        "small cells get room for their natural fluctuations",
    )


class Explore(Section):
    """NpT molecular dynamics: stochastic velocity rescaling, stochastic cell rescaling with angles free."""

    potential: Potential = Field({"kind": "chgnet"}, description="potential that drives the dynamics")
    device: str = Runtime(
        "cpu", pattern=r"^(cpu|cuda(:\d+)?)$", description="device of the dynamics: cpu, cuda, cuda:1"
    )
    timestep_fs: Timestep = Field(
        "auto",
        description="time step (fs); auto: by the lightest element of each cell, 0.5 with hydrogen, 1 with "
        "helium "
        "to nitrogen, else 2; more "
        "than 10 needs allow_long_timestep",
    )
    allow_long_timestep: bool = Field(default=False, description="allow a time step of more than 10 fs")
    length_ps: float = Field(100.0, gt=0, description="length of a trajectory (ps)")
    frame_interval_ps: float = Field(
        0.1, gt=0, description="time between stored frames (ps): a multiple of the time step"
    )
    thermostat_tau_fs: float = Field(100.0, gt=0, description="relaxation time of the thermostat (fs)")
    barostat_tau_fs: float = Field(
        1000.0,
        gt=0,
        description="relaxation time of the barostat (fs), for a solid of the given compressibility",
    )
    compressibility_per_GPa: float = Field(
        0.01,
        gt=0,
        description="isothermal compressibility (1/GPa), 1 / bulk modulus; sets the speed of the "
        "barostat, not the ensemble",
    )
    abort: Abort = Abort()
    stop: Stop = Field(
        Fixed(),
        description="end of a trajectory: fixed, after length_ps; saturated, when it shows nothing new "
        "(docs/saturation.md)",
    )
    structures_per_job: int = Field(
        400,
        ge=1,
        description="cells per job: 400 give 375 jobs for 150,000 cells; use fewer in small campaigns, to "
        "have as many jobs as GPUs or nodes",
    )
    max_atoms_in_memory: int | None = Runtime(
        None,
        ge=1,
        description="atoms per batch of dynamics; null: 4096 on a GPU, then as many as fit, up to 50000; 512 "
        "on a CPU",
    )
    checkpoint_interval_s: float = Runtime(
        60.0, ge=0, description="time between checkpoints (s): the most that a killed job loses"
    )
    progress_interval_s: float = Runtime(
        30.0, ge=0, description="time between lines of progress in the log (s)"
    )

    @property
    def longest_timestep_fs(self) -> float:
        """The time step (fs); of ``auto`` that of heavy elements, of which the others are parts."""
        return _TIMESTEPS_FS[-1][1] if isinstance(self.timestep_fs, str) else self.timestep_fs

    def of(self, numbers: Iterable[int]) -> Self:
        """Return the section with the time step of a cell with these elements in place of ``auto``.

        Trajectories follow from the number alone, so that ``auto`` finds those that were made with the same
        number.
        """
        if self.timestep_fs != AUTO:
            return self
        lightest = min(numbers)
        step = next(step for last, step in _TIMESTEPS_FS if lightest <= last)
        return self.model_copy(update={"timestep_fs": step})

    @property
    def frame_steps(self) -> int:
        """Steps between two frames; of ``auto`` those of heavy elements."""
        return round(self.frame_interval_ps * 1000 / self.longest_timestep_fs)

    @property
    def total_steps(self) -> int:
        """Steps of a trajectory without ramps; of ``auto`` those of heavy elements."""
        return self.steps_of()

    def steps_of(self, ramp_ps: Iterable[float] = (), length_ps: float | None = None) -> int:
        """Return the steps of a trajectory with these ramps before ``length_ps`` (null: the section's).

        Whole frames.
        """
        fs = sum(self.ramp_steps(ps) for ps in ramp_ps) * self.longest_timestep_fs
        fs += (length_ps or self.length_ps) * 1000
        return max(1, round(fs / (self.frame_interval_ps * 1000))) * self.frame_steps

    def ramp_steps(self, length_ps: float) -> int:
        """Return the steps of one part of a ramp."""
        return max(1, round(length_ps * 1000 / self.longest_timestep_fs))

    def identity(self) -> dict[str, Any]:
        """Return what decides results; without ``stop`` where it is fixed, as if it had never been added."""
        found = super().identity()
        return found if isinstance(self.stop, Saturated) else {k: v for k, v in found.items() if k != "stop"}

    def dynamics_identity(self) -> dict[str, Any]:
        """Return what decides a trajectory: ``identity`` without how cells are packed into jobs."""
        return {
            k: v for k, v in self.identity().items() if k not in {"structures_per_job", "allow_long_timestep"}
        }

    @model_validator(mode="after")
    def _timestep_is_meant(self) -> "Explore":
        step = self.longest_timestep_fs
        if step > _LONGEST_USUAL_TIMESTEP_FS and not self.allow_long_timestep:
            raise ValueError(
                f"timestep_fs: {step:g} fs is longer than 10 fs, where atoms no longer follow their forces; "
                "use auto, or 2 (0.5 with hydrogen), or set allow_long_timestep: true if this is intended"
            )
        return self

    @model_validator(mode="after")
    def _times_divide(self) -> "Explore":
        interval_fs = self.frame_interval_ps * 1000
        step = self.longest_timestep_fs
        if not _divides(step, interval_fs):
            near = max(1, round(interval_fs / step)) * step / 1000
            raise ValueError(
                f"frame_interval_ps: {self.frame_interval_ps:g} ps is not a multiple of the time step of "
                f"{step:g} fs; use {near:g}"
            )
        if not _divides(self.frame_interval_ps, self.length_ps):
            near = max(1, round(self.length_ps / self.frame_interval_ps)) * self.frame_interval_ps
            raise ValueError(
                f"length_ps: {self.length_ps:g} ps is not a multiple of frame_interval_ps, "
                f"{self.frame_interval_ps:g} ps; use {near:g}"
            )
        if self.total_steps > LAST_STEP:
            raise ValueError(
                f"length_ps: {self.length_ps:g} ps is {self.total_steps} steps; names of snapshots allow at "
                f"most {LAST_STEP}: make it shorter"
            )
        return self

    @model_validator(mode="after")
    def _stop_is_possible(self) -> "Explore":
        if not isinstance(self.stop, Saturated):
            return self
        interval, shortest = self.frame_interval_ps, self.stop.min_length_ps
        if shortest < _FEWEST_FRAMES * interval * (1 - 1e-9):
            raise ValueError(
                f"stop.min_length_ps: {shortest:g} ps is less than {_FEWEST_FRAMES} frames of {interval:g} "
                f"ps; use {_FEWEST_FRAMES * interval:g} or more, or a shorter frame_interval_ps"
            )
        if shortest > self.length_ps:
            raise ValueError(
                f"stop.min_length_ps: {shortest:g} ps is more than length_ps, {self.length_ps:g} ps, which "
                "no trajectory exceeds: none would end early; make it shorter, or length_ps longer"
            )
        return self


def hydrogen_warning(timestep_fs: float | str, numbers: Iterable[int]) -> str:
    """Return the problem of a fixed time step (fs) with hydrogen; empty if there is none."""
    if not isinstance(timestep_fs, float | int) or timestep_fs <= LONGEST_WITH_HYDROGEN_FS:
        return ""
    if HYDROGEN not in {int(z) for z in numbers}:
        return ""
    return (
        f"there is hydrogen, and explore.timestep_fs is {timestep_fs:g} fs: O-H, N-H and C-H bonds vibrate "
        "in 9 to 12 fs, and trajectories with them heat up or explode; set it to auto, or 0.5"
    )


def _divides(part: float, whole: float) -> bool:
    """Whether ``whole`` is a positive multiple of ``part``, but for rounding."""
    times = round(whole / part)
    return times >= 1 and abs(whole / part - times) < 1e-6 * times
