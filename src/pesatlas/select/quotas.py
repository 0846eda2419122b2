"""Quotas of domains: each is selected from separately, and picks are interleaved."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

REST = ""


def parts(domains: pa.ChunkedArray, quotas: Mapping[str, float]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield (name, which rows) of each domain that has a share, and of all others together, ``REST``."""
    rest = np.ones(len(domains), dtype=bool)
    for name in sorted(quotas):
        inside = pc.equal(domains, name).to_numpy(zero_copy_only=False).astype(bool)
        rest &= ~inside
        yield name, inside
    yield REST, rest


def in_turns(
    ranked: Mapping[str, Sequence[int]],
    spent: Mapping[str, float],
    cost: NDArray[np.float64],
    quotas: Mapping[str, float],
) -> list[int]:
    """Return the rows of all parts interleaved, so that every beginning keeps the shares.

    The k-th pick of a part comes when the part has spent that much over its share; a part that has run out of
    picks leaves its share to the others. So a smaller target, or a smaller budget, is the beginning of a
    larger one.

    Parameters
    ----------
    ranked : rows of each part, most wanted first
    spent : what was spent on each part before
    cost : what each row costs: 1, or its share of DFT
    quotas : share of each part but ``REST``, which has what is left of 1
    """
    shares = {**quotas, REST: 1 - sum(quotas.values())}
    keys = []
    for name in sorted(ranked):
        total = spent.get(name, 0.0)
        for place, row in enumerate(ranked[name]):
            total += cost[row]
            # without a share, or with no more than rounding leaves of it: last
            due = total / shares[name] if shares[name] > 1e-9 else np.inf
            keys.append((due, name, place, row))
    return [row for *_, row in sorted(keys)]
