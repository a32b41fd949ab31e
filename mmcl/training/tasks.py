"""What is predicted downstream, from which labels: disease risk and CMR phenotypes, all labels or few."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmcl.config import DISEASES
from mmcl.data.store import Store
from mmcl.evaluation.predictions import Predictions, load_predictions, save_predictions
from mmcl.phenotypes import TARGETS
from mmcl.provenance import is_finished, write_json

TASKS = {"risk": DISEASES, "phenotypes": TARGETS}
"""Task -> names of its targets, columns of a store's `subjects`."""


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

    def load(self, split: str = "test") -> Predictions:
        """Predictions on `split`, "validation" or "test"."""
        return load_predictions(self.folder / f"{self.stem}-{split}.npz")

    def once(self, mark: str, task: Task, compute: Callable[[], tuple[np.ndarray, np.ndarray]]) -> Outcome:
        """This outcome, computed now unless it is there with the fingerprint `mark`.

        `compute` gives the scores of validation and test subjects, each (rows, targets).
        """
        marker = self.folder / f"{self.stem}.json"
        if not is_finished(marker, mark):
            validation, test = compute()
            for split, rows, score in (("validation", task.validation, validation), ("test", task.test, test)):
                save_predictions(self.folder / f"{self.stem}-{split}.npz", task.predictions(rows, score))
            write_json(marker, {"fingerprint": mark, "labels": len(task.train), "seed": self.seed})
        return self


@dataclass(frozen=True)
class Task:
    """One task on one store.

    `labels` (n, targets) float64 covers every row of the store, NaN where missing: 0 or 1 for a disease, phenotypes in
    their own units. `train` holds the rows that may be learnt from.
    """

    name: str
    store: Store
    labels: np.ndarray
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @property
    def targets(self) -> tuple[str, ...]:
        return TASKS[self.name]

    @property
    def is_risk(self) -> bool:
        return self.name == "risk"

    def predictions(self, rows: np.ndarray, score: np.ndarray) -> Predictions:
        """`score` (rows, targets) of the store's `rows`, with their subjects and truth."""
        subjects = self.store.subjects["subject"].to_numpy(dtype=str)
        return Predictions(subjects[rows], self.targets, self.labels[rows], score)


def open_task(name: str, store: Store, few: int | None = None, seed: int = 0) -> Task:
    """The task `name` ("risk", "phenotypes"); with `few`, training is restricted to that many random subjects.

    The few are the same for every arm and task of one seed. Validation and test are never reduced.
    """
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}; expected one of {', '.join(TASKS)}")
    absent = [target for target in TASKS[name] if target not in store.subjects]
    if absent:
        raise ValueError(f"{store.folder}: the table of subjects lacks {', '.join(absent)}")
    labels = store.subjects[list(TASKS[name])].to_numpy(dtype=np.float64)
    train = store.indices("train")
    if few is not None and few < len(train):
        train = np.sort(np.random.default_rng([seed, few]).permutation(train)[:few])
    return Task(name, store, labels, train, store.indices("validation"), store.indices("test"))
