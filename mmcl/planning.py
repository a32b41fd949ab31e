"""What a larger cohort would need, storage and hours, from rates measured on a small one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from mmcl.config import LEADS, Profile


@dataclass(frozen=True)
class Rates:
    """Measured: items a second of one core (`preprocess_*`) or of one device (the others), and bytes of a raw file."""

    preprocess_ecg: float
    preprocess_cine: float
    read: float
    mdm: float
    mmcl: float
    raw_ecg: float
    raw_cine: float

    def __post_init__(self):
        for name, value in vars(self).items():
            if not 0 < value < float("inf"):
                raise ValueError(f"{name} = {value}: expected a positive number")


BENCHED = {"MDM step": "mdm", "MMCL step": "mmcl", "store reading": "read"}
"""Operations of the table of `make bench` -> the rates that they are."""


def best_rates(rough: Mapping[str, float], device: str, summary: Mapping | None = None) -> Rates:
    """`rough` rates taken on `device`, replaced by those that `make bench` measured on the same device, if it did.

    `summary` is the content of `bench_summary.json`.
    """
    rows = summary["rows"] if summary and summary["device"] == device else []
    return Rates(**{**rough, **{BENCHED[row["operation"]]: row["fast"] for row in rows if row["operation"] in BENCHED}})


def stored_bytes(sizes: Profile) -> dict[str, int]:
    """Bytes of one subject in a store: `ecg` in half precision, `cine` as three crops of 8 bits."""
    return {"ecg": len(LEADS) * sizes.ecg.record * 2, "cine": 3 * sizes.cmr.crop**2}


def plan_storage(rates: Rates, sizes: Profile, ecgs: int, cines: int) -> pd.DataFrame:
    """Terabytes of `ecgs` and `cines`, raw and in the store; a row a modality and their sum."""
    stored = stored_bytes(sizes)
    table = pd.DataFrame(
        {
            "recordings": [ecgs, cines],
            "raw_TB": [ecgs * rates.raw_ecg / 1e12, cines * rates.raw_cine / 1e12],
            "store_TB": [ecgs * stored["ecg"] / 1e12, cines * stored["cine"] / 1e12],
        },
        index=["ECG", "cine CMR"],
    )
    table.loc["both"] = table.sum()
    return table.astype({"recordings": int})


def plan_hours(
    rates: Rates, sizes: Profile, ecgs: int, cines: int, devices: Sequence[int] = (1, 8, 64)
) -> pd.DataFrame:
    """Hours of each step on one and on more `devices`; for preprocessing a device is a core.

    MDM sees every ECG in each of its epochs, MMCL every pair of an ECG with one of the `cines`. Work is taken to divide
    evenly: hours on n devices are those of one over n. Training is as fast as the slower of computing and reading.
    Columns: `items` that pass, `a_second` on one device, `epoch` (hours of one pass, on one device), `hours_<n>`.
    ValueError where a number of recordings or devices is not positive.
    """
    if min(ecgs, cines, *devices) < 1:
        raise ValueError(f"{ecgs} ECGs, {cines} cines, devices {tuple(devices)}: expected at least 1 of each")
    steps = {
        "preprocess ECGs": (ecgs, 1, rates.preprocess_ecg),
        "preprocess cines": (cines, 1, rates.preprocess_cine),
        "pre-train MDM": (ecgs, sizes.mdm.epochs, min(rates.mdm, rates.read)),
        "pre-train MMCL": (cines, sizes.mmcl.epochs, min(rates.mmcl, rates.read)),
    }
    rows = {}
    for name, (items, epochs, speed) in steps.items():
        epoch = items / speed / 3600
        hours = {f"hours_{n}": epoch * epochs / n for n in devices}
        rows[name] = {"items": items * epochs, "a_second": speed, "epoch": epoch, **hours}
    return pd.DataFrame.from_dict(rows, orient="index").astype({"items": int})


def bottleneck(hours: pd.DataFrame, rates: Rates) -> str:
    """A sentence: which step of `plan_hours` takes longest, its share, and whether computing or reading limits it."""
    column = next(name for name in hours if name.startswith("hours_"))
    step = hours[column].idxmax()
    computed = {"pre-train MDM": rates.mdm, "pre-train MMCL": rates.mmcl}
    limit = "reading the store" if step in computed and rates.read < computed[step] else "computing"
    share = hours.loc[step, column] / hours[column].sum()
    return (
        f"{step[0].upper()}{step[1:]} takes longest, {100 * share:.0f} % of all hours on one device; {limit} limits it."
    )
