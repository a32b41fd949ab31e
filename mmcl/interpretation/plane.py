"""Two dimensions of a latent space to look at: principal components, and UMAP."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mmcl.evaluation.intervals import bootstrap

NEIGHBOURS = 15
"""Of each subject in UMAP, its default; fewer where there are fewer subjects."""


@dataclass(frozen=True)
class Plane:
    """`points` (n, 2) in a plane, and what its two `axes` are called."""

    points: np.ndarray
    axes: tuple[str, str]


@dataclass(frozen=True)
class PrincipalPlane(Plane):
    """The first two principal components: `share` of variance of each, `mean` (d,) and `loadings` (2, d)."""

    share: np.ndarray
    mean: np.ndarray
    loadings: np.ndarray

    def project(self, embedding: np.ndarray) -> np.ndarray:
        """Where other embeddings (..., d) lie in the plane: (..., 2)."""
        return (np.asarray(embedding, dtype=np.float64) - self.mean) @ self.loadings.T


def principal_plane(embedding: np.ndarray) -> PrincipalPlane:
    """Plane of the two principal components of `embedding` (n, d); a component's largest loading is positive."""
    embedding = np.asarray(embedding, dtype=np.float64)
    mean = embedding.mean(axis=0)
    _, size, loadings = np.linalg.svd(embedding - mean, full_matrices=False)
    share = (size**2 / (size**2).sum())[:2]
    sign = np.sign(loadings[[0, 1], np.abs(loadings[:2]).argmax(axis=1)])
    loadings = loadings[:2] * sign[:, None]
    names = tuple(f"PC{k + 1} ({part:.0%})" for k, part in enumerate(share))
    return PrincipalPlane((embedding - mean) @ loadings.T, names, share, mean, loadings)


def umap_plane(embedding: np.ndarray, seed: int = 0) -> Plane:
    """UMAP (McInnes et al. 2018, arXiv 1802.03426) of standardised `embedding` (n, d), the same for the same `seed`.

    Near points were near in the embedding; distances between groups, and the axes, mean nothing.
    """
    from umap import UMAP

    embedding = np.asarray(embedding, dtype=np.float64)
    std = embedding.std(axis=0)
    standardised = (embedding - embedding.mean(axis=0)) / np.where(std > 1e-12, std, 1.0)
    near = min(NEIGHBOURS, len(embedding) - 1)
    points = UMAP(n_neighbors=near, random_state=seed, n_jobs=1).fit_transform(standardised)
    return Plane(np.asarray(points, dtype=np.float64), ("UMAP 1", "UMAP 2"))


def correlations(
    plane: Plane, quantities: pd.DataFrame, resamples: int, generator: np.random.Generator
) -> pd.DataFrame:
    """What each axis of the plane goes with: Pearson's r with each column of `quantities` (n rows, NaN where missing).

    Columns value, low, high (95 % bootstrap over subjects), n, of the index (axis 1 or 2, quantity); of each axis the
    strongest first, what cannot be scored last.
    """
    truth = quantities.to_numpy(dtype=np.float64)
    tables = []
    for axis, points in enumerate(plane.points.T, 1):
        scored = bootstrap("r", truth, np.tile(points[:, None], truth.shape[1]), resamples, generator).interval()
        told = {"value": scored.value, "low": scored.low, "high": scored.high, "n": scored.n}
        table = pd.DataFrame({"axis": axis, "quantity": list(quantities), **told})
        tables.append(table.sort_values("value", key=np.abs, ascending=False, kind="stable"))
    return pd.concat(tables).set_index(["axis", "quantity"])
