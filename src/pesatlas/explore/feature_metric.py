"""A fixed metric of features, which is known before anything is explored.

Selection measures distances in the principal components of all features of a campaign, each weighted by the
share of the variance that it explains. Exploration does not have these yet. In their place are those of a
fixed set of made-up crystals of all elements that the encoder knows: what varies most between features is
which elements there are and how they are coordinated, and that the set has. docs/saturation.md compares both.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from ase.data import chemical_symbols, covalent_radii

from pesatlas.errors import UserError
from pesatlas.potentials.described import describe, is_finite
from pesatlas.potentials.encoder import Encoder, Frame
from pesatlas.potentials.gate_crystals import Reference
from pesatlas.tables.components import Components
from pesatlas.tables.moments import Moments

VERSION = 1
"""Raise it when the metric of an encoder changes: trajectories that it ended are then computed anew."""

_PARTNERS = (8, 16, 17)
_CUBIC = {"rock salt": (2.0, 1.1), "zinc blende": (4 / 3**0.5, 1.0), "caesium chloride": (2 / 3**0.5, 1.1)}
"""Lattice constant in bonds, and bond in sums of covalent radii, by structure type."""
_ATOMS_AT_ONCE = 400


def made_up_crystals(elements: frozenset[int]) -> Iterator[Frame]:
    """Yield each element by itself, and with O, S and Cl where they are known, in three structure types.

    Two atoms of one element make a simple cubic, a diamond and a body-centred crystal.
    """
    for first in sorted(elements):
        for second in (first, *(other for other in _PARTNERS if other in elements and other != first)):
            for prototype, (lattice, stretch) in _CUBIC.items():
                bond = stretch * float(covalent_radii[first] + covalent_radii[second])
                crystal = Reference((chemical_symbols[first], chemical_symbols[second]), prototype, 0.0)
                cell, positions = crystal.geometry(lattice * bond)
                yield Frame(np.array(crystal.numbers), positions, cell)


class Metric(NamedTuple):
    """Weighted principal components of structures and of atoms."""

    structures: Components
    atoms: Components


def metric_of(encoder: Encoder) -> Metric:
    """Return the weighted principal components of the made-up crystals and of their atoms.

    Raises
    ------
    UserError
        If they look the same to the encoder.
    """
    moments = Moments.empty(encoder.structure_dim), Moments.empty(encoder.atom_dim)
    for found in describe(encoder, list(made_up_crystals(encoder.elements)), _ATOMS_AT_ONCE):
        if is_finite(found):
            moments[0].add(found[0][None])
            moments[1].add(found[1])
    metric = Metric(*(Components.fit(each, "kaiser") for each in moments))
    if not all(each.weights.any() for each in metric):
        raise UserError(
            f"explore.stop.encoder: {encoder.name} gives all simple crystals the same features, so that it "
            "cannot say what is new. Choose another encoder, or stop: {kind: fixed}."
        )
    return metric
