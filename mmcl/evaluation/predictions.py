"""Predictions of one predictor on one split: the file that training writes and every table and figure reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmcl.atomic import atomic_path


@dataclass(frozen=True)
class Predictions:
    """What was true and what was predicted.

    subject: (n,) str, without repeats. names: k targets. truth: (n, k) float64, NaN where the label is missing;
    diseases are 0 or 1, phenotypes in their own units. score: (n, k) float64, finite, same units (a probability for a
    disease).
    """

    subject: np.ndarray
    names: tuple[str, ...]
    truth: np.ndarray
    score: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "subject", np.asarray(self.subject, dtype=str))
        object.__setattr__(self, "names", tuple(str(name) for name in self.names))
        object.__setattr__(self, "truth", np.asarray(self.truth, dtype=np.float64))
        object.__setattr__(self, "score", np.asarray(self.score, dtype=np.float64))
        shape = (self.subject.size, len(self.names))
        for field in ("truth", "score"):
            found = getattr(self, field).shape
            if found != shape:
                raise ValueError(f"{field} has shape {found}; expected (subjects, names) = {shape}")
        subjects, counts = np.unique(self.subject, return_counts=True)
        if subjects.size < self.subject.size:
            raise ValueError(f"subject '{subjects[counts > 1][0]}' has more than one prediction; expected one each")
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"names repeat: {', '.join(self.names)}")
        if not np.isfinite(self.score).all():
            row, column = np.argwhere(~np.isfinite(self.score))[0]
            raise ValueError(
                f"score of {self.names[column]} for subject '{self.subject[row]}' is {self.score[row, column]}; "
                "expected a finite number"
            )

    def select(self, names: Sequence[str]) -> Predictions:
        """The same subjects, only the targets `names`, in that order."""
        columns = [self._column(name) for name in names]
        return Predictions(self.subject, tuple(names), self.truth[:, columns], self.score[:, columns])

    def matched(self, subject: np.ndarray) -> Predictions:
        """Rows in the order of `subject`; ValueError names one that has no prediction."""
        place = {name: row for row, name in enumerate(self.subject)}
        for name in np.asarray(subject, dtype=str):
            if name not in place:
                raise ValueError(f"subject '{name}' has no prediction among {self.subject.size}")
        rows = [place[name] for name in np.asarray(subject, dtype=str)]
        return Predictions(self.subject[rows], self.names, self.truth[rows], self.score[rows])

    def _column(self, name: str) -> int:
        if name not in self.names:
            raise ValueError(f"no predictions of {name!r}; expected one of {', '.join(self.names)}")
        return self.names.index(name)


def save_predictions(path: str | Path, predictions: Predictions) -> None:
    """Write an .npz with `subject`, `names`, `truth`, `score`; whole or not at all."""
    with atomic_path(path) as part, part.open("wb") as file:
        np.savez_compressed(
            file,
            subject=predictions.subject,
            names=np.asarray(predictions.names, dtype=str),
            truth=predictions.truth,
            score=predictions.score,
        )


def load_predictions(path: str | Path) -> Predictions:
    """Read what `save_predictions` wrote, without unpickling; ValueError names the file and what is wrong in it."""
    with np.load(path, allow_pickle=False) as file:
        lacking = {"subject", "names", "truth", "score"} - set(file.files)
        if lacking:
            raise ValueError(f"{path}: no {', '.join(sorted(lacking))}; expected subject, names, truth and score")
        try:
            return Predictions(file["subject"], tuple(file["names"].tolist()), file["truth"], file["score"])
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
