"""What could not be used, and why: one row per recording that was left out, never a silent drop."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path

from mmcl.atomic import atomic_path


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

    def write(self, path: Path) -> None:
        """Write CSV with a header; the file appears whole or not at all."""
        with atomic_path(path) as part, open(part, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            names = [column.name for column in fields(Rejection)]
            writer.writerow(names)
            writer.writerows([getattr(rejection, name) for name in names] for rejection in self.rejections)
