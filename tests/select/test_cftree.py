"""The tree of clustering features: scikit-learn's clusters, and features that are those of their points."""

import numpy as np
import pytest

from pesatlas.select.cftree import CFs, build


def cloud(n, groups, seed=0, dimension=16):
    """Points like weighted principal components: groups of them, with less and less spread along each
    axis."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(groups, dimension))
    points = centres[rng.integers(0, groups, n)] + 0.2 * rng.normal(size=(n, dimension))
    return points / (1 + np.arange(dimension))


def features(points):
    return CFs(np.ones(len(points)), points, np.zeros(len(points)))


def as_set(centres, decimals=7):
    return sorted(map(tuple, np.round(centres, decimals) + 0.0))


@pytest.mark.parametrize(("n", "groups", "threshold"), [(40, 3, 0.12), (3000, 60, 0.5), (20_000, 400, 0.25)])
def test_same_clusters_as_scikit_learn(n, groups, threshold):
    from sklearn.cluster import Birch

    points = cloud(n, groups)
    theirs = Birch(threshold=threshold, n_clusters=None, compute_labels=False).fit(points).subcluster_centers_
    ours = build(features(points), threshold)
    assert len(ours.means) > 10
    np.testing.assert_allclose(as_set(ours.means), as_set(theirs), atol=2e-7)


def test_features_are_those_of_points():
    points = cloud(5000, 100)
    leaves = build(features(points), 0.3)
    assert leaves.weights.sum() == len(points)
    mean = leaves.weights @ leaves.means / len(points)
    np.testing.assert_allclose(mean, points.mean(axis=0), atol=1e-12)
    # within leaves plus between leaves: all of the variance
    between = leaves.weights @ ((leaves.means - mean) ** 2).sum(axis=1)
    assert leaves.deviations.sum() + between == pytest.approx(((points - points.mean(axis=0)) ** 2).sum())
    assert np.sqrt(leaves.deviations / leaves.weights).max() <= 0.3


def test_far_from_the_origin_nothing_is_lost():
    # a sum of squares less the square of a sum has no digit left here
    points = cloud(2000, 20)
    near, far = build(features(points), 0.3), build(features(points + 1e8), 0.3)
    assert abs(len(far.means) - len(near.means)) <= 2
    assert np.sqrt(far.deviations / far.weights).max() <= 0.3


def test_features_of_shards_can_be_inserted_again():
    shards = [build(features(cloud(4000, 50, seed)), 0.15) for seed in range(3)]
    merged = build(CFs(*(np.concatenate(parts) for parts in zip(*shards, strict=True))), 0.4)
    assert merged.weights.sum() == 12_000
    assert len(merged.means) < sum(len(shard.means) for shard in shards)
    assert np.sqrt(merged.deviations / merged.weights).max() <= 0.4


def test_equal_points_are_one_feature_and_few_points_stand_alone():
    same = build(features(np.full((500, 4), 0.25)), 1e-9)
    assert (same.weights.tolist(), same.means.tolist(), same.deviations.tolist()) == (
        [500],
        [[0.25] * 4],
        [0],
    )
    assert len(build(features(cloud(7, 7)), 1e-9).means) == 7
    assert len(build(features(np.empty((0, 4))), 1.0).means) == 0


def test_memory_follows_the_clusters():
    # more leaves than the first arrays hold, so that they grow
    points = cloud(60_000, 60_000, dimension=3)
    leaves = build(features(points), 0.004)
    assert len(leaves.means) > 30_000
    assert leaves.weights.sum() == 60_000
