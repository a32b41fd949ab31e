"""The few elements of a DICOM header that a study is ordered by, read without building a data set.

A zip holds 600 headers, and pydicom takes longer to parse them than they take to be unpacked. Here elements are walked
over in the one encoding that scanners write, Explicit VR Little Endian; whatever is not plainly that is pydicom's to
read. Encoding: DICOM PS3.5, section 7.1.2, and PS3.10, section 7.1.
"""

from __future__ import annotations

import struct

WANTED = {
    0x0008103E: "SeriesDescription",
    0x0020000E: "SeriesInstanceUID",
    0x00200011: "SeriesNumber",
    0x00080031: "SeriesTime",
    0x00181060: "TriggerTime",
    0x00200013: "InstanceNumber",
    0x00181090: "CardiacNumberOfImages",
    0x00200032: "ImagePositionPatient",
    0x00200037: "ImageOrientationPatient",
    0x00201041: "SliceLocation",
    0x00280010: "Rows",
    0x00280011: "Columns",
    0x00280008: "NumberOfFrames",
    0x00280030: "PixelSpacing",
}
"""Tag and keyword of each element that is read."""

LAST_WANTED = 0x00281055
"""Tags come in ascending order; private groups, which may be long, and pixels come later."""

_PREAMBLE = 128
_SYNTAX = 0x00020010
_EXPLICIT = b"1.2.840.10008.1.2.1"
_SHORT = set(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
_LONG = set(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_TEXT = set(b"CS DS IS LO SH TM UI".split())
_HEAD, _WIDE = struct.Struct("<HH2sH"), struct.Struct("<I")

Value = str | int | tuple[str, ...]


def scan_header(data: bytes) -> dict[str, Value] | None:
    """Values of `WANTED` elements by keyword from the head of a file, several of one element as a tuple.

    Numbers in text stay text. None for a file in another encoding, one that is damaged, and one that ends before an
    element beyond `LAST_WANTED`.
    """
    if data[_PREAMBLE : _PREAMBLE + 4] != b"DICM":
        return None
    found: dict[str, Value] = {}
    place, size, explicit = _PREAMBLE + 4, len(data), False
    while place + 8 <= size:
        group, element, kind, length = _HEAD.unpack_from(data, place)
        tag = group << 16 | element
        if tag > LAST_WANTED:
            return found if explicit else None
        if kind in _SHORT:
            place += 8
        elif kind in _LONG and place + 12 <= size:
            (length,) = _WIDE.unpack_from(data, place + 8)
            place += 12
        else:
            return None
        # An undefined length, 2^32 - 1, ends beyond any head of a file too.
        if place + length > size:
            return None
        if tag == _SYNTAX:
            explicit = data[place : place + length].rstrip(b"\0 ") == _EXPLICIT
        elif group > 2 and not explicit:
            return None
        elif tag in WANTED:
            value = _value(kind, data[place : place + length])
            if value is None:
                return None
            found[WANTED[tag]] = value
        place += length
    return None


def _value(kind: bytes, raw: bytes) -> Value | None:
    if kind == b"US" and len(raw) == 2:
        return int.from_bytes(raw, "little")
    if kind not in _TEXT or not raw.isascii():
        return None
    parts = tuple(part.strip("\0 ") for part in raw.decode("ascii").split("\\"))
    return parts if len(parts) > 1 else parts[0]
