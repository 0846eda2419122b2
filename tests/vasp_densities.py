"""CHGCAR, AECCAR0 and AECCAR2 of the double of VASP, formatted as VASP does: Gaussians of known electrons.

``VASP_DOUBLE_DENSITIES`` is the number of grid points along each vector; without it there are placeholders,
which nothing reads.
"""

import os

import numpy as np

MOVED = {"Na": -0.8, "Cl": 0.8, "O": 1.2, "Fe": -1.2, "Mg": -2.4}
"""Electrons that an atom has more than alone."""
_WIDTH_A, _CORE_A = 0.5, 0.2


def write(folder, inputs, run):
    points = int(os.environ.get("VASP_DOUBLE_DENSITIES", "0"))
    if not points:
        (folder / "CHGCAR").write_text("charge density of the double\n")
        for name in ("AECCAR0", "AECCAR2"):
            (folder / name).write_text("core and valence density of the double\n")
        return
    order = [symbol for i, symbol in enumerate(inputs.symbols) if symbol not in inputs.symbols[:i]]
    valence = dict(zip(order, inputs.valences, strict=True))
    electrons = [valence[symbol] + MOVED.get(symbol, 0.0) for symbol in inputs.symbols]
    charge = gaussians(inputs, points, electrons, _WIDTH_A)
    core = gaussians(inputs, points, [10.0] * len(electrons), _CORE_A)
    moments = run["moments"]
    spin = None if moments is None else gaussians(inputs, points, moments, _WIDTH_A)
    (folder / "AECCAR0").write_text(text(inputs, core))
    (folder / "AECCAR2").write_text(text(inputs, charge))
    (folder / "CHGCAR").write_text(text(inputs, charge, spin, augmented=True))


def gaussians(inputs, points, weights, width):
    """Sum of a Gaussian for each atom, times the volume of the cell, as VASP has densities.

    The mean of the grid is the number of electrons.
    """
    steps = np.arange(points) / points
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1)
    total = np.zeros(grid.shape[:3])
    for fractional, weight in zip(inputs.fractional, weights, strict=True):
        apart = grid - fractional
        apart -= np.round(apart)
        one = np.exp(-((apart @ inputs.cell) ** 2).sum(axis=-1) / (2 * width**2))
        total += weight * one / one.mean()
    return total


def text(inputs, total, spin=None, *, augmented=False):
    species = list(dict.fromkeys(inputs.symbols))
    lines = ["unknown system                          ", "   1.00000000000000     "]
    lines += [" " + "".join(f"{x:12.6f}" for x in row) for row in inputs.cell]
    lines += ["   " + "".join(f"{symbol:<5s}" for symbol in species)]
    lines += ["".join(f"{inputs.symbols.count(symbol):6d}" for symbol in species), "Direct"]
    lines += ["".join(f"{x:10.6f}" for x in row) for row in inputs.fractional % 1.0]
    lines += [" ", *block(total)]
    lines += augmentation(inputs) if augmented else []
    if spin is not None:
        lines += ["".join(f"{1.0:20.12E}" for _ in inputs.symbols), *block(spin)]
        lines += augmentation(inputs)
    return "\n".join(lines) + "\n"


def block(values):
    """A grid: the first index runs fastest, five numbers a line, none with a digit before its point."""
    flat = [number(value) for value in values.ravel(order="F")]
    rows = ["".join(flat[i : i + 5]) for i in range(0, len(flat), 5)]
    return ["".join(f"{n:5d}" for n in values.shape), *rows]


def number(value):
    """A number as Fortran's ``1X,E17.11``."""
    mantissa, exponent = f"{value:.10E}".split("E")
    sign = "-" if mantissa.startswith("-") else "0"
    digits = mantissa.lstrip("-").replace(".", "")
    return f" {sign}.{digits}E{int(exponent) + (float(value) != 0):+03d}"


def augmentation(inputs):
    return [
        line
        for i in range(len(inputs.symbols))
        for line in (
            f"augmentation occupancies {i + 1:3d}   5",
            "  0.2753636E+00 -0.3331354E-01" + "  0.0000000E+00" * 3,
        )
    ]
