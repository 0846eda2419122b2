"""Policy ``mixed``: the picks of ``cover`` and of ``facility`` in turns: rare environments and frequent frames."""

from itertools import chain, zip_longest
from typing import Literal

from numpy.typing import NDArray
from pydantic import Field

from pesatlas.config.section import Section
from pesatlas.select.policies import cover, facility
from pesatlas.select.pool import Known, Pick, Pool

PER_CLUSTER = cover.PER_CLUSTER
CELLS = facility.CELLS


class Options(Section):
    """Options of the policy: none."""

    kind: Literal["mixed"] = Field(
        "mixed",
        description="cover and facility in turns: half of the picks for rare environments, half for frequent "
        "frames",
    )


def order(pool: Pool, options: Options) -> list[NDArray]:  # noqa: ARG001 - every policy is called this way
    """Return what candidates of an atomic cluster are ordered by, as for ``cover``."""
    return cover.order(pool, cover.Options())


def cell_order(pool: Pool, options: Options) -> list[NDArray]:  # noqa: ARG001 - as for order
    """Return what the frames of a cell of structures are ordered by, as for ``facility``."""
    return facility.order(pool, facility.Options())


def choose(pool: Pool, options: Options, taken: list[int], known: Known) -> list[Pick]:  # noqa: ARG001 - as for order
    """Pick by ``cover`` and by ``facility`` in turns; what the other has picked already is not picked again.

    Each picks as it would alone, so that a larger target or budget keeps the picks of a smaller one. On frames
    with DFT labels either was the best where the other was among the worst: ``cover`` for forces in a pool of
    many elements, ``facility`` in the dynamics of an alloy (docs/evidence.md).
    """
    both = (
        cover.choose(pool, cover.Options(), taken, known),
        facility.choose(pool, facility.Options(), taken, known),
    )
    picks: dict[int, Pick] = {}
    for pick in chain.from_iterable(zip_longest(*both)):
        if pick is not None:
            picks.setdefault(pick.row, pick)
    return list(picks.values())
