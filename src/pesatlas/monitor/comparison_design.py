"""Difference between policies that the comparison of a campaign can show, before it runs."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from pesatlas.campaign.layout import below
from pesatlas.config.campaign import Campaign
from pesatlas.train.comparison import spreads_so_far
from pesatlas.train.comparison_power import ASSUMED, POWER, Spreads, detectable_ratio
from pesatlas.train.contrast import FEWEST

WANTED = 0.9
"""Ratio of errors that a design should tell from 1: a tenth less."""


@dataclass(frozen=True)
class Design:
    """Design of a comparison, and spreads of its errors of forces.

    Attributes
    ----------
    materials, frames : held-out materials, and the frames of them that test
    seeds : trainings of each arm
    """

    materials: int
    frames: int
    seeds: int
    spreads: Spreads

    @property
    def ratio(self) -> float:
        """Ratio of errors, below 1, that the comparison tells from 1; 0 if it tells none."""
        return self._ratio(self.materials, self.seeds) if self.materials >= FEWEST else 0.0

    @property
    def weak(self) -> bool:
        """Whether it would not show ``WANTED``."""
        return self.ratio < WANTED

    @property
    def sentence(self) -> str:
        """Sentence on what the comparison can show, and on what a weak one needs more of."""
        size = f"about {self.materials} held-out materials, {self.frames} test frames and {self.seeds} seeds"
        if self.materials < FEWEST:
            shows = f"shows no difference: that takes {FEWEST} held-out materials"
        else:
            shows = f"shows differences of errors from {100 * (1 - self.ratio):.0f} % on"
        spreads = (
            f"(chance {100 * POWER:.0f} %; spreads: {100 * self.spreads.materials:.0f} % between materials, "
            f"{100 * self.spreads.seeds:.0f} % between trainings, {self.spreads.source})"
        )
        more = f" To show {100 * (1 - WANTED):.0f} %, take {self._enough()}." if self.weak else ""
        return f"compare: with {size}, it {shows} {spreads}.{more}"

    def _enough(self) -> str:
        """Return what would be enough to show ``WANTED``."""
        held_out = max(self.materials, FEWEST)
        seeds = _first(range(2, 50), lambda n: self._ratio(held_out, n))
        materials = _first(range(FEWEST, 10_000), lambda n: self._ratio(n, self.seeds))
        ways = [f"{seeds} seeds (compare.seeds)"] if seeds and held_out == self.materials else []
        ways += (
            [f"{materials} held-out materials (dataset.split.test, or more crystals)"] if materials else []
        )
        short = math.log(self._ratio(held_out, self.seeds)) / math.log(WANTED)
        return " or ".join(ways) or (
            f"{short**2:.1f} times as many of each (compare.seeds, compare.test_frames; for materials "
            "dataset.split.test, or more crystals)"
        )

    def _ratio(self, materials: int, seeds: int) -> float:
        return detectable_ratio(self.spreads, materials, self.frames, seeds)


def _first(numbers: Iterable[int], ratio: Callable[[int], float]) -> int | None:
    return next((n for n in numbers if ratio(n) >= WANTED), None)


def design_of(campaign: Campaign, crystals: int, results: Path) -> Design | None:
    """Return the design of a campaign's comparison; None without a section ``compare``.

    Spreads, and how much tests, are those of trainings in ``results``, if there are enough.

    Parameters
    ----------
    crystals : how many the campaign explores
    """
    compare = campaign.compare
    if compare is None:
        return None
    tables = {
        run: below(results, "arm_errors", policy=run[0], share=f"{run[1]:g}", seed=run[2])
        for run in compare.runs
    }
    found = spreads_so_far(compare, {run: path for run, path in tables.items() if path.is_file()})
    held_out = round(crystals * campaign.dataset.split.test)
    spreads, materials, frames = found or (ASSUMED, held_out, compare.test_frames)
    return Design(materials, frames, len(compare.seeds), spreads)
