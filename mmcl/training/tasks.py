"""What is predicted downstream, from which labels: disease risk and CMR phenotypes, all labels or few."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mmcl.config import BALANCES, DISEASES
from mmcl.data.store import Store
from mmcl.evaluation.calibration import calibrate
from mmcl.evaluation.predictions import Predictions, load_predictions, save_predictions
from mmcl.phenotypes import TARGETS
from mmcl.provenance import is_finished, write_json

TASKS = {"risk": DISEASES, "phenotypes": TARGETS}
"""Task -> names of its targets, columns of a store's `subjects`. A cohort may have others, see `task_targets`."""


def task_targets(store: Store) -> dict[str, tuple[str, ...]]:
    """`TASKS`, and those that the store's cohort has besides: binary labels, learnt as disease risk is."""
    return {**{name: tuple(targets) for name, targets in store.meta["provenance"].get("tasks", {}).items()}, **TASKS}


@dataclass(frozen=True)
class Fitted:
    """Scores of validation and test subjects, each (rows, targets), and what the fit chose, for the record."""

    validation: np.ndarray
    test: np.ndarray
    choices: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """Where one predictor's predictions lie: `<arm>-<mode>-<labels>-<seed>` in the folder of its task."""

    folder: Path
    arm: str
    mode: str
    labels: str
    seed: int

    @property
    def stem(self) -> str:
        return f"{self.arm}-{self.mode}-{self.labels}-{self.seed}"

    @property
    def record(self) -> Path:
        """JSON with the fingerprint, the numbers of labels, and the choices that were made on validation."""
        return self.folder / f"{self.stem}.json"

    def load(self, split: str = "test") -> Predictions:
        """Predictions on `split`, "validation" or "test"."""
        return load_predictions(self.folder / f"{self.stem}-{split}.npz")

    def once(self, mark: str, task: Task, compute: Callable[[], Fitted], calibration: str = "none") -> Outcome:
        """This outcome, computed now unless it is there with the fingerprint `mark`.

        Probabilities of disease are then recalibrated on validation subjects by `calibration`, one of
        `mmcl.evaluation.calibration.METHODS`.
        """
        if not is_finished(self.record, mark):
            fitted = compute()
            scores, choices = (fitted.validation, fitted.test), fitted.choices
            if task.is_risk and calibration != "none":
                truth = task.labels[task.validation]
                scores, maps = calibrate(calibration, truth, fitted.validation, fitted.test)
                choices = choices | {"calibration": dict(zip(task.targets, maps, strict=True))}
            for split, rows, score in zip(("validation", "test"), (task.validation, task.test), scores, strict=True):
                save_predictions(self.folder / f"{self.stem}-{split}.npz", task.predictions(rows, score))
            counts = {"labels": len(task.train), "seed": self.seed}
            write_json(self.record, {"fingerprint": mark, **counts, **choices})
        return self


@dataclass(frozen=True)
class Task:
    """One task on one store.

    `labels` (n, targets) float64 covers every row of the store, NaN where missing: 0 or 1 for a disease, phenotypes in
    their own units. `train` holds the rows that may be learnt from, all recordings of its subjects, `validation` and
    `test` the first recording of each of theirs. With balanced sets, a training label outside the
    set of its disease is missing. `expected` (targets,) is what is predicted of a subject of whom nothing is known:
    the prevalence of a disease, to which probabilities refer, or the mean of a phenotype.
    """

    name: str
    store: Store
    targets: tuple[str, ...]
    labels: np.ndarray
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    expected: np.ndarray
    balance: str = "weights"

    @property
    def is_risk(self) -> bool:
        return self.name != "phenotypes"

    def predictions(self, rows: np.ndarray, score: np.ndarray) -> Predictions:
        """`score` (rows, targets) of the store's `rows`, with their subjects and truth."""
        subjects = self.store.subjects["subject"].to_numpy(dtype=str)
        return Predictions(subjects[rows], self.targets, self.labels[rows], score)

    def parts(self) -> tuple[Task, ...]:
        """What one model each is trained for: every disease where each has its own balanced set, else all targets."""
        if not (self.is_risk and self.balance == "sets"):
            return (self,)
        return tuple(self._only(k) for k in range(len(self.targets)))

    def _only(self, k: int) -> Task:
        labels = self.labels[:, [k]]
        train = self.train[np.isfinite(labels[self.train, 0])]
        return dataclasses.replace(
            self, targets=self.targets[k : k + 1], labels=labels, train=train, expected=self.expected[[k]]
        )


def open_task(name: str, store: Store, few: float | None = None, seed: int = 0, balance: str = "weights") -> Task:
    """The task `name` ("risk", "phenotypes", or one of the cohort's); with `few`, some random subjects alone train.

    `few` is their number, or their share where it is below 1. The few are the same for every arm of one seed, and with
    `balance` "weights" for both tasks. Validation and test are never reduced and keep their prevalence.

    `balance` "sets" is the published form: the training set of a disease holds all its cases and as many random
    controls, and `few` takes from it, in halves. `expected` is then the prevalence in the whole training split, the
    one number that a balanced set cannot tell; with "weights" it is that of the training labels.
    """
    known = task_targets(store)
    if name not in known:
        raise ValueError(f"unknown task {name!r}; expected one of {', '.join(known)}")
    if balance not in BALANCES:
        raise ValueError(f"unknown balance {balance!r}; expected one of {', '.join(BALANCES)}")
    if few is not None and (few <= 0 or few != int(few) and few > 1):
        raise ValueError(f"few labels {few}; expected a number of subjects, or a share between 0 and 1")
    targets = known[name]
    absent = [target for target in targets if target not in store.subjects]
    if absent:
        raise ValueError(f"{store.folder}: the table of subjects lacks {', '.join(absent)}")
    labels = store.subjects[list(targets)].to_numpy(dtype=np.float64, copy=True)
    train = store.indices("train")
    expected = column_means(labels[train])
    if name != "phenotypes" and balance == "sets":
        for k in range(len(targets)):
            chosen = _balanced(labels[train, k], few, np.random.default_rng([seed, k]))
            labels[np.delete(train, chosen), k] = np.nan
        train = train[np.isfinite(labels[train]).any(axis=1)]
    elif few is not None:
        count = _count(few, len(train))
        if count < len(train):
            train = np.sort(np.random.default_rng([seed, count]).permutation(train)[:count])
            expected = column_means(labels[train])
    held = (store.indices(split, one_each=True) for split in ("validation", "test"))
    return Task(name, store, targets, labels, train, *held, expected, balance)


def column_means(labels: np.ndarray) -> np.ndarray:
    """Mean of the known labels of each column of (n, k), 0 where there are none."""
    known = [column[np.isfinite(column)] for column in labels.T]
    return np.array([column.mean() if column.size else 0.0 for column in known])


def _count(few: float, total: int) -> int:
    """How many of `total` are meant by a number or a share; at least one."""
    return max(1, round(few * total)) if few < 1 else min(int(few), total)


def _balanced(labels: np.ndarray, few: float | None, random: np.random.Generator) -> np.ndarray:
    """Places in `labels` (n,) of all cases and as many controls, or of `few` of these; few are among more."""
    cases, controls = (random.permutation(np.flatnonzero(labels == value)) for value in (1, 0))
    controls = controls[: len(cases)]
    if few is not None:
        cases, controls = (
            part[: _count(few if few < 1 else max(1, int(few) // 2), len(part))] for part in (cases, controls)
        )
    return np.concatenate([cases, controls])
