"""One form for every 12-lead ECG: leads in the project's order, millivolt, 500 Hz, 10 s.

Rules, each leaving a flag of the form `kind:detail` in the cohort's table:

| flag | rule |
|---|---|
| `computed:III` | a limb lead that is absent follows from two others (Einthoven, Goldberger) |
| `missing:V3` | a lead that is absent and follows from nothing is 0 throughout |
| `flat:V3` | peak to peak below 0.01 mV, or one value for more than half the record; kept as it is |
| `nan:V3` | some samples are not a number; they become 0 |
| `clipped:V3` | at its highest or lowest value for 20 ms and longer, as an amplifier at its limit is |
| `noisy:V3` | white noise of more than 0.1 mV |
| `swapped:RA-LA` | limb electrodes on the wrong limbs, RA-LA or RA-LL (`mmcl.data.reversal`); kept as it is |
| `long:30.00s` | only the first 10 s are used |
| `short:8.20s` | each lead continues with its last value up to 10 s, which the baseline then takes to about 0 |
| `amplitude:0.02mV` | median peak to peak outside 0.1 to 20 mV: the unit is probably wrong |

A short record is standardised together with what it was continued by, as the models take all 10 s; the recorded part
so has a variance of up to 10 s over its length. Names of leads are read by `canonical_lead`, units are those of
`MILLIVOLTS`.

Not used at all: fewer than 6 leads with a signal, more than 10 % of samples not a number, less than 5 s, a sampling
rate or unit that is unknown, one lead twice.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from scipy.signal import resample_poly

from mmcl.config import LEADS, RAW_SAMPLING_RATE, RECORD_SECONDS
from mmcl.data.quarantine import Unusable, reject
from mmcl.data.reversal import limb_reversal

SAMPLES = RAW_SAMPLING_RATE * RECORD_SECONDS

MILLIVOLTS = {
    **{"mv": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "nv": 1e-6, "v": 1e3},
    **{"millivolt": 1.0, "microvolt": 1e-3, "nanovolt": 1e-6, "volt": 1e3},
    **{"millivolts": 1.0, "microvolts": 1e-3, "nanovolts": 1e-6, "volts": 1e3},
}
"""Millivolt per unit, by the unit's name in lower case; the two micro signs are different characters.

Counts (`mV/LSB`, `adu`) are no unit: what a count stands for is the reader's to know.
"""

SAMPLING_RATES = (50.0, 20_000.0)
"""Hz; an ECG with a rate outside is mislabelled."""

LEAST_SECONDS = 5.0
"""A shorter recording does not fill one model window."""

LEAST_LEADS = 6
"""Leads that must carry a signal."""

MOST_NAN = 0.10
"""Share of a record's samples that may be missing; one whole lead of twelve is less."""

FLAT = 0.01
"""Millivolt, peak to peak."""

NOISY = 0.1
"""Millivolt, standard deviation of white noise."""

CLIPPED_SECONDS = 0.02
PLAUSIBLE = (0.1, 20.0)
"""Millivolt, median peak to peak of the leads."""

_CANONICAL = {name.lower(): name for name in LEADS} | dict(
    di="I", dii="II", diii="III", d1="I", d2="II", d3="III", lead1="I", lead2="II", lead3="III"
)  # fmt: skip
_INVERTED = re.compile(r"\s*[-\u2212]|.*neg$", re.IGNORECASE)


@dataclass(frozen=True)
class Recording:
    """An ECG as its file has it: `signal` (signals, samples) in `units`, leads in any order, at `sampling_rate` Hz."""

    signal: np.ndarray
    names: tuple[str, ...]
    units: tuple[str, ...]
    sampling_rate: float
    subject: str
    file: str


@dataclass(frozen=True)
class Electrocardiogram:
    """`signal` float32 (12, 5000), millivolt, 500 Hz, without NaN; `flags` as in the module's table."""

    signal: np.ndarray
    flags: tuple[str, ...]


def harmonise(recording: Recording, needed: Sequence[str] | None = None) -> Electrocardiogram:
    """Bring a recording into the project's form; `Unusable` names what cannot be mended.

    With `needed` it must have these leads, with a signal, instead of any six.
    """
    rate = _sampling_rate(recording)
    leads = _leads_in_millivolt(recording)
    flags = [f"computed:{name}" for name in _compute_limb_leads(leads)]
    flags += [f"missing:{name}" for name in LEADS if name not in leads]
    samples = recording.signal.shape[1]
    signal = np.stack([leads.get(name, np.zeros(samples)) for name in LEADS])

    seconds = samples / rate
    if seconds < LEAST_SECONDS:
        raise _unusable(recording, "too short", f"{seconds:.2f} s", f"at least {LEAST_SECONDS:g} s")
    signal = signal[:, : math.ceil(RECORD_SECONDS * rate)]

    absent = ~np.isfinite(signal)
    if absent.mean() > MOST_NAN:
        raise _unusable(recording, "too many NaN", f"{absent.mean():.1%}", f"at most {MOST_NAN:.0%} of samples")
    flags += [f"nan:{LEADS[k]}" for k in np.flatnonzero(absent.any(axis=1))]
    signal[absent] = 0.0

    silent = [_is_flat(lead) for lead in signal]
    if needed is not None:
        lost = [name for name in needed if silent[LEADS.index(name)]]
        if lost:
            found = f"no signal in {', '.join(lost)}"
            raise _unusable(recording, "flat", found, f"a signal in each of {', '.join(needed)}")
    elif len(LEADS) - sum(silent) < LEAST_LEADS:
        found = f"{len(LEADS) - sum(silent)} leads with a signal"
        raise _unusable(recording, "flat", found, f"at least {LEAST_LEADS}")
    flags += [f"flat:{name}" for name, flat in zip(LEADS, silent, strict=True) if flat and name in leads]
    flags += [
        f"clipped:{name}"
        for name, lead, flat in zip(LEADS, signal, silent, strict=True)
        if not flat and _is_clipped(lead, rate)
    ]

    signal = _resample(signal, rate)
    flags += [f"noisy:{name}" for name, lead in zip(LEADS, signal, strict=True) if noise(lead) > NOISY]
    if (swapped := limb_reversal(signal, RAW_SAMPLING_RATE, ~np.array(silent))) is not None:
        flags.append(f"swapped:{swapped}")
    typical = float(np.median(np.ptp(signal, axis=1)[~np.array(silent)]))
    if not PLAUSIBLE[0] <= typical <= PLAUSIBLE[1]:
        flags.append(f"amplitude:{typical:.2g}mV")
    if samples > math.ceil(RECORD_SECONDS * rate):
        flags.append(f"long:{seconds:.2f}s")
    if signal.shape[1] < SAMPLES:
        flags.append(f"short:{seconds:.2f}s")
        signal = np.pad(signal, ((0, 0), (0, SAMPLES - signal.shape[1])), mode="edge")
    return Electrocardiogram(signal[:, :SAMPLES].astype(np.float32), tuple(flags))


def canonical_lead(name: str) -> str | None:
    """`name` in the project's spelling, None for another signal.

    Case, spaces and punctuation do not matter, nor do the words MDC, ECG, EKG and lead before the name: `avr`,
    `Lead II`, `lead_v1`, `ECG_V1`, `MDC_ECG_LEAD_AVR`. I, II and III may be DI to DIII, D1 to D3 or `lead 1` to
    `lead 3`. The inverted lead of Cabrera, `-aVR` or `aVRneg`, is aVR: `harmonise` turns its sign. VR, which is two
    thirds of aVR, C1, which is an electrode, V3R and V7 are none of the twelve.
    """
    text = re.sub(r"[^a-z0-9]", "", str(name).lower())
    text = re.sub(r"^(mdc)?(ecg|ekg)?", "", text)
    text = re.sub(r"neg$", "", text)
    return _CANONICAL.get(text) or _CANONICAL.get(re.sub(r"^lead", "", text))


def noise(lead: np.ndarray) -> float:
    """Standard deviation of white noise in (samples,), from the median second difference, which beats hardly move."""
    return float(np.median(np.abs(np.diff(lead, 2))) / 0.6745 / math.sqrt(6))


def _sampling_rate(recording: Recording) -> float:
    try:
        rate = float(recording.sampling_rate)
    except (TypeError, ValueError):
        rate = math.nan
    low, high = SAMPLING_RATES
    if not low <= rate <= high:
        raise _unusable(recording, "unknown sampling rate", recording.sampling_rate, f"{low:g} to {high:g} Hz")
    return rate


def _leads_in_millivolt(recording: Recording) -> dict[str, np.ndarray]:
    signal = np.asarray(recording.signal)
    if signal.ndim != 2 or not len(signal) == len(recording.names) == len(recording.units):
        expected = f"({len(recording.names)} signals, samples) and a unit for each"
        raise _unusable(recording, "wrong shape", f"{signal.shape}, {len(recording.units)} units", expected)
    leads: dict[str, np.ndarray] = {}
    for values, name, unit in zip(signal, recording.names, recording.units, strict=True):
        lead = canonical_lead(name)
        if lead is None:
            continue  # a rhythm strip, respiration, vectorcardiogram: not of the twelve
        if lead in leads:
            raise _unusable(recording, "lead twice", name, "each lead once")
        factor = MILLIVOLTS.get(str(unit).strip().lower())
        if factor is None:
            raise _unusable(recording, "unknown unit", f"{unit} in {name}", ", ".join(MILLIVOLTS))
        leads[lead] = values.astype(np.float64) * (-factor if _INVERTED.match(str(name)) else factor)
    return leads


def _compute_limb_leads(leads: dict[str, np.ndarray]) -> list[str]:
    """Add the limb leads that follow from others, in place; returns their names."""
    present = set(leads)
    if "I" not in leads and {"II", "III"} <= present:
        leads["I"] = leads["II"] - leads["III"]
    if "II" not in leads and {"I", "III"} <= present:
        leads["II"] = leads["I"] + leads["III"]
    if {"I", "II"} <= set(leads):
        one, two = leads["I"], leads["II"]
        derived = {"III": two - one, "aVR": -(one + two) / 2, "aVL": one - two / 2, "aVF": two - one / 2}
        for name, values in derived.items():
            leads.setdefault(name, values)
    return [name for name in LEADS if name in leads and name not in present]


def _is_flat(lead: np.ndarray) -> bool:
    return bool(np.ptp(lead) < FLAT or _longest_run(np.diff(lead) == 0) > len(lead) / 2)


def _is_clipped(lead: np.ndarray, rate: float) -> bool:
    """Whether the lead rests at its extreme for 20 ms and at least 5 samples, on a scale where that is no chance."""
    least = max(5, math.ceil(CLIPPED_SECONDS * rate))
    runs = [_longest_run(lead == extreme) for extreme in (lead.max(), lead.min())]
    return bool(np.ptp(lead) > 0.5 and max(runs) >= least)


def _longest_run(true: np.ndarray) -> int:
    """Length of the longest stretch of True."""
    borders = np.flatnonzero(np.diff(np.concatenate(([0], true.astype(np.int8), [0]))))
    return int((borders[1::2] - borders[::2]).max(initial=0))


def _resample(signal: np.ndarray, rate: float) -> np.ndarray:
    if rate == RAW_SAMPLING_RATE:
        return signal
    ratio = (Fraction(RAW_SAMPLING_RATE) / Fraction(rate)).limit_denominator(1000)
    # Padding along the line through the ends keeps a lead's offset from ringing at its borders.
    return resample_poly(signal, ratio.numerator, ratio.denominator, axis=1, padtype="line")


def _unusable(recording: Recording, reason: str, value: object, expectation: str) -> Unusable:
    return reject(recording.file, recording.subject, reason, value, expectation)
