"""What preprocessing met in a cohort: what was used as it came, repaired, noted, or left out, and examples of each."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd

from mmcl.data.store import QUARANTINE, SUBJECTS, Store

REPAIRED = {
    "computed": "limb lead computed from two others",
    "missing": "lead absent, 0 throughout",
    "nan": "samples that are no number, set to 0",
    "long": "first 10 s used",
    "short": "continued to 10 s",
    "halfway": "halfway frame is the mean of end-diastole and end-systole",
    "centre": "no moving heart found, published crop used",
    "spacing": "pixels resampled to 1.8 mm",
    "repeat": "slice taken more than once, the last whole one used",
    "order": "frames or slices put in order by something else than time or position",
    "tilted": "acquisitions tilted off the others left out",
    "orientation": "image turned to be seen from the apex",
}
"""Flags of what was mended, by kind, with what was done."""

NOTED = {
    "es": "end-systole found in the image",
    "flat": "lead without a signal, kept",
    "clipped": "lead at the limit of its amplifier, kept",
    "noisy": "lead with white noise above 0.1 mV, kept",
    "swapped": "limb electrodes probably exchanged, kept",
    "amplitude": "unusual amplitude, the unit is probably wrong",
    "frames": "fewer frames than the headers announce",
    "matrix": "slices of another matrix than most",
    "labels": "not all frames are labelled",
}
"""Flags of what was seen and left as it is."""


def count_flags(subjects: Path) -> dict[str, object]:
    """Counts from the flags of a `subjects.csv`: "flags" by kind, rows "repaired", and rows used "as_they_came"."""
    flags = pd.read_csv(subjects, usecols=["flags"], dtype=str, keep_default_na=False)["flags"]
    kinds = [{flag.partition(":")[0] for flag in row.split(";") if flag} for row in flags]
    counts = Counter(kind for row in kinds for kind in row)
    repaired = sum(bool(row & set(REPAIRED)) for row in kinds)
    return {"flags": dict(sorted(counts.items())), "repaired": repaired, "as_they_came": len(kinds) - repaired}


def quality_table(store: Store) -> pd.DataFrame:
    """One row per reason for which recordings were left out, repaired or noted: how many, what it means, an example.

    Columns: `what` (quarantined, repaired, noted), `reason`, `recordings`, `meaning`, `example`, the first subject of
    the kind with its value.
    """
    rows = []
    quarantine = pd.read_csv(store.folder / QUARANTINE, dtype=str, keep_default_na=False)
    for reason, group in quarantine.groupby("reason"):
        first = group.iloc[0]
        rows.append(
            [
                "quarantined",
                reason,
                len(group),
                f"expected {first['expectation']}",
                f"{first['file']}: {first['value']}",
            ]
        )
    table = pd.read_csv(store.folder / SUBJECTS, usecols=["subject", "flags"], dtype=str, keep_default_na=False)
    first, counts = {}, Counter()
    for subject, flags in table.itertuples(index=False):
        kinds = {flag.partition(":")[0]: flag for flag in reversed(flags.split(";")) if flag}
        for kind, flag in kinds.items():
            first.setdefault(kind, f"{subject}: {flag}")
            counts[kind] += 1
    for what, meanings in (("repaired", REPAIRED), ("noted", NOTED)):
        rows += [[what, kind, counts[kind], meanings[kind], first[kind]] for kind in meanings if kind in counts]
    others = sorted(set(counts) - set(REPAIRED) - set(NOTED))
    rows += [["noted", kind, counts[kind], "", first[kind]] for kind in others]
    return pd.DataFrame(rows, columns=["what", "reason", "recordings", "meaning", "example"])
