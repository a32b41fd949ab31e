"""Two ways of doing one thing, timed in turn, and what the comparison says."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

QUARTILES = (0.25, 0.5, 0.75)


def seconds(function: Callable[[], object], device: torch.device) -> float:
    """Wall time of one call, until `device` has done its work."""
    wait(device)
    start = time.perf_counter()
    function()
    wait(device)
    return time.perf_counter() - start


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass
class Comparison:
    """Seconds an item of the project's way and of the reference path, pair by pair.

    `limit`: seconds an item that the hardware allows, see `tests.benchmarks.roofline`.
    """

    operation: str
    size: str
    unit: str
    limit: float
    fast: list[float] = field(default_factory=list)
    reference: list[float] = field(default_factory=list)

    def ratio(self) -> dict[str, float]:
        """Quartiles of the paired ratios: how many times faster than the reference path."""
        low, median, high = np.quantile(np.divide(self.reference, self.fast), QUARTILES)
        return {"median": median, "low": low, "high": high, "n": len(self.fast)}

    def row(self) -> dict[str, object]:
        """One line of the table; rates are items a second at the median time."""
        fast, reference = np.median(self.fast), np.median(self.reference)
        return {
            "operation": self.operation,
            "size": self.size,
            "unit": self.unit,
            "fast": 1 / fast,
            "reference": 1 / reference,
            "ratio": self.ratio(),
            "limit": 1 / self.limit,
            "share_of_limit": self.limit / fast,
        }


def in_turn(
    comparison: Comparison,
    fast: tuple[Callable[[], object], int],
    reference: tuple[Callable[[], object], int],
    device: torch.device,
    rounds: int,
) -> Comparison:
    """Time both, each (function, items of a call), `rounds` times: A B, B A, A B, ... A first call is not counted."""
    sides = [(*fast, comparison.fast), (*reference, comparison.reference)]
    for function, _, _ in sides:
        function()
    for number in range(rounds):
        for function, items, times in sides if number % 2 == 0 else reversed(sides):
            times.append(seconds(function, device) / items)
    return comparison


def markdown(rows: list[dict], title: str) -> str:
    """The table of a README, `title` below it."""
    lines = [
        "| operation | size | here | reference path | times faster (quartiles) | share of the hardware's limit |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        ratio = row["ratio"]
        lines.append(
            f"| {row['operation']} | {row['size']} | {rate(row['fast'])} {row['unit']}/s | {rate(row['reference'])} "
            f"| {rate(ratio['median'])} ({rate(ratio['low'])} to {rate(ratio['high'])}) "
            f"| {100 * row['share_of_limit']:.2g} % |"
        )
    return "\n".join([*lines, "", title])


def rate(value: float) -> str:
    """Three digits that count: 1,230, 45.6, 0.789."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
