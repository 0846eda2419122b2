"""Distance between two crystals by their atomic environments: the distance ``d`` of MatPES' benchmark.

The fingerprint of a site (Zimmermann & Jain 2020, doi:10.1039/C9RA07755C) has the likelihood of every
coordination number from CrystalNN and, for each, local order parameters of its usual polyhedra times that
likelihood; that of a structure has mean, standard deviation, minimum and maximum over its sites. These are
matminer's ``CrystalNNFingerprint.from_preset("ops", distance_cutoffs=None, x_diff_weight=0)`` and
``SiteStatsFingerprint``, as matcalc's equilibrium benchmark uses them, on pymatgen alone: matminer asks for
pandas < 3, which nothing else here does. A test holds its numbers.
"""

from functools import cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from pesatlas.dynamics.relax import Start

_Q = ["q2", "q4", "q6"]
_MOTIFS: dict[int, list[str]] = {
    1: ["sgl_bd"],
    2: ["L-shaped", "water-like", "bent 120 degrees", "bent 150 degrees", "linear"],
    3: ["trigonal planar", "trigonal non-coplanar", "T-shaped"],
    4: [
        "square co-planar",
        "tetrahedral",
        "rectangular see-saw-like",
        "see-saw-like",
        "trigonal pyramidal",
    ],
    5: ["pentagonal planar", "square pyramidal", "trigonal bipyramidal"],
    6: ["hexagonal planar", "octahedral", "pentagonal pyramidal"],
    7: ["hexagonal pyramidal", "pentagonal bipyramidal"],
    8: ["body-centered cubic", "hexagonal bipyramidal"],
    9: _Q,
    10: _Q,
    11: _Q,
    12: ["cuboctahedral", *_Q],
}
_LARGEST = 24
"""Coordination number."""


def fingerprint(structure: Start) -> NDArray[np.float64]:
    """Fingerprint (244,) of a structure, without unit."""
    from pymatgen.core import Structure  # noqa: PLC0415 - heavy

    neighbours, _ = _tools()
    whole = Structure(
        structure.cell, structure.numbers.tolist(), structure.positions, coords_are_cartesian=True
    )
    sites = np.array([_site(whole, neighbours.get_nn_data(whole, i), i) for i in range(len(whole))])
    return np.stack([sites.mean(0), sites.std(0), sites.min(0), sites.max(0)], axis=1).ravel()


def _site(structure: Any, found: Any, i: int) -> list[float]:
    _, parameters = _tools()
    values: list[float] = []
    for number in range(1, _LARGEST + 1):
        weight = found.cn_weights.get(number, 0)
        values.append(weight)
        for parameter in parameters.get(number, ()):
            if weight == 0:
                values.append(0.0)
                continue
            sites = [each["site"] for each in found.cn_nninfo[number]]
            (value,) = parameter.get_order_parameters(
                [structure[i], *sites], 0, indices_neighs=list(range(1, len(sites) + 1))
            )
            values.append(weight * (value or 0))
    return values


@cache
def _tools() -> tuple[Any, dict[int, list[Any]]]:
    """Return what finds neighbours, and the order parameters of each coordination number."""
    from pymatgen.analysis.local_env import CrystalNN, LocalStructOrderParams  # noqa: PLC0415 - heavy
    from pymatgen.core.local_env import CN_OPT_PARAMS  # noqa: PLC0415

    parameters: dict[int, list[Any]] = {}
    for number, names in _MOTIFS.items():
        for name in names:
            kind, *more = cast("list[Any]", CN_OPT_PARAMS.get(number, {}).get(name, [name]))
            made = LocalStructOrderParams([kind], parameters=[more[0] if more else None])
            parameters.setdefault(number, []).append(made)
    return CrystalNN(distance_cutoffs=None, x_diff_weight=0), parameters
