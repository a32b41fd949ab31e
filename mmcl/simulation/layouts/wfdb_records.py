"""WFDB records as PTB-XL and the challenges of PhysioNet have them, and what is known to be odd in such records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmcl.config import LEADS, RAW_SAMPLING_RATE
from mmcl.simulation.layouts.source import Oddity

MICROVOLTS = 5
"""A simulated count; files of these data sets count single microvolts."""

ODDITIES = {
    "order": Oddity("leads in another order", "same"),
    "case": Oddity("leads spelt avr, avl, avf and v1 to v6", "same"),
    "flat": Oddity("V3 is 0 throughout, an electrode off", "mended"),
    "gap": Oddity("40 samples of V3 are missing", "mended"),
    "absent": Oddity("III, aVR, aVL and aVF are not recorded", "mended"),
    "long": Oddity("the strip is followed by itself, 20 s", "flag"),
    "short": Oddity("recorded for 8 s only", "mended"),
    "lost": Oddity("the signal file is missing", "quarantine"),
    "cut": Oddity("the signal file ends half-way", "quarantine"),
    "empty": Oddity("the header has no byte", "quarantine"),
}

_MISSING = -32768
"""WFDB's mark of a sample that was not recorded, in format 16."""


def write_record(
    header: Path,
    counts: np.ndarray,
    names: Sequence[str] = LEADS,
    rate: int = RAW_SAMPLING_RATE,
    unit: str = "mV",
    comments: Sequence[str] = (),
    matlab: bool = False,
    oddity: str = "",
) -> None:
    """Write `counts` (leads, samples) of 5 microvolt as the record of `header` (.hea), 1000 counts a millivolt.

    Signals lie beside it, in a `.dat` of 16-bit integers or, with `matlab`, in a MATLAB v4 matrix `val` (.mat).
    `oddity` is one of `ODDITIES`; ValueError for another, and for signals that such a file cannot hold.
    """
    counts, names = _with_oddity(MICROVOLTS * counts.astype(np.int64), list(names), oddity)
    if counts.max() > 32767 or counts.min() < _MISSING:
        raise ValueError(f"{header}: {counts.min()} to {counts.max()} microvolt, expected 16 bits")
    values = counts.astype("<i2")
    signals = header.with_suffix(".mat" if matlab else ".dat")
    if matlab:
        from scipy.io import savemat

        savemat(signals, {"val": values}, format="4")
    else:
        signals.write_bytes(np.ascontiguousarray(values.T).tobytes())
    form = "16x1+24" if matlab else "16"
    lines = [f"{header.stem} {len(values)} {rate} {values.shape[1]}"]
    for name, lead in zip(names, values, strict=True):
        checksum = (int(lead.sum(dtype=np.int64)) + 32768) % 65536 - 32768
        lines.append(f"{signals.name} {form} 1000.0(0)/{unit} 16 0 {lead[0]} {checksum} 0 {name}")
    lines += [f"# {comment}" for comment in comments]
    header.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if oddity == "lost":
        signals.unlink()
    elif oddity == "cut":
        signals.write_bytes(signals.read_bytes()[: signals.stat().st_size // 2])
    elif oddity == "empty":
        header.write_bytes(b"")


def _with_oddity(counts: np.ndarray, names: list[str], oddity: str) -> tuple[np.ndarray, list[str]]:
    third = LEADS.index("V3")
    if oddity == "order":
        return counts[::-1], names[::-1]
    if oddity == "case":
        return counts, [*names[:3], *(name.lower() for name in names[3:])]
    if oddity == "flat":
        counts[third] = 0
    elif oddity == "gap":
        counts[third, 1000:1040] = _MISSING
    elif oddity == "absent":
        kept = [k for k, name in enumerate(LEADS) if name not in ("III", "aVR", "aVL", "aVF")]
        return counts[kept], [names[k] for k in kept]
    elif oddity == "long":
        counts = np.tile(counts, 2)
    elif oddity == "short":
        counts = counts[:, : counts.shape[1] * 4 // 5]
    elif oddity and oddity not in ODDITIES:
        raise ValueError(f"oddity is {oddity!r}, expected one of {', '.join(ODDITIES)}")
    return counts, names
