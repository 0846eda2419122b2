import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from pesatlas.config.select import Select
from pesatlas.errors import UserError
from pesatlas.select.pca import Pca, fit_pca
from pesatlas.tables.components import Components
from pesatlas.tables.moments import Moments


def moments_of(*parts):
    total = Moments.empty(parts[0].shape[1])
    for part in parts:
        one = Moments.empty(part.shape[1])
        one.add(part)
        total.merge(one)
    return total


def correlated(n=3000, d=20, seed=0):
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(6, d))
    return (rng.normal(size=(n, 6)) @ mixing + 0.3 * rng.normal(size=(n, d)) + rng.normal(size=d)).astype(
        np.float16
    )


def test_equals_scikit_learn_on_everything():
    x = correlated()
    found = Components.fit(moments_of(x[:10], x[10:1500], x[1500:]), "kaiser")
    scaled = StandardScaler().fit_transform(x.astype(float))
    theirs = PCA().fit(scaled)
    n = len(x)
    np.testing.assert_allclose(
        found.eigenvalues, theirs.explained_variance_ * (n - 1) / n, rtol=1e-10, atol=1e-12
    )
    keep = len(found.axes)
    assert keep == (theirs.explained_variance_ > 1).sum() >= 3
    np.testing.assert_allclose(found.weights, theirs.explained_variance_ratio_[:keep], rtol=1e-10)
    signs = np.sign((found.axes * theirs.components_[:keep]).sum(axis=1))
    np.testing.assert_allclose(found.axes, theirs.components_[:keep] * signs[:, None], atol=1e-10)
    expected = theirs.transform(scaled)[:, :keep] * signs * theirs.explained_variance_ratio_[:keep]
    np.testing.assert_allclose(found.project(x), expected, atol=1e-6)  # float32


def test_the_sign_is_fixed():
    axes = Components.fit(moments_of(correlated()), 5).axes
    largest = np.abs(axes).argmax(axis=1)
    assert (axes[np.arange(5), largest] > 0).all()


def test_a_row_gives_the_same_bits_whatever_is_beside_it():
    x = correlated(n=2500)
    fitted = Components.fit(moments_of(x), "kaiser")
    together = fitted.project(x)
    np.testing.assert_array_equal(
        np.concatenate([fitted.project(x[:1]), fitted.project(x[1:700]), fitted.project(x[700:])]), together
    )
    np.testing.assert_array_equal(fitted.project(x[::-1])[::-1], together)


def test_constant_columns_say_nothing():
    x = correlated()
    padded = np.concatenate(
        [x, np.full((len(x), 2), 3.14, np.float16), np.zeros((len(x), 1), np.float16)], axis=1
    )
    with_them, without = Components.fit(moments_of(padded), 4), Components.fit(moments_of(x), 4)
    np.testing.assert_allclose(with_them.axes[:, :20], without.axes, atol=1e-10)
    np.testing.assert_allclose(with_them.axes[:, 20:], 0, atol=1e-12)
    np.testing.assert_allclose(with_them.weights, without.weights, rtol=1e-12)


@pytest.mark.parametrize("rows", [1, 50])
def test_one_row_and_identical_rows_are_the_origin(rows):
    x = np.repeat(correlated(n=1), rows, axis=0)
    fitted = Components.fit(moments_of(x), "kaiser")
    assert fitted.axes.shape == (1, 20)
    np.testing.assert_array_equal(fitted.project(x), np.zeros((rows, 1)))


def test_nothing_and_too_many_components_are_told():
    with pytest.raises(UserError, match="no frame with finite features"):
        Components.fit(Moments.empty(4), "kaiser")
    with pytest.raises(UserError, match="30 principal components"):
        Components.fit(moments_of(correlated()), 30)


def test_shards_of_different_encoders_are_refused(write_features, random_features, tmp_path):
    ids, structures, atoms = random_features(20)
    _, one = write_features(tmp_path / "a", ids, structures, atoms)
    _, other = write_features(tmp_path / "b", ids, structures, atoms, encoder_hash="b" * 64)
    with pytest.raises(UserError, match="encode all again"):
        fit_pca(Select(), one + other, tmp_path / "pca.npz")
    assert not (tmp_path / "pca.npz").exists()


def test_fit_pca_uses_all_shards_and_may_meet_empty_ones(write_features, random_features, tmp_path):
    ids, structures, atoms = random_features(90)
    _, moments = write_features(tmp_path / "f", ids, structures, atoms, cuts=(10, 10, 60))
    settings = Select(structure={"components": 3}, atoms={"components": 2})
    fit_pca(settings, moments, tmp_path / "pca.npz")
    pca = Pca.read(tmp_path / "pca.npz")
    whole = Components.fit(moments_of(np.concatenate(atoms).astype(np.float16)), 2)
    np.testing.assert_allclose(pca.atoms.axes, whole.axes, atol=1e-10)
    assert pca.structures.axes.shape == (3, 12)
    assert (pca.encoder, pca.weights_hash) == ("test/1", "a" * 64)
