"""Section ``benchmark``: the potentials to benchmark, and the properties."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from pesatlas.config import plugins
from pesatlas.config.explore import Potential
from pesatlas.config.section import HomePath, Runtime, Section

PROPERTIES = "pesatlas.benchmark.properties"

if TYPE_CHECKING:
    # the union is built at run time from the modules that are there
    Property = Any
else:
    Property = plugins.options_of(PROPERTIES)

Suite = Literal["quick", "full"]
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"


class Candidate(Section):
    """A potential to benchmark beside those of the campaign."""

    name: str = Field(pattern=_NAME, description="name in tables and files: letters, digits, . - _")
    potential: Potential = Field(description="the potential, as in explore.potential")
    corrected: bool | None = Field(
        None,
        description="whether its formation energies include the corrections of the Materials Project; "
        "null: as known for its kind",
    )


class Benchmark(Section):
    """Benchmarks of the exploring potential, of potentials trained here, and of others."""

    suite: Suite = Field(
        "quick", description="quick: minutes on a core, a check; full: all structures, as published"
    )
    properties: list[Property] | None = Field(
        None, min_length=1, description="properties with their options; null: those of the suite"
    )
    data: HomePath | None = Field(
        None,
        description="folder of files in matcalc's formats; null: fetched once from the hub into "
        "resources/benchmark",
    )
    potentials: list[Candidate] = Field([], description="potentials besides those of the campaign")
    jobs_per_property: int = Runtime(
        8,
        ge=1,
        le=10_000,
        description="jobs of one potential and property: each takes its share of the structures",
    )
    device: str = Runtime("cpu", pattern=r"^(cpu|cuda(:\d+)?)$", description="device: cpu, cuda, cuda:1")

    @property
    def folder(self) -> Path:
        """Return the folder of the data, which may not be fetched yet."""
        return self.data or Path("resources/benchmark")

    def chosen(self) -> dict[str, Any]:
        """Return the options of every property, by its kind."""
        many = self.properties if self.properties is not None else list(suite(self.suite).values())
        return {options.kind: options for options in many}

    def jobs(self, options: Any) -> int:
        """Return how many jobs a property has: no more than it has structures."""
        most = getattr(options, "structures", None) or getattr(options, "frames", None)
        return min(self.jobs_per_property, most or self.jobs_per_property)

    def problems(self) -> list[str]:
        """Return sentences on missing files in the folder of data.

        Those that are fetched are not asked for.
        """
        if self.data is None:
            return []
        if not self.data.is_dir():
            return [
                (
                    f"data = '{self.data}': no such folder. Name one with files in matcalc's formats, or "
                    "remove the key"
                )
            ]
        missing = []
        for options in self.chosen().values():
            files = getattr(plugins.find(PROPERTIES, options.kind), "FILES", ())
            names = (options.file,) if getattr(options, "file", None) else files
            if names and not any((self.data / name).is_file() for name in names):
                missing.append(
                    f"data = '{self.data}': no {' or '.join(names)}, which {options.kind} needs. Put it "
                    "there, name another with the option `file` of that property, or leave the property out"
                )
        return missing

    @model_validator(mode="after")
    def _names_differ(self) -> "Benchmark":
        names = [each.name for each in self.potentials]
        double = sorted({name for name in names if names.count(name) > 1 or name == "exploring"})
        if double:
            raise ValueError(
                f"potentials: the name {', '.join(double)} is used twice; give each potential its own name"
            )
        kinds = [options.kind for options in self.properties or []]
        double = sorted({kind for kind in kinds if kinds.count(kind) > 1})
        if double:
            raise ValueError(f"properties: {', '.join(double)} is listed twice; list each property once")
        return self


def suite(name: Suite) -> dict[str, Any]:
    """Return the options of every property of a suite, by its kind.

    Those that need a file of one's own are in none.
    """
    modules = [plugins.find(PROPERTIES, kind) for kind in plugins.available(PROPERTIES)]
    return {m.SUITES[name].kind: m.SUITES[name] for m in modules if not getattr(m, "ON_REQUEST", False)}
