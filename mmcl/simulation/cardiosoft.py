"""Simulated resting ECGs as GE CardioSoft XML, in the shape of UK Biobank field 20205.

Blocks, tags, attributes and units are those that public parsers of such files name; nobody's file was copied. The
person's data are left empty. `ODDITIES` are what such files are known to have wrong, each to be written on purpose.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from mmcl.config import LEADS, RAW_SAMPLING_RATE

RESOLUTION = 5
"""Microvolt a count."""

MEDIAN_SAMPLES = 600
"""Samples of the averaged beat, 1.2 s; its R peaks lie at `_BEFORE`."""

ODDITIES = {
    "comma": "a comma too many at the end of every lead, and one doubled inside V2",
    "case": "leads spelt AVR, avl, Avf, v1, in another order",
    "missing": "III, aVR, aVL and aVF are absent",
    "short": "the last 50 samples of V6 are absent, the announced number is not",
    "gap": "one count of V3 is missing between its commas",
    "utf16": "UTF-16 with a byte order mark",
    "declared": "declared UTF-8, but a letter of ISO-8859-1 inside",
    "disclosure": "no strip, only the review trace of 100 Hz",
    "empty": "no byte",
}
"""Known oddities by name; `disclosure` and `empty` leave nothing that could be used."""

_BEFORE = 200
_PER_LINE = 20
_INTERVALS = {
    "VentricularRate": ("heart_rate", "BPM"),
    "PQInterval": ("pr", "ms"),
    "QRSDuration": ("qrs", "ms"),
    "QTInterval": ("qt", "ms"),
    "RAxis": ("axis", "deg"),
}


def write_cardiosoft(
    path: Path,
    signal: np.ndarray,
    measured: Mapping[str, float] | None = None,
    r_times: np.ndarray | None = None,
    oddity: str = "",
) -> None:
    """Write `signal` (12, samples) mV at 500 Hz as a CardioSoft file, rounded to counts of 5 microvolt.

    `measured` may hold `heart_rate` /min, `pr`, `qrs`, `qt` ms and `axis` degrees, as in the table of simulated
    subjects; what it lacks, or has as NaN, is an empty tag. `r_times` (beats,) s gives the averaged beat, which is left
    out without. `oddity` is one of `ODDITIES`; ValueError for another.
    """
    if oddity and oddity not in ODDITIES:
        raise ValueError(f"oddity is {oddity!r}, expected one of {', '.join(ODDITIES)}")
    counts = np.clip(np.round(np.asarray(signal) * (1000 // RESOLUTION)), -32767, 32767).astype(np.int64)
    strip = {name: _join(values) for name, values in zip(LEADS, counts, strict=True)}
    strip = _with_oddity(strip, counts, oddity)
    measured = {} if measured is None else measured
    blocks = [_head("Müller" if oddity == "declared" else ""), _measurements(measured, counts, r_times)]
    if oddity != "disclosure":
        blocks.append(_strip(strip, counts.shape[1]))
    blocks.append(_disclosure(counts))
    encoding, declared = "latin-1", "ISO8859-1"
    if oddity == "utf16":
        encoding, declared = "utf-16", "UTF-16"
    elif oddity == "declared":
        declared = "UTF-8"
    text = "\n".join([f'<?xml version="1.0" encoding="{declared}" ?>', "<CardiologyXML>", *blocks, "</CardiologyXML>"])
    path.write_bytes(b"" if oddity == "empty" else (text + "\n").encode(encoding))


def _with_oddity(strip: dict[str, str], counts: np.ndarray, oddity: str) -> dict[str, str]:
    if oddity == "comma":
        strip = {name: text + "," for name, text in strip.items()}
        strip["V2"] = strip["V2"].replace(",", ",,", 1)
    elif oddity == "case":
        strip = {{"aVR": "AVR", "aVL": "avl", "aVF": "Avf", "V1": "v1"}.get(k, k): strip[k] for k in reversed(LEADS)}
    elif oddity == "missing":
        strip = {name: text for name, text in strip.items() if name not in ("III", "aVR", "aVL", "aVF")}
    elif oddity == "short":
        strip["V6"] = _join(counts[-1, :-50])
    elif oddity == "gap":
        first, _, rest = strip["V3"].split(",", 2)
        strip["V3"] = f"{first},,{rest}"
    return strip


def _head(name: str) -> str:
    return f"""\
\t<ObservationType>RestECG</ObservationType>
\t<ObservationDateTime>
\t\t<Hour>12</Hour><Minute>0</Minute><Second>0</Second><Day>1</Day><Month>1</Month><Year>2000</Year>
\t</ObservationDateTime>
\t<ClinicalInfo><DeviceInfo><Desc>simulated</Desc></DeviceInfo></ClinicalInfo>
\t<PatientInfo><PID></PID><Name><FamilyName>{escape(name)}</FamilyName><GivenName></GivenName></Name></PatientInfo>
\t<Interpretation><Diagnosis><DiagnosisText>simulated</DiagnosisText></Diagnosis></Interpretation>"""


def _measurements(measured: Mapping[str, float], counts: np.ndarray, r_times: np.ndarray | None) -> str:
    lines = ["\t<RestingECGMeasurements>"]
    for tag, (name, unit) in _INTERVALS.items():
        value = float(measured.get(name, math.nan))
        lines.append(f"\t\t<{tag} units={quoteattr(unit)}>{round(value) if math.isfinite(value) else ''}</{tag}>")
    beat = None if r_times is None else _median_beat(counts, np.asarray(r_times))
    if beat is not None:
        leads = {name: _join(values) for name, values in zip(LEADS, beat, strict=True)}
        lines += ["\t\t<MedianSamples>", _waveforms(leads, MEDIAN_SAMPLES), "\t\t</MedianSamples>"]
    return "\n".join([*lines, "\t</RestingECGMeasurements>"])


def _median_beat(counts: np.ndarray, r_times: np.ndarray) -> np.ndarray | None:
    """Median over the beats that lie whole in the strip, (12, 600) counts; None where none does."""
    peaks = np.round(r_times[np.isfinite(r_times)] * RAW_SAMPLING_RATE).astype(int) - _BEFORE
    peaks = peaks[(peaks >= 0) & (peaks + MEDIAN_SAMPLES <= counts.shape[1])]
    if not len(peaks):
        return None
    beats = np.stack([counts[:, start : start + MEDIAN_SAMPLES] for start in peaks])
    return np.round(np.median(beats, axis=0)).astype(np.int64)


def _strip(leads: dict[str, str], samples: int) -> str:
    return "\n".join(["\t<StripData>", _waveforms(leads, samples), "\t</StripData>"])


def _disclosure(counts: np.ndarray) -> str:
    """The review trace: every fifth sample, all leads of a sample together, and a comma at the end."""
    values = _join(counts[:, ::5].T.ravel())
    return f"""\
\t<FullDisclosure>
\t\t<NumberOfChannels>{len(LEADS)}</NumberOfChannels>
\t\t<SampleRate units="Hz">{RAW_SAMPLING_RATE // 5}</SampleRate>
\t\t<Resolution units="uVperLsb">{RESOLUTION}</Resolution>
\t\t<LeadOrder>{",".join(LEADS)}</LeadOrder>
\t\t<FullDisclosureData>{values},</FullDisclosureData>
\t</FullDisclosure>"""


def _waveforms(leads: dict[str, str], samples: int) -> str:
    head = f"""\
\t\t<NumberOfLeads>{len(leads)}</NumberOfLeads>
\t\t<SampleRate units="Hz">{RAW_SAMPLING_RATE}</SampleRate>
\t\t<ChannelSampleCountTotal>{samples}</ChannelSampleCountTotal>
\t\t<Resolution units="uVperLsb">{RESOLUTION}</Resolution>"""
    waves = [f"\t\t<WaveformData lead={quoteattr(name)}>{text}\n\t\t</WaveformData>" for name, text in leads.items()]
    return "\n".join([head, *waves])


def _join(counts: np.ndarray) -> str:
    """Counts with commas between, some on each line."""
    words = [str(value) for value in counts.tolist()]
    return ",\n\t\t".join(",".join(words[k : k + _PER_LINE]) for k in range(0, len(words), _PER_LINE))
