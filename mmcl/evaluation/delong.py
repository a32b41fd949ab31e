"""DeLong's test of two areas under the ROC curve on the same subjects.

Sources: DeLong et al. (1988), Biometrics 44:837, for the variance; Sun and Xu (2014), IEEE Signal Processing Letters
21:1389, for its computation from midranks, in O(n log n) in place of O(cases x controls).
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from mmcl.evaluation.metrics import paired_arrays
from mmcl.evaluation.significance import wald

LEAST = 10
"""Cases, and controls, below which the normal distribution is no guide."""


def placements(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Structural components of the AUROC of `scores` (n, k) for 0/1 `labels` (n,), of cases (m, k) and controls.

    That of a case is the share of controls that it scores above, that of a control the share of cases that score above
    it, ties counting one half. The mean of either is the AUROC.
    """
    case = labels == 1
    cases, controls = scores[case], scores[~case]
    overall = rankdata(scores, axis=0)
    of_cases = (overall[case] - rankdata(cases, axis=0)) / len(controls)
    of_controls = 1 - (overall[~case] - rankdata(controls, axis=0)) / len(cases)
    return of_cases, of_controls


def delong_test(truth: np.ndarray, score: np.ndarray, reference: np.ndarray) -> tuple[float, float, float]:
    """Difference of AUROC, its standard error and two-sided p, of `score` less `reference`, each (n, seeds).

    truth: (n,) 0, 1 or NaN for missing. With several training seeds the difference is that of the means over seeds, and
    its variance that of DeLong's over subjects, the seeds being given, plus the variance between seeds over their
    number; with one seed it is DeLong's. All NaN where there are fewer than LEAST cases or controls.
    """
    if score.shape != reference.shape or score.ndim != 2:
        raise ValueError(f"scores have shapes {score.shape} and {reference.shape}; expected one shape, (n, seeds)")
    labels = np.repeat(np.asarray(truth, dtype=np.float64)[:, None], score.shape[1], axis=1)
    for each in (score, reference):
        paired_arrays(labels, each)
    labels, given = labels[:, 0], np.isfinite(labels[:, 0])
    if min((labels == 1).sum(), (labels == 0).sum()) < LEAST:
        return np.nan, np.nan, np.nan
    pairs = zip(placements(labels[given], score[given]), placements(labels[given], reference[given]), strict=True)
    cases, controls = (mine - other for mine, other in pairs)
    each_seed = cases.mean(axis=0)
    variance = sum(part.mean(axis=1).var(ddof=1) / len(part) for part in (cases, controls))
    if each_seed.size > 1:
        variance += each_seed.var(ddof=1) / each_seed.size
    value, error = float(each_seed.mean()), float(np.sqrt(variance))
    return value, error, float(wald(value, error))
