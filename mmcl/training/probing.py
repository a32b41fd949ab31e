"""Predictors fitted on fixed features: linear probes of frozen encoders, and the references without one.

References: `demographics` (age, sex, height, weight, body surface area) and `ecg features` (classical measurements
of the ECG), each linear and,
for the latter, by gradient boosting too. All see the same subjects as the encoders and choose their penalty on
validation.
"""

from __future__ import annotations

import numpy as np

from mmcl.config import fingerprint
from mmcl.data.store import Store
from mmcl.evaluation.probe import LinearProbe, fit_logistic, fit_ridge
from mmcl.evaluation.references import boosted_scores, demographic_features, fill_missing
from mmcl.paths import Run
from mmcl.provenance import code_fingerprint
from mmcl.setting import Setting
from mmcl.training.features import stored_features
from mmcl.training.tasks import Outcome, Task, open_task

REFERENCES = {"demographics": ("linear",), "ecg features": ("linear", "boosted")}
"""Reference -> modes it is fitted in."""


def probe(arm: str, task: str, few: int | None, setting: Setting) -> Outcome:
    """Predictions of a linear probe on the frozen features of an arm (`random`: random weights; `cmr`: CMR
    encoder).
    """
    return _fit(arm, "probe", stored_features(arm, setting), task, few, setting.run)


def reference(name: str, mode: str, task: str, few: int | None, run: Run) -> Outcome:
    """Predictions of a reference: `name` and `mode` as in REFERENCES."""
    if mode not in REFERENCES.get(name, ()):
        raise ValueError(f"no reference {name!r} in mode {mode!r}; expected one of {REFERENCES}")
    subjects = Store.open(run.store).subjects
    if name == "demographics":
        features = demographic_features(subjects).to_numpy(dtype=np.float64)
    else:
        columns = [column for column in subjects if column.startswith("ecg_")]
        features = subjects[columns].to_numpy(dtype=np.float64)
    return _fit(name, mode, features, task, few, run)


def fitted_probe(arm: str, task: str, run: Run) -> LinearProbe:
    """The probe on all labels that `probe` left, to be used on other recordings."""
    return LinearProbe.load(_probe_path(Outcome(run.predictions / task, arm, "probe", "all", run.seed), run, task))


def _fit(arm: str, mode: str, features: np.ndarray, task: str, few: int | None, run: Run) -> Outcome:
    labelled = open_task(task, Store.open(run.store), few, run.seed)
    outcome = Outcome(run.predictions / task, arm, mode, str(few or "all"), run.seed)
    code = code_fingerprint("mmcl.training.probing")
    mark = fingerprint(
        arm,
        mode,
        task,
        few,
        run.seed,
        code,
        float(np.nansum(features)),
        features.shape,
        labelled.store.meta["checksums"],
    )
    compute = _boosted if mode == "boosted" else _linear
    return outcome.once(mark, labelled, lambda: compute(features, labelled, outcome, run))


def _linear(features: np.ndarray, task: Task, outcome: Outcome, run: Run) -> tuple[np.ndarray, np.ndarray]:
    train, validation, test = fill_missing(*(features[rows] for rows in (task.train, task.validation, task.test)))
    fit = fit_logistic if task.is_risk else fit_ridge
    fitted = fit(train, task.labels[task.train], validation, task.labels[task.validation], task.targets)
    fitted.save(_probe_path(outcome, run, task.name))
    return fitted.predict(validation), fitted.predict(test)


def _boosted(features: np.ndarray, task: Task, outcome: Outcome, run: Run) -> tuple[np.ndarray, np.ndarray]:
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
    # A target that could not be fitted is predicted by what is known without a model: nothing.
    score = np.nan_to_num(score, nan=0.0)
    return score[: len(task.validation)], score[len(task.validation) :]


def _probe_path(outcome: Outcome, run: Run, task: str):
    return run.folder / "probes" / task / f"{outcome.stem}.npz"
