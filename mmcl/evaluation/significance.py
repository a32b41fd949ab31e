"""p values of paired differences, and their correction for the number of comparisons.

Source: Holm (1979), Scandinavian Journal of Statistics 6:65.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
from scipy.stats import norm

LEVEL = 0.05
"""A difference counts as told where its corrected p is below this."""


def wald(value: np.ndarray | float, error: np.ndarray | float) -> np.ndarray:
    """Two-sided p of `value` with standard error `error` under the normal distribution.

    No difference without error is 1; a difference without error cannot be judged and gives NaN.
    """
    value, error = np.asarray(value, dtype=np.float64), np.asarray(error, dtype=np.float64)
    certain = error < 1e-12
    p = 2 * norm.sf(np.abs(value) / np.where(certain, 1.0, error))
    return np.where(certain, np.where(np.abs(value) < 1e-12, 1.0, np.nan), p)


def holm(p: np.ndarray) -> np.ndarray:
    """p (n,) corrected by Holm's step-down method; NaN stays and does not count among the comparisons."""
    p = np.asarray(p, dtype=np.float64)
    corrected = np.full(p.shape, np.nan)
    given = np.flatnonzero(np.isfinite(p))
    order = given[np.argsort(p[given], kind="stable")]
    steps = p[order] * np.arange(order.size, 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected


def holm_corrected(results: pd.DataFrame, asked: Collection[str] | None = None) -> pd.DataFrame:
    """Result rows with `p_holm` computed anew from `p`.

    A family holds all paired differences (rows with a `reference`, of everybody) of one task, metric and number of
    labels: every target, mode and reference. Means over groups of phenotypes and single phenotypes are families of
    their own, and so are nearest neighbours, ablations (arms with a dot) and, where `asked` names the references of
    the questions that were asked beforehand, all other references: who adds an arm changes no answer to these.
    """
    compared = results["reference"].ne("") & results["subgroup"].eq("")
    means, near = results["target"].str.endswith(" mean"), results["mode"].eq("knn")
    ablation = results["reference"].str.contains(".", regex=False)
    other = ~results["reference"].isin(asked) if asked is not None else ablation
    kinds = [kind[compared].rename(str(k)) for k, kind in enumerate((means, near, ablation, other))]
    families = results[compared].groupby(["task", "metric", "labels", *kinds], sort=False)["p"]
    corrected = families.transform(lambda p: pd.Series(holm(p.to_numpy()), index=p.index))
    return results.assign(p_holm=corrected.reindex(results.index))
