"""Bader volumes: exact where they are known, the same in every cell of a crystal, nothing lost."""

import numpy as np
import pytest

from pesatlas.label.bader import integrate, voronoi_neighbours

SKEWED = np.array([[3.1, 0.2, 0.0], [-1.4, 2.9, 0.1], [0.7, 1.2, 3.3]])


def grid(n):
    """Fractional coordinates of the points of a grid, (n, n, n, 3)."""
    steps = np.arange(n) / n
    return np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1)


def gaussians(cell, positions, weights, widths, n, reach=2):
    """Periodic sum of Gaussians on a grid, per Å³."""
    images = np.array(np.meshgrid(*[range(-reach, reach + 1)] * 3)).reshape(3, -1).T @ cell
    total = np.zeros((n, n, n))
    for position, weight, width in zip(positions, weights, widths, strict=True):
        for image in images:
            square = ((grid(n) @ cell - position - image) ** 2).sum(axis=-1)
            total += weight * np.exp(-square / (2 * width**2)) / (width * np.sqrt(2 * np.pi)) ** 3
    return total


@pytest.mark.parametrize(
    "voxel", [np.eye(3), 0.1 * SKEWED, np.array([[1, 0, 0], [-0.5, 0.75**0.5, 0], [0, 0, 1.6]])]
)
def test_facets_enclose_the_volume_of_a_grid_cell(voxel):
    steps, ratios = voronoi_neighbours(voxel)
    distances = np.linalg.norm(steps @ voxel, axis=1)
    # pyramids from the point to each facet: a third of area times half of the distance
    assert (ratios * distances**2).sum() / 6 == pytest.approx(abs(np.linalg.det(voxel)))
    assert {tuple(-step) for step in steps} == {tuple(step) for step in steps}


def test_volumes_and_charges_are_those_that_are_known():
    # along x: maxima at 0 and 1/2, minima where the cosine of 2 pi x is -1/2: volumes of 2/3 and 1/3
    n, cell = 60, np.diag([4.0, 3.0, 5.0])
    x, y, z = np.moveaxis(2 * np.pi * grid(n), -1, 0)
    density = 3 + np.cos(x) + np.cos(2 * x) / 2 + 0.3 * (np.cos(y) + np.cos(z))
    positions = np.array([[0.0, 0, 0], [2.0, 0, 0]])
    volumes, charges = integrate(density, [np.ones_like(density), density], cell, positions)
    assert volumes == pytest.approx([40, 20], abs=0.1)
    wave = (np.sin(2 * np.pi / 3) + np.sin(4 * np.pi / 3) / 4) / np.pi
    assert charges == pytest.approx([60 * (2 + wave), 60 * (1 - wave)], abs=0.2)
    assert charges.sum() == pytest.approx(density.mean() * 60, rel=1e-12)


def test_a_crystal_has_the_same_charges_in_another_cell_and_order():
    positions = np.array([[0.1, 0.2, 0.3], [1.3, 1.9, 1.8]])
    other = np.array([[1, 0, 0], [2, 1, 0], [0, -1, 1]]) @ SKEWED
    found = []
    for cell, order, reach in ((SKEWED, [0, 1], 2), (other, [1, 0], 4)):
        given = positions[order]
        density = gaussians(cell, given, np.array([9.0, 5.0])[order], np.array([0.45, 0.6])[order], 24, reach)
        found.append(integrate(density, [density], cell, given)[0][np.argsort(order)])
    assert found[0].sum() == pytest.approx(14, abs=0.01)
    assert found[1] == pytest.approx(found[0], abs=0.03)
    assert abs(found[0][0] - 9) > 0.03  # the tails overlap: a charge is not the weight of a Gaussian


def test_a_maximum_between_two_atoms_is_shared():
    cell = 6.0 * np.eye(3)
    positions = np.array([[1.5, 3, 3], [4.5, 3, 3]])
    density = gaussians(cell, [*positions, [3, 3, 3]], [4.0, 4.0, 1.0], [0.4, 0.4, 0.4], 24, reach=1)
    assert integrate(density, [density], cell, positions)[0] == pytest.approx([4.5, 4.5], abs=0.01)


@pytest.mark.parametrize("wrong", [np.ones((4, 4, 5)), np.full((4, 4, 4), np.nan)])
def test_a_density_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError, match=r"on one grid|not finite"):
        integrate(np.ones((4, 4, 4)), [wrong], np.eye(3), np.zeros((1, 3)))
