"""Facility location: exact, the same for any order and parts, by weights, and what its definition says."""

import numpy as np
import pytest

from pesatlas.config.select import Select
from pesatlas.select.coarse_cells import cells_of
from pesatlas.select.facility_location import greedy_facility, serve, tree_of
from pesatlas.select.policies import facility
from pesatlas.tables import read_table
from pesatlas.testing.selecting import frames_of_twelve_crystals, select


def pick(points, weights, price=None, used=(), most=10**6, keys=None, *, squared=False):
    """Rows picked, and the worth of each, where every point is a candidate."""
    points, n = np.asarray(points, dtype=float), len(points)
    taken = np.zeros(n, dtype=bool)
    taken[list(used)] = True
    tree = tree_of(points, np.asarray(weights, dtype=float), squared=squared)
    price, keys = (
        np.full(n, value) if found is None else found for value, found in ((1.0, price), (0.0, keys))
    )
    rows, gains = greedy_facility(
        tree, points, np.asarray(price, float), np.asarray(keys, float), taken, most
    )
    return rows.tolist(), gains.tolist()


def exhaustive(points, weights, price, used=(), most=10**6, *, squared=False):
    """The same without tree and heap: every candidate is weighed at every step."""
    mean = weights @ points / weights.sum()
    apart = np.full(len(points), ((points - mean) ** 2).sum(axis=1).max())
    squares = ((points[:, None] - points) ** 2).sum(axis=-1)
    distance = (lambda x: x) if squared else np.sqrt
    free = np.ones(len(points), dtype=bool)
    for row in used:
        apart, free[row] = np.minimum(apart, squares[row]), False
    rows = []
    while len(rows) < most:
        gains = (weights * np.maximum(0, distance(apart) - distance(squares))).sum(axis=1) / price
        digits, exponent = np.frexp(gains)  # ties are told as the code does
        gains = np.ldexp(np.rint(digits * 2.0**36), exponent - 36)
        gains[~free] = -1.0
        row = int(gains.argmax())
        if gains[row] <= 0:
            break
        rows.append(row)
        apart, free[row] = np.minimum(apart, squares[row]), False
    return rows


def test_picks_on_a_line_are_those_worked_out_by_hand():
    # Points at 0 (three frames), 2, 8 and 9. Mean 19/6, radius 35/6, the distance of all before a pick.
    # Worth of 0: 3 x 5.833 + 3.833 = 21.33; of 2: 3 x 3.833 + 5.833 = 17.33, of 8 and 9: 5.833 + 4.833 =
    # 10.67.
    # Then apart is 0, 2, 5.833, 5.833. Of 8 and 9 either is worth 10.67: the smaller key decides, 9 first.
    # Then 2 is worth 2, 8 is worth 1. In the end nothing is worth anything.
    points, weights = [[0.0], [2.0], [8.0], [9.0]], [3, 1, 1, 1]
    rows, gains = pick(points, weights, keys=[0.0, 0.0, 2.0, 1.0])
    assert rows == [0, 3, 1, 2]
    np.testing.assert_allclose(gains, [64 / 3, 32 / 3, 2, 1])
    # 8 and 9 at twice the price: 10.67 / 2 is still more than 2, but 1 / 2 and 2 change nothing
    assert pick(points, weights, price=[1, 1, 2, 2])[0] == [0, 2, 1, 3]
    # at six times the price of the others 2 is worth more than they are
    assert pick(points, weights, price=[1, 1, 6, 6])[0] == [0, 1, 2, 3]
    # what is labelled at 8.5 leaves half an ångström to 8 and 9, and 2 and 0 as they were
    assert pick(points, weights, used=[2])[0] == [0, 1, 3]


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_lazy_picks_in_a_tree_are_those_of_an_exhaustive_search(seed, squared):
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(1, 150)), int(rng.integers(1, 6))
    points = rng.normal(size=(n, k)) * rng.uniform(0.2, 3, size=k)
    weights, price = rng.integers(0, 5, size=n) + 1.0, rng.uniform(0.5, 4, size=n)
    used = np.flatnonzero(rng.random(n) < 0.1 * (seed % 2)).tolist()
    assert pick(points, weights, price, used, squared=squared)[0] == exhaustive(
        points, weights, price, used, squared=squared
    )


def test_a_weight_is_as_many_frames_and_equal_frames_are_picked_once():
    rng = np.random.default_rng(1)
    points, weights = rng.normal(size=(60, 3)), rng.integers(1, 6, size=60)
    one, gains = pick(points, weights)
    many, repeated = pick(np.repeat(points, weights, axis=0), np.ones(weights.sum()))
    owner = np.repeat(np.arange(60), weights)
    assert owner[many].tolist() == one
    np.testing.assert_allclose(gains, repeated)
    assert pick(np.zeros((5, 2)), np.ones(5))[0] == [0]


def test_what_is_served_by_labels_is_worth_nothing():
    points = np.array([[0.0, 0.0], [0.1, 0.0], [5.0, 0.0], [5.1, 0.0]])
    tree = tree_of(points, np.ones(4))
    for point in points[:2]:
        serve(tree, point)
    rows, _ = greedy_facility(tree, points, np.ones(4), np.zeros(4), np.zeros(4, dtype=bool), 10)
    assert rows.tolist() == [2, 3]


def test_cells_are_the_same_at_once_and_in_parts():
    rng = np.random.default_rng(2)
    points = rng.normal(size=(3000, 5)) * [3, 2, 1, 1, 0.5]
    owner, level = cells_of(points, 100, np.zeros(3000, dtype=np.int64))
    assert 50 < len(np.unique(owner)) <= 100, "a level joins cells in pairs"
    for seed in range(5):
        kept, levels = [], []
        for part in np.array_split(np.random.default_rng(seed).permutation(3000), 1 + 3 * seed):
            mine, reached = cells_of(points[part], 100, np.zeros(len(part), dtype=np.int64))
            assert reached <= level
            first = np.unique(mine, return_index=True)[1]
            kept.append(part[first])
            levels.append(np.full(len(first), reached))
        rows = np.concatenate(kept)
        merged, reached = cells_of(points[rows], 100, np.concatenate(levels))
        assert reached == level
        # two rows are together in a cell of the parts where they are of the whole
        assert len({*zip(merged.tolist(), owner[rows].tolist(), strict=True)}) == len(np.unique(owner))
        assert len(np.unique(merged)) == len(np.unique(owner))


def options(**more):
    chosen = {"structure": {"threshold": 0.1}, "atoms": {"threshold": 0.02}, "include_equilibrium": False}
    return Select(**{"policy": {"kind": "facility"}, "target": 40, **chosen, **more})


@pytest.fixture
def frames():
    return frames_of_twelve_crystals()


@pytest.mark.parametrize("exponent", [0.0, 0.5])
def test_the_stage_picks_what_its_definition_says(exponent, frames, tmp_path):
    """From features to picks in a dozen lines of numpy."""
    rows, structures, _ = frames
    settings = options(policy={"kind": "facility", "cost_exponent": exponent}, structure={"components": 4})
    found, _ = select(settings, tmp_path, frames)
    x = structures.astype(np.float16).astype(float)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    variances, axes = np.linalg.eigh(z.T @ z / len(z))
    order = variances.argsort()[::-1][:4]
    points = z @ axes[:, order] / variances[order] ** 0.25
    price = np.array([row["n_atoms"] for row in rows]) ** (3.0 * exponent)
    expected = exhaustive(points, np.ones(len(points)), price, most=40)
    ids = [row["snapshot_id"] for row in rows]
    geometry = [tuple(row["positions_A"]) for row in rows]
    picked = [geometry[ids.index(row["snapshot_id"])] for row in found]
    # twins have the same geometry
    assert picked == [geometry[row] for row in expected]


def test_few_cells_give_the_same_picks_for_any_order_and_partition(frames, tmp_path, monkeypatch):
    """Forty cells for 300 frames: candidates stand for others, also when shards are merged."""
    monkeypatch.setattr(facility, "CELLS", 40)
    settings = options(target=12)
    one, counts = select(settings, tmp_path / "one", frames)
    assert len(one) == 12
    table = read_table(tmp_path / "one/select/candidates/00000.parquet", "candidates")
    assert 20 < table.num_rows <= 40 + 6, "the cells, and the crystals as given"
    assert sum(table["frames"].to_pylist()) == 300
    for seed in range(4):
        rng = np.random.default_rng(seed)
        cuts = sorted(rng.integers(0, 301, size=7).tolist())
        groups = [[i] for i in range(8)] if seed % 2 else [[7, 0, 3], [2], [1, 4, 6, 5]]
        where = tmp_path / f"{seed}"
        other, of_other = select(settings, where, frames, rng.permutation(300), cuts=cuts, groups=groups)
        assert (other, of_other) == (one, counts)


def test_cost_decides_as_much_as_it_is_told_to(frames, tmp_path):
    cost = {}
    for exponent in (0.0, 0.1, 1.0):
        settings = options(policy={"kind": "facility", "cost_exponent": exponent}, target=20)
        rows, _ = select(settings, tmp_path / f"{exponent}", frames)
        cost[exponent] = sum(row["n_atoms"] ** 3 for row in rows)
    assert cost[0.0] > cost[0.1] > cost[1.0]
