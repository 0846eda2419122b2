"""Policy ``random``: random frames, a baseline."""

import hashlib
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pesatlas.config.section import Section
from pesatlas.select.pool import Known, Pick, Pool

PER_CLUSTER = None
"""It does not look at clusters."""


class Options(Section):
    """Options of the policy: none."""

    kind: Literal["random"] = Field("random", description="random frames, a baseline")


def order(pool: Pool, options: Options) -> list[NDArray]:  # noqa: ARG001 - every policy is called this way
    """Return the sample key of each candidate.

    A hash of seed and ``snapshot_id``, so that no order or partition changes it.
    """
    seed = f"{pool.seed}:".encode()
    keys = [hashlib.blake2b(seed + name.encode(), digest_size=8).digest() for name in pool.ids.to_pylist()]
    return [np.frombuffer(b"".join(keys), "<u8")]


def choose(pool: Pool, options: Options, taken: list[int], known: Known) -> list[Pick]:  # noqa: ARG001 - every policy is called this way
    """Pick in the order of random keys."""
    rows = np.argsort(order(pool, options)[0], kind="stable")
    kept = rows[~np.isin(rows, taken)]
    return [Pick(row, "at random", 0) for row in kept.tolist()]
