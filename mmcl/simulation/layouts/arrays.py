"""All ECGs in one array, as published code takes them, and a table of participants with labels.

| file | holds |
|---|---|
| `ecg.npy` | float32 (subjects, 12, 5000), mV at 500 Hz; `.npz` or `.pt` (a tensor) on request |
| `participants.csv` | a row for each row of the array: eid, age, sex, body, blood pressure, and CAD, AF, DM on record |
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from mmcl.config import DISEASES, LEADS, RAW_SAMPLING_RATE, RECORD_SECONDS
from mmcl.simulation.layouts.source import Oddity, Source, in_turn, millivolts
from mmcl.simulation.records import DISEASE_OF

ODDITIES = {
    "gap": Oddity("40 samples of V3 are no number", "mended"),
    "flat": Oddity("V3 is 0 throughout, an electrode off", "mended"),
    "lost": Oddity("no sample is a number", "quarantine"),
}

_BODY = {"age": "21003-2.0", "height": "50-2.0", "weight": "21002-2.0", "systolic": "4080-2.0"}


def write_arrays(source: Source, folder: Path, oddities: tuple[str, ...] = (), suffix: str = ".npy") -> None:
    """Write the array and the table; `suffix` .npy, .npz or .pt. Each subject in turn has one of `oddities`.

    The array is written through a memory map for `.npy`; the other two forms hold the cohort in memory once.
    """
    if suffix not in (".npy", ".npz", ".pt"):
        raise ValueError(f"suffix is {suffix!r}, expected .npy, .npz or .pt")
    folder.mkdir(parents=True, exist_ok=True)
    shape, path = (len(source.eids), len(LEADS), RAW_SAMPLING_RATE * RECORD_SECONDS), folder / f"ecg{suffix}"
    if suffix == ".npy":
        array = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    else:
        array = np.empty(shape, np.float32)
    rows = []
    for k, subject in enumerate(source.subjects()):
        array[k] = millivolts(subject.counts)
        _distort(array[k], in_turn(oddities, subject.index))
        codes = source.tables["records"].loc[subject.eid].filter(like="41270-")
        known = {DISEASE_OF[code] for code in codes if code}
        body = [subject.person[column] for column in _BODY.values()]
        rows.append([subject.eid, subject.sex, *body, *(int(disease in known) for disease in DISEASES)])
    if suffix == ".npy":
        array.flush()
    elif suffix == ".npz":
        np.savez(path, ecg=array)
    else:
        import torch

        torch.save(torch.from_numpy(array), path)
    with open(folder / "participants.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([["eid", "sex", *_BODY, *DISEASES], *rows])


def _distort(signal: np.ndarray, oddity: str) -> None:
    third = LEADS.index("V3")
    if oddity == "gap":
        signal[third, 1000:1040] = np.nan
    elif oddity == "flat":
        signal[third] = 0
    elif oddity == "lost":
        signal[:] = np.nan
