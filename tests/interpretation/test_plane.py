"""Planes of a latent space: principal components against scikit-learn, UMAP by what it must keep."""

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA

from mmcl.interpretation.plane import Plane, correlations, principal_plane, umap_plane


def test_principal_components_equal_those_of_scikit_learn():
    generator = np.random.default_rng(0)
    embedding, other = generator.normal(size=(100, 6)) * [5, 3, 1, 1, 1, 1], generator.normal(size=(2, 4, 6))
    plane, reference = principal_plane(embedding), PCA(2).fit(embedding)
    sign = np.sign((plane.loadings * reference.components_).sum(axis=1))
    np.testing.assert_allclose(plane.points, reference.transform(embedding) * sign, atol=1e-9)
    np.testing.assert_allclose(plane.project(other), reference.transform(other.reshape(-1, 6)).reshape(2, 4, 2) * sign)
    np.testing.assert_allclose(plane.share, reference.explained_variance_ratio_)
    assert plane.axes[0] == f"PC1 ({plane.share[0]:.0%})"
    assert (plane.loadings[[0, 1], np.abs(plane.loadings).argmax(axis=1)] > 0).all()


def test_the_strongest_correlation_of_an_axis_comes_first():
    generator = np.random.default_rng(0)
    points = generator.normal(size=(60, 2))
    rate = -2 * points[:, 0]
    rate[:7] = np.nan
    quantities = pd.DataFrame({"noise": generator.normal(size=60), "constant": 1.0, "heart rate": rate})
    table = correlations(Plane(points, ("PC1", "PC2")), quantities, 200, generator)
    first, second = (table["value"].xs(axis) for axis in (1, 2))
    assert list(first.index) == ["heart rate", "noise", "constant"] and first["heart rate"] == pytest.approx(-1)
    assert second["noise"] == pytest.approx(np.corrcoef(points[:, 1], quantities["noise"])[0, 1])
    assert np.isnan(first["constant"]) and table.loc[(1, "heart rate"), "n"] == 53


@pytest.mark.slow
def test_umap_keeps_groups_apart_and_repeats_itself():
    generator = np.random.default_rng(0)
    embedding = generator.normal(size=(40, 8))
    embedding[:20] += 30
    plane = umap_plane(embedding, seed=1)
    np.testing.assert_array_equal(plane.points, umap_plane(embedding, seed=1).points)
    first, second = plane.points[:20], plane.points[20:]
    spread = max(np.ptp(first, axis=0).max(), np.ptp(second, axis=0).max())
    assert np.linalg.norm(first.mean(axis=0) - second.mean(axis=0)) > spread
    assert umap_plane(embedding[:6]).points.shape == (6, 2), "fewer subjects than neighbours"
