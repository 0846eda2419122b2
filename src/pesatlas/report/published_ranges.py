"""Published ranges of other datasets, for comparison; only numbers from their own files or texts.

No range of OMat24 is here: its filters are told of another set (sAlex), and its distributions are pictures
without numbers. Nor is one of volumes: nobody states it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """A published range of one quantity in one dataset, in the unit of the figure, with its source."""

    figure: str
    dataset: str
    low: float
    high: float
    about: str
    source: str


_MATPES = "arXiv 2503.04070; pbe_stats.json of the matpes package"
_MPTRJ = "arXiv 2302.14231; histograms of Matbench Discovery, arXiv 2308.14920"

SPANS = (
    Span(
        "cohesive_energy",
        "MatPES-PBE",
        -7.95,
        0.01,
        "99.9 % of 434,712 structures; all: -9.44 to 3.00",
        _MATPES,
    ),
    Span("forces", "MatPES-PBE", 0.0, 15.8, "99.8 % of atoms; largest 789", _MATPES),
    Span("pressure", "MPtrj", -52.0, 49.0, "99.8 % of mean stresses, with the sign of a pressure", _MPTRJ),
)


def spans(figure: str) -> list[Span]:
    """Return the ranges that belong into a figure."""
    return [span for span in SPANS if span.figure == figure]
