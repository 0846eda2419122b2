"""Speed: time of a molecular dynamics step per atom."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pesatlas.config.property_options import FromFile

if TYPE_CHECKING:
    from pesatlas.benchmark.cached_evaluator import CachedEvaluator
    from pesatlas.benchmark.item import BenchmarkItem, PropertyResult
    from pesatlas.benchmark.structure_sets import Sources

VERSION = 1
FILES = ("wbm-equilibrium.json.gz", "wbm-random-pbe52-equilibrium-2025.1.json.gz")
QUANTITIES = {"step_time": ("ms/atom", "mean", "")}
KEPT = False
"""A time belongs to the machine, so it is measured anew."""


class Options(FromFile):
    """Evaluations of copies of a crystal side by side; the median of several."""

    kind: Literal["speed"] = Field("speed", description="wall time of an atom and step (ms)")
    atoms: int = Field(256, ge=1, description="smallest number of atoms in a batch")
    repeats: int = Field(5, ge=1, description="number of timed evaluations, after one warm-up")


SUITES = {
    "quick": Options(structures=2, max_atoms=12, repeats=3),
    "full": Options(structures=10, max_atoms=40),
}


def cases(options: Options, sources: "Sources") -> "list[BenchmarkItem]":
    """Read the crystals."""
    from pesatlas.benchmark.structure_sets import cases_of_file  # noqa: PLC0415 - heavy

    return cases_of_file(options, sources, FILES, {})


def measure(
    cases: "list[BenchmarkItem]", options: Options, evaluator: "CachedEvaluator"
) -> "Iterator[PropertyResult]":
    """Evaluate and look at the clock."""
    import time  # noqa: PLC0415 - as the others
    from statistics import median  # noqa: PLC0415

    import torch  # noqa: PLC0415 - heavy

    from pesatlas.benchmark.item import PropertyResult  # noqa: PLC0415 - heavy
    from pesatlas.dynamics.relax import to_batch  # noqa: PLC0415

    device = evaluator.potential.device
    for case in cases:
        copies = -(-options.atoms // len(case.start.numbers))
        batch = to_batch([case.start] * copies, device)
        times = []
        for _ in range(options.repeats + 1):
            start = time.perf_counter()
            evaluator.potential.evaluate(batch)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - start)
        atoms = copies * len(case.start.numbers)
        yield PropertyResult(
            {"step_time": 1000 * median(times[1:]) / atoms}, detail=f"{atoms} atoms on {device}"
        )
