"""Published facts about hearts and their ECGs, in `targets.yaml` beside this module, and how near the cohort comes.

Each target is one number of one group: a mean, a spread, a correlation, a share, an AUROC or an odds ratio, with the
study that it is from and a tolerance that was set from studies and not from what the simulation gives. The file also
lists the targets that are missed, with reasons; `card` writes all of it into the cohort's card.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from mmcl.simulation.table import population_table

__all__ = ["TARGETS", "Target", "evaluate", "members", "population_table", "read_targets"]

FILE = Path(__file__).with_suffix(".yaml")
MEASURES = ("mean", "sd", "correlation", "share", "auroc", "ratio")


@dataclass(frozen=True)
class Target:
    """`measure` of the column `of` (two for correlation, auroc: score and truth, ratio: odds ratio of two truths) in
    `group`, expected within `tolerance` of `target`. `calibrate`: used by the calibration. `miss`: why it is missed.
    """

    name: str
    measure: str
    of: str | tuple[str, str]
    group: str
    unit: str
    target: float
    tolerance: float
    tolerance_from: str
    source: str
    calibrate: bool
    miss: str | None = None


def read_targets(file: Path = FILE) -> tuple[Target, ...]:
    """The targets of `file`. ValueError names an entry that is not whole, a name that occurs twice, or a reason for
    missing a target that is not there.
    """
    text = yaml.safe_load(file.read_text(encoding="utf-8"))
    targets = [_target(file.name, entry) for entry in text["targets"]]
    names = [target.name for target in targets]
    reasons = [(name, miss["reason"]) for miss in text["misses"] for name in miss["targets"]]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{file.name}: the name {name!r} occurs twice")
    for name, _ in reasons:
        if name not in names or [other for other, _ in reasons].count(name) > 1:
            raise ValueError(f"{file.name}, misses: {name!r}; expected the name of a target, once")
    return tuple(dataclasses.replace(target, miss=dict(reasons).get(target.name)) for target in targets)


def _target(file: str, entry: Mapping) -> Target:
    fields = {field.name for field in dataclasses.fields(Target)} - {"miss"}
    if set(entry) != fields:
        raise ValueError(f"{file}, {entry.get('name', entry)}: expected the keys {', '.join(sorted(fields))}")
    pair = isinstance(entry["of"], list)
    if entry["measure"] not in MEASURES or pair != (entry["measure"] in ("correlation", "auroc", "ratio")):
        raise ValueError(f"{file}, {entry['name']}: {entry['measure']} of {entry['of']}; expected one of {MEASURES}")
    if entry["tolerance"] <= 0:
        raise ValueError(f"{file}, {entry['name']}: tolerance {entry['tolerance']}; expected above 0")
    return Target(**{**entry, "of": tuple(entry["of"]) if pair else entry["of"]})


TARGETS = read_targets()


def evaluate(table: pd.DataFrame, targets: Sequence[Target] = TARGETS) -> pd.DataFrame:
    """`targets` with `got`, `error` (its standard error), `n` and whether they are `met`, in the order given.

    `got` is NaN, and the target not met, where the group is too small to say. ValueError names an unknown column.
    """
    rows = []
    for target in targets:
        columns = [target.of] if isinstance(target.of, str) else list(target.of)
        unknown = [name for name in columns if name not in table]
        if unknown:
            raise ValueError(f"{FILE.name}, {target.name}: no column {unknown[0]!r} in the population table")
        values = table.loc[members(table, target.group), columns].dropna().to_numpy(float)
        got, error = _ESTIMATES[target.measure](values) if len(values) > 3 else (np.nan, np.nan)
        met = bool(abs(got - target.target) <= target.tolerance)
        row = {**dataclasses.asdict(target), "got": got, "standard error": error, "n": len(values), "met": met}
        rows.append(row)
    return pd.DataFrame(rows)


def members(table: pd.DataFrame, group: str) -> pd.Series:
    """Whether each row is in `group`: words such as "healthy men", all of which must hold. ValueError: unknown word."""
    chosen = pd.Series(True, index=table.index)
    for word in group.split():
        if word not in _GROUPS:
            raise ValueError(f"group {group!r}: unknown word {word!r}; expected some of {', '.join(_GROUPS)}")
        chosen &= _GROUPS[word](table).astype(bool)
    return chosen


_GROUPS = {
    "all": lambda table: table["age"] > 0,
    "men": lambda table: ~table["female"],
    "women": lambda table: table["female"],
    "healthy": lambda table: table["healthy"],
    "unblocked": lambda table: ~(table["lbbb"] | table["rbbb"]),
    "sinus": lambda table: ~table["in_af"],
    "scarred": lambda table: table["scarred"],
    "scarless": lambda table: table["scar"] == 0,
    "large-scarred": lambda table: table["scarred_large"],
    "hypertensive": lambda table: table["hypertension"],
    "hypertrophied": lambda table: table["lvh"],
    "unhypertrophied": lambda table: ~table["lvh"],
    "lbbb": lambda table: table["lbbb"],
    "rbbb": lambda table: table["rbbb"],
    "cad": lambda table: table["cad"],
}


def _mean(values: np.ndarray) -> tuple[float, float]:
    return values.mean(), values.std(ddof=1) / np.sqrt(len(values))


def _sd(values: np.ndarray) -> tuple[float, float]:
    """Standard deviation; its error from the fourth moment."""
    spread, central = values.std(ddof=1), values - values.mean()
    if spread == 0:
        return 0.0, 0.0
    return spread, np.sqrt(max((central**4).mean() - spread**4, 0.0) / len(values)) / (2 * spread)


def _share(values: np.ndarray) -> tuple[float, float]:
    """Per cent of the group."""
    share = values.mean()
    return 100 * share, 100 * np.sqrt(share * (1 - share) / len(values))


def _correlation(values: np.ndarray) -> tuple[float, float]:
    r = np.corrcoef(values.T)[0, 1]
    return r, (1 - r**2) / np.sqrt(len(values) - 1)


def _auroc(values: np.ndarray) -> tuple[float, float]:
    """Area under the ROC curve; its error by Hanley & McNeil (1982, Radiology 143:29)."""
    truth = values[:, 1] > 0
    ill, well = truth.sum(), (~truth).sum()
    if not ill or not well:
        return np.nan, np.nan
    ranks = pd.Series(values[:, 0]).rank().to_numpy()
    area = (ranks[truth].sum() - ill * (ill + 1) / 2) / (ill * well)
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area) + (ill - 1) * (first - area**2) + (well - 1) * (second - area**2)
    return area, np.sqrt(spread / (ill * well))


def _ratio(values: np.ndarray) -> tuple[float, float]:
    """Odds ratio of two truths, a half added to each cell."""
    one, other = values[:, 0] > 0, values[:, 1] > 0
    cells = [(a & b).sum() + 0.5 for a in (one, ~one) for b in (other, ~other)]
    ratio = cells[0] * cells[3] / (cells[1] * cells[2])
    return ratio, ratio * np.sqrt(sum(1 / cell for cell in cells))


_ESTIMATES = {
    "mean": _mean,
    "sd": _sd,
    "correlation": _correlation,
    "share": _share,
    "auroc": _auroc,
    "ratio": _ratio,
}
