"""Predictors fitted on fixed features: probes of frozen encoders, and the references without one.

Probes are linear or by nearest neighbours. References, whose features `mmcl.training.reference_features` tells, are
linear, linear on the leading components, or by gradient boosting. All see the same subjects as the encoders and choose
their penalty, number of neighbours or of components on validation. A target without usable labels is predicted by what
is expected without a model.
"""

from __future__ import annotations

import functools

import numpy as np

from mmcl.config import fingerprint
from mmcl.data.store import Store
from mmcl.evaluation.calibration import at_prevalence
from mmcl.evaluation.neighbours import neighbour_scores
from mmcl.evaluation.probe import LinearProbe, fit_logistic, fit_ridge
from mmcl.evaluation.references import boosted_scores, choose_leading, fill_missing
from mmcl.paths import Run
from mmcl.provenance import code_fingerprint
from mmcl.setting import Setting
from mmcl.training.features import stored_features
from mmcl.training.reference_features import reference_features
from mmcl.training.tasks import Fitted, Outcome, Task, column_means, open_task

REFERENCES = {
    "demographics": ("linear",),
    "ecg features": ("linear", "boosted"),
    "median beat": ("components",),
    "true geometry": ("linear", "boosted"),
}
"""Reference -> modes it is fitted in. `true geometry` is the ceiling: the simulated heart itself."""

LEADING = (4, 8, 16, 32)
"""Numbers of leading components that are tried, beside all."""

PROBES = ("probe", "knn")
"""Modes of probing frozen features: linear, and k nearest neighbours."""


def probe(arm: str, task: str, few: float | None, setting: Setting, mode: str = "probe") -> Outcome:
    """Predictions of a probe, `mode` as in PROBES, on the frozen features of an arm (`random`: random weights; `cmr`:
    CMR encoder).
    """
    if mode not in PROBES:
        raise ValueError(f"unknown probe {mode!r}; expected one of {', '.join(PROBES)}")
    return _fit(arm, mode, stored_features(arm, setting), task, few, setting)


def reference(name: str, mode: str, task: str, few: float | None, setting: Setting) -> Outcome:
    """Predictions of a reference: `name` and `mode` as in REFERENCES; ValueError where the cohort cannot have it."""
    if mode not in REFERENCES.get(name, ()):
        raise ValueError(f"no reference {name!r} in mode {mode!r}; expected one of {REFERENCES}")
    return _fit(name, mode, reference_features(name, setting), task, few, setting)


def fitted_probe(arm: str, task: str, run: Run) -> LinearProbe:
    """The probe on all labels that `probe` left, to be used on other recordings."""
    return LinearProbe.load(_probe_path(Outcome(run.predictions / task, arm, "probe", "all", run.seed), run, task))


def _fit(arm: str, mode: str, features: np.ndarray, task: str, few: float | None, setting: Setting) -> Outcome:
    run, downstream = setting.run, setting.profile.downstream
    labelled = open_task(task, Store.open(run.store), few, run.seed, downstream.balance)
    outcome = Outcome(run.predictions / task, arm, mode, str(few or "all"), run.seed)
    mark = fingerprint(
        arm,
        mode,
        task,
        few,
        run.seed,
        downstream.balance,
        downstream.calibration,
        code_fingerprint("mmcl.training.probing"),
        float(np.nansum(features)),
        features.shape,
        labelled.store.meta["checksums"],
    )
    leading = functools.partial(_linear, leading=LEADING)
    compute = {"boosted": _boosted, "components": leading, "knn": _neighbours}.get(mode, _linear)
    return outcome.once(mark, labelled, lambda: compute(features, labelled, outcome, run), downstream.calibration)


def _linear(features: np.ndarray, task: Task, outcome: Outcome, run: Run, leading: tuple[int, ...] = ()) -> Fitted:
    """On all columns or, of so many `leading` ones, on as many as validate best for each target."""
    train, validation, test = fill_missing(*(features[rows] for rows in (task.train, task.validation, task.test)))
    held, fit = task.labels[task.validation], fit_ridge
    if task.is_risk:
        fit = functools.partial(fit_logistic, prevalence=task.expected)
    counts = [*(count for count in leading if count < train.shape[1]), train.shape[1]]
    probes = [fit(train[:, :k], task.labels[task.train], validation[:, :k], held, task.targets) for k in counts]
    fitted, used = choose_leading(probes, validation, held)
    fitted.save(_probe_path(outcome, run, task.name))
    choices = {"penalty": dict(zip(task.targets, fitted.penalty, strict=True))}
    if leading:
        choices["components"] = dict(zip(task.targets, used, strict=True))
    return Fitted(*(_complete(fitted.predict(x), task) for x in (validation, test)), choices)


def _neighbours(features: np.ndarray, task: Task, outcome: Outcome, run: Run) -> Fitted:
    train, validation, test = (features[rows] for rows in (task.train, task.validation, task.test))
    kind, known = "disease" if task.is_risk else "phenotype", task.labels[task.train]
    *scores, neighbours = neighbour_scores(kind, train, known, validation, task.labels[task.validation], test)
    choices = {"neighbours": dict(zip(task.targets, neighbours, strict=True))}
    return Fitted(*(_complete(_at_prevalence(score, task), task) for score in scores), choices)


def _boosted(features: np.ndarray, task: Task, outcome: Outcome, run: Run) -> Fitted:
    held = np.concatenate([task.validation, task.test])
    score = boosted_scores(
        "disease" if task.is_risk else "phenotype",
        features[task.train],
        task.labels[task.train],
        features[task.validation],
        task.labels[task.validation],
        features[held],
        seed=outcome.seed,
    )
    score = _complete(_at_prevalence(score, task), task)
    return Fitted(score[: len(task.validation)], score[len(task.validation) :])


def _at_prevalence(score: np.ndarray, task: Task) -> np.ndarray:
    """Scores learnt from balanced sets refer to these; others stay as they are."""
    if not task.is_risk or task.balance != "sets":
        return score
    return at_prevalence(score, column_means(task.labels[task.train]), task.expected)


def _complete(score: np.ndarray, task: Task) -> np.ndarray:
    """`score` (n, targets) with what is expected of anybody in place of NaN."""
    return np.where(np.isfinite(score), score, task.expected)


def _probe_path(outcome: Outcome, run: Run, task: str):
    return run.folder / "probes" / task / f"{outcome.stem}.npz"
