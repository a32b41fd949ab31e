"""Resting ECGs as GE CardioSoft exports them: XML files with root `CardiologyXML`, UK Biobank field 20205.

Three blocks of a file hold waveforms under the same tags. Only `StripData`, ten seconds of all leads, is the recording;
`MedianSamples` is one averaged beat, and `FullDisclosure` a review trace at 100 Hz.

Files are not trusted. A document type, an entity or an external reference is refused; what is kept while parsing is the
strip and the measurements, of a file of bounded size.
"""

from __future__ import annotations

import codecs
import math
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mmcl.data.quarantine import reject
from mmcl.data.signals import Recording

LARGEST = 8 << 20
"""Bytes; ten seconds of twelve leads, the median beat and the review trace take less than one megabyte."""

MEASUREMENTS = {
    "heart_rate": ("VentricularRate", ("bpm", "/min")),
    "rr": ("RRInterval", ("ms",)),
    "p_duration": ("PDuration", ("ms",)),
    "pr": ("PQInterval", ("ms",)),
    "qrs_duration": ("QRSDuration", ("ms",)),
    "qt": ("QTInterval", ("ms",)),
    "qtc": ("QTCInterval", ("ms",)),
    "p_axis": ("PAxis", ("deg",)),
    "qrs_axis": ("RAxis", ("deg",)),
    "t_axis": ("TAxis", ("deg",)),
}
"""Names of the device's measurements, as in `mmcl.data.ecg_features` where it has them: the file's tag and its units.

Rate /min, intervals ms, axes degrees; `qtc` is corrected by whichever formula the device was set to.
"""

_TAG_BYTES = 4096
_ELEMENTS = 20_000
_DEPTH = 32
_LEADS = 32
_SAMPLES = 100_000
"""Bounds of a file that is no attack: characters of a tag, tags, tags within tags, leads, samples of a lead."""


def read_cardiosoft(path: Path, subject: str) -> Recording:
    """The strip of a CardioSoft file as microvolt (leads, samples), rate and resolution as the file says.

    Leads keep the file's order and spelling; one that is absent stays absent. A lead with fewer counts than another
    ends in NaN; where all have as few, the recording is short. A superfluous comma is passed over; where
    `ChannelSampleCountTotal` agrees with the commas and not with the counts, the missing count is NaN. `Unusable` for
    anything else that is not as it should be: no strip, a count that is no integer, one lead with more samples than
    announced, an unknown unit.
    """
    content = _parse(path, subject)
    if content.strips != 1:
        raise reject(path, subject, "no strip" if not content.strips else "several strips", content.held(), "StripData")
    rate = _number(content, "SampleRate", ("hz",), path, subject)
    resolution = _number(content, "Resolution", ("uvperlsb", "µvperlsb", "μvperlsb"), path, subject)
    announced = content.strip.get("ChannelSampleCountTotal", ("", ""))[0].strip()
    total = int(announced) if re.fullmatch(r"[0-9]{1,7}", announced) else None
    if not 0 < len(content.waveforms) <= _LEADS:
        raise reject(path, subject, "wrong number of leads", len(content.waveforms), f"twelve, at most {_LEADS}")
    leads = [_counts(name, text, total, path, subject) for name, text in content.waveforms]
    longest = max(len(counts) for counts in leads)
    if total is not None and longest > total and any(len(counts) != longest for counts in leads):
        name = next(name for (name, _), counts in zip(content.waveforms, leads, strict=True) if len(counts) == longest)
        raise reject(path, subject, "too many samples", f"{longest} in lead {name[:50]}", total)
    signal = np.full((len(leads), longest), np.nan)
    for row, counts in zip(signal, leads, strict=True):
        row[: len(counts)] = counts * resolution
    names = tuple(name for name, _ in content.waveforms)
    return Recording(signal, names, ("uV",) * len(names), rate, subject, str(path))


def read_measurements(path: Path, subject: str) -> dict[str, float]:
    """The device's own `MEASUREMENTS` of the ECG, NaN for one that is absent, no number or in another unit."""
    content = _parse(path, subject)
    measured = {}
    for name, (tag, units) in MEASUREMENTS.items():
        text, unit = content.measurements.get(tag, ("", ""))
        measured[name] = _float(text) if unit.strip().lower() in ("", *units) else math.nan
    return measured


@dataclass
class _Content:
    """What a file holds of interest. As the target of a parser it takes the tags one by one and keeps no tree."""

    strips: int = 0
    strip: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Text and unit of the strip's own tags, and of `measurements` those beside the median beat."""
    waveforms: list[tuple[str, str]] = field(default_factory=list)
    """Name and text of each lead of the strip, in the file's order."""
    measurements: dict[str, tuple[str, str]] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)
    _path: list[str] = field(default_factory=list)
    _attributes: dict[str, str] = field(default_factory=dict)
    _text: list[str] = field(default_factory=list)
    _elements: int = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._elements > _ELEMENTS or len(self._path) >= _DEPTH:
            raise ValueError(f"more than {_ELEMENTS} tags, or {_DEPTH} within each other")
        if not self._path and tag != "CardiologyXML":
            raise ValueError(f"root {tag[:50]}")
        if self._path and self._path[-1] == "WaveformData":
            raise ValueError(f"tag {tag[:50]} among counts")
        if tag == "StripData" and "RestingECGMeasurements" not in self._path:
            self.strips += 1
        elif tag in ("FullDisclosure", "MedianSamples"):
            self.others.add(tag)
        self._path.append(tag)
        self._attributes = {name.lower(): value for name, value in attributes.items()}
        self._text = []

    def data(self, text: str) -> None:
        if self._wanted():
            self._text.append(text)

    def end(self, tag: str) -> None:
        if self._wanted():
            text = "".join(self._text)
            if tag == "WaveformData":
                self.waveforms.append((self._attributes.get("lead", "").strip(), text))
            else:
                kept = self.strip if self._path[-2] == "StripData" else self.measurements
                kept.setdefault(tag, (text, self._attributes.get("units", "")))
        self._path.pop()
        # Text after a closing tag belongs to no value.
        self._text, self._attributes = [], {}

    def close(self) -> _Content:
        return self

    def held(self) -> str:
        """What the file holds in the way of waveforms, for a message."""
        return ", ".join(sorted(self.others)) + " only" if self.others and not self.strips else f"{self.strips} strips"

    def _wanted(self) -> bool:
        """Whether the innermost tag is a value of the strip or a measurement."""
        inner = self._path[-2:]
        strip = inner[0] == "StripData" and "RestingECGMeasurements" not in self._path
        return len(inner) == 2 and (strip or inner[0] == "RestingECGMeasurements")


def _parse(path: Path, subject: str) -> _Content:
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import DefusedXMLParser, ParseError

    path = Path(path)
    if not path.is_file():
        raise reject(path, subject, f"missing {path.suffix or 'file'}", "no file", "a file of this name")
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise reject(path, subject, "unreadable ECG", error.strerror, "a readable file") from error
    if not content.strip(b"\0 \t\r\n"):
        raise reject(path, subject, "empty file", f"{len(content)} bytes", "a CardioSoft file")
    if len(content) > LARGEST:
        raise reject(path, subject, "file too large", f"more than {len(content) - 1} bytes", f"at most {LARGEST}")
    text = _decode(content)
    # Thousands of attributes cost far more memory than the bytes that spell them.
    if re.search(rf"<[^!<>][^<>]{{{_TAG_BYTES}}}", text) or text.count("=") > _ELEMENTS:
        raise reject(path, subject, "unreadable ECG", "absurdly long tags", "a CardioSoft file")
    parser = DefusedXMLParser(target=_Content(), forbid_dtd=True)
    try:
        parser.feed(text)
        return parser.close()
    except DefusedXmlException as error:
        raise reject(path, subject, "forbidden XML", type(error).__name__, "no document type nor entities") from error
    except (ParseError, ValueError, RecursionError) as error:
        raise reject(path, subject, "unreadable ECG", error, "a whole CardioSoft file") from error


def _decode(content: bytes) -> str:
    """Text of `content` by its first bytes, whatever it declares: counts and tags are ASCII in any 8-bit encoding."""
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        # Without a mark the first character, < or a space, has an empty byte beside it.
        if content.startswith(mark) or content[:2] in ("<".encode(encoding), "\n".encode(encoding)):
            return _undeclared(content.decode(encoding, errors="replace"))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.removeprefix(codecs.BOM_UTF8).decode("latin-1")
    return _undeclared(text)


def _undeclared(text: str) -> str:
    """`text` from its root on: a declaration of another encoding, or one after blank lines, would be an error."""
    return re.sub(r"^[\ufeff\s]*(<\?xml[^<>]*\?>)?", "", text, count=1)


def _number(content: _Content, tag: str, units: tuple[str, ...], path: Path, subject: str) -> float:
    """A positive number of the strip in one of `units`."""
    text, unit = content.strip.get(tag, ("none", ""))
    value = _float(text)
    if not 0 < value < math.inf:
        raise reject(path, subject, f"unknown {tag}", text.strip()[:50], "a positive number")
    if unit.strip().lower() not in units:
        raise reject(path, subject, f"unknown unit of {tag}", unit.strip()[:50] or "none", units[0])
    return value


def _float(text: str) -> float:
    """The number that `text` spells, NaN where it spells none, or one that only Python would write."""
    return float(text) if re.fullmatch(r"\s*[-+]?[0-9]{1,12}(\.[0-9]{0,12})?\s*", text) else math.nan


def _counts(name: str, text: str, total: int | None, path: Path, subject: str) -> np.ndarray:
    """Counts (samples,) of a lead; NaN for one that is missing between its commas."""
    if text.count(",") > _SAMPLES:
        raise reject(path, subject, "too many samples", f"{text.count(',')} in lead {name[:50]}", f"at most {_SAMPLES}")
    fields = text.split(",")
    if not fields[-1].strip():
        fields.pop()
    present = [value for value in fields if value.strip()]
    if len(fields) != total:
        # Whatever these empty fields are, they stand for no sample that was announced.
        fields = present
    try:
        # Only digits and white space; int() would also take 1_000 and figures of other scripts.
        if not re.fullmatch(r"[-+0-9\s,]*", text, re.ASCII):
            raise ValueError
        counts = np.array([int(value) for value in present], dtype=np.int32).astype(np.float64)
    except (ValueError, OverflowError) as error:
        found = next((value for value in present if not re.fullmatch(r"\s*[-+]?[0-9]{1,9}\s*", value, re.ASCII)), text)
        raise reject(
            path, subject, "count is no integer", f"{found[:50]!r} in lead {name[:50]}", "an integer"
        ) from error
    if len(fields) == len(present):
        return counts
    whole = np.full(len(fields), np.nan)
    whole[[k for k, value in enumerate(fields) if value.strip()]] = counts
    return whole
