"""What could not be used, and why: one row per recording that was left out, never a silent drop."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path


@dataclass(frozen=True)
class Rejection:
    """One recording left out: `file`, `subject`, the `reason`, the `value` found and the `expectation` it missed."""

    file: str
    subject: str
    reason: str
    value: str
    expectation: str

    def __str__(self) -> str:
        return f"{self.file}: subject {self.subject}: {self.reason}: {self.value}, expected {self.expectation}"


class Unusable(ValueError):
    """Raised by readers and preprocessing for data that cannot be used; carries the `Rejection`."""

    def __init__(self, rejection: Rejection):
        # The rejection is the exception's only argument, so that the exception crosses a process border by pickling.
        super().__init__(rejection)
        self.rejection = rejection


def reject(file: object, subject: str, reason: str, value: object, expectation: str) -> Unusable:
    """The exception to raise, e.g. `raise reject(path, subject, "too few slices", 5, "more than 7")`."""
    return Unusable(Rejection(str(file), subject, reason, str(value), expectation))


@dataclass
class Quarantine:
    """Rejections in the order in which they came."""

    rejections: list[Rejection] = field(default_factory=list)

    def add(self, rejection: Rejection) -> None:
        self.rejections.append(rejection)

    def __len__(self) -> int:
        return len(self.rejections)

    def counts(self) -> dict[str, int]:
        """Number of rejections per reason, in alphabetical order."""
        return dict(sorted(Counter(rejection.reason for rejection in self.rejections).items()))

    def summary(self, total: int) -> str:
        """One line for the reader: how many of `total` recordings are used, and what became of the others."""
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.counts().items())
        return f"{total - len(self)} of {total} used" + (f"; left out: {reasons}" if reasons else "")


def header_line() -> str:
    """First line of a `quarantine.csv`."""
    return _csv(column.name for column in fields(Rejection))


def line(rejection: Rejection) -> str:
    """Its line in a `quarantine.csv`."""
    return _csv(getattr(rejection, column.name) for column in fields(Rejection))


def read_quarantine(path: Path) -> list[Rejection]:
    """The rejections in a `quarantine.csv`."""
    with open(path, encoding="utf-8", newline="") as file:
        return [Rejection(**row) for row in csv.DictReader(file)]


def _csv(values: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()
