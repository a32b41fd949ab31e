"""Short-axis cines of simulated subjects as UK Biobank gives them out (field 20209): a zip of DICOM files a subject.

One file a frame, one series a slice, `CINE_segmented_SAX_b1` at the base, beside a `manifest.csv` whose dates hold an
unquoted comma. Pixels are the simulated ones, 8 bits in 16, so nothing is lost. `Oddities` adds what real zips hold.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

RIGHT, DOWN = (0.6, 0.8, 0.0), (-0.36, 0.27, -0.893029)
"""Directions of an image's rows and columns in patient axes (left, posterior, superior), as a short axis is planned."""

THICKNESS = 8.0  # mm
BEAT = 900.0  # ms, shared out among the frames

_ROOT = "1.2.826.0.1.3680043.10.1338"
_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
_FIXED_TIME = (2020, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Oddities:
    """What real zips hold besides one clean series a slice; slices and frames count from 0.

    `repeated` slices were taken before, displaced; `broken_repeats` were taken again afterwards but broken off after
    three frames; `missing` (slice, frame) pairs are absent; `inline` adds a series of drawn contours; `mixed` puts all
    slices in one series; `cropped` slices have a smaller matrix; `renamed` gives slices' numbers in that order;
    `bare` files have neither preamble nor meta information; `shuffled` members lie in no order; `misspelt` calls the
    list of files `manifest.cvs`; `turned` images are stored upside down and mirrored.
    """

    repeated: tuple[int, ...] = ()
    broken_repeats: tuple[int, ...] = ()
    missing: tuple[tuple[int, int], ...] = ()
    inline: bool = False
    mixed: bool = False
    cropped: tuple[int, ...] = ()
    renamed: tuple[int, ...] = ()
    bare: bool = False
    shuffled: bool = False
    misspelt: bool = False
    turned: bool = False


def write_dicom_zip(
    path: Path, subject: str, cine: np.ndarray, spacing: tuple[float, float, float], oddities: Oddities | None = None
) -> None:
    """Write `cine` (slices, frames, rows, columns) uint8, base to apex; `spacing` mm a column, a row and a slice."""
    odd = Oddities() if oddities is None else oddities
    writer = _Writer(subject, spacing, odd)
    count = len(cine)
    for k, movie in enumerate(cine):
        number = odd.renamed[k] if odd.renamed else k + 1
        name = "CINE_segmented_SAX" if odd.mixed else f"CINE_segmented_SAX_b{number}"
        if k in odd.repeated:
            writer.add_series(name, 10 + k, k, count, np.roll(movie, 7, axis=2)[::-1], len(movie))
        kept = [frame for frame in range(len(movie)) if (k, frame) not in odd.missing]
        writer.add_series(name, 30 if odd.mixed else 30 + k, k, count, movie, len(movie), kept, odd.mixed)
        if k in odd.broken_repeats:
            writer.add_series(name, 60 + k, k, count, np.roll(movie, 7, axis=2), len(movie), [0, 1, 2])
        if odd.inline:
            drawn = np.full_like(movie, 255)
            writer.add_series("CINE_segmented_SAX_InlineVF", 90 + k, k, count, drawn, len(movie))
    writer.write(path)


def write_dicom_folder(raw: Path, folder: Path, oddities: Oddities | None = None) -> list[Path]:
    """Zips `<eid>_20209_2_0.zip` in `folder` from the NIfTI cines of the simulated cohort exported to `raw`."""
    import nibabel

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for source in sorted((raw / "cmr").glob("*.nii.gz")):
        subject = source.name.removesuffix(".nii.gz")
        if subject.endswith("_seg"):
            continue
        image = nibabel.load(source)
        cine = np.asarray(image.dataobj).transpose(2, 3, 1, 0)
        written.append(folder / f"{subject}_20209_2_0.zip")
        spacing = tuple(float(size) for size in image.header.get_zooms()[:3])
        write_dicom_zip(written[-1], subject, cine, spacing, oddities)
    return written


class _Writer:
    """Collects the files of one zip; the same input gives the same bytes."""

    def __init__(self, subject: str, spacing: tuple[float, float, float], odd: Oddities):
        self.subject, self.spacing, self.odd = subject, spacing, odd
        self.files: list[tuple[str, bytes]] = []
        self.lines = ["filename,patientid,studyid,date,series discription,series number"]

    def add_series(
        self,
        description: str,
        number: int,
        place: int,
        slices: int,
        movie: np.ndarray,
        announced: int,
        kept: list[int] | None = None,
        mixed: bool = False,
    ) -> None:
        """Files of one slice; `place` of `slices` from the base; frames `kept`, all of them where None."""
        from pydicom.uid import UID

        right, down = np.array(RIGHT), np.array(DOWN)
        apex = np.cross(down, right)
        x, y, distance = self.spacing
        corner = apex * distance * (place - slices / 2) - right * x * movie.shape[2] / 2 - down * y * movie.shape[1] / 2
        if place in self.odd.cropped:
            movie = movie[:, 8:-8, 8:-8]
            corner = corner + 8 * (right * x + down * y)
        if self.odd.turned:
            corner = corner + right * x * (movie.shape[2] - 1) + down * y * (movie.shape[1] - 1)
            movie, right, down = movie[:, ::-1, ::-1], -right, -down
        dataset = _template(self.subject)
        dataset.SeriesInstanceUID = UID(f"{_ROOT}.{_digits(self.subject)}.{number}")
        dataset.SeriesDescription, dataset.SeriesNumber = description, number
        dataset.SeriesTime = f"12{number // 60:02d}{number % 60:02d}"
        dataset.CardiacNumberOfImages = announced
        dataset.Rows, dataset.Columns = movie.shape[1:]
        dataset.PixelSpacing, dataset.SpacingBetweenSlices = [y, x], distance
        dataset.ImagePositionPatient = [f"{value:.6f}" for value in corner]
        dataset.ImageOrientationPatient = [f"{value:.6f}" for value in (*right, *down)]
        dataset.SliceLocation = f"{apex @ corner:.6f}"
        for frame in range(len(movie)) if kept is None else kept:
            dataset.InstanceNumber = 1 + frame + (place * len(movie) if mixed else 0)
            dataset.TriggerTime = f"{BEAT * frame / len(movie):.2f}"
            dataset.SOPInstanceUID = UID(f"{dataset.SeriesInstanceUID}.{dataset.InstanceNumber}")
            dataset.PixelData = movie[frame].astype("<u2").tobytes()
            name = f"{dataset.SOPInstanceUID}.dcm"
            self.files.append((name, _encode(dataset, self.odd.bare)))
            self.lines.append(f"{name},{self.subject},Heart,Jan 1, 2020,{description},{number}")

    def write(self, path: Path) -> None:
        files = self.files
        if self.odd.shuffled:
            files = sorted(files, key=lambda file: hashlib.sha256(file[0].encode()).digest())
        listed = "manifest.cvs" if self.odd.misspelt else "manifest.csv"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, data in [*files, (listed, "\n".join(self.lines).encode())]:
                archive.writestr(zipfile.ZipInfo(name, _FIXED_TIME), data, zipfile.ZIP_DEFLATED)


def _template(subject: str) -> Dataset:
    """What all files of a study share."""
    from pydicom.dataset import Dataset

    dataset = Dataset()
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "RETRO", "NORM", "DIS2D"]
    dataset.SOPClassUID, dataset.Modality, dataset.Manufacturer = _MR_IMAGE, "MR", "SIEMENS"
    dataset.StudyDescription, dataset.ImageComments = "Heart", "simulated"
    dataset.StudyDate = dataset.SeriesDate = "20200101"
    dataset.PatientID, dataset.PatientName = subject, subject
    dataset.StudyInstanceUID = f"{_ROOT}.{_digits(subject)}"
    dataset.MagneticFieldStrength, dataset.SliceThickness = "1.5", f"{THICKNESS:g}"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    return dataset


def _encode(dataset: Dataset, bare: bool) -> bytes:
    from pydicom.dataset import FileMetaDataset
    from pydicom.filewriter import dcmwrite
    from pydicom.uid import ExplicitVRLittleEndian

    buffer = BytesIO()
    if bare:
        dcmwrite(buffer, dataset, implicit_vr=False, little_endian=True)
        return buffer.getvalue()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = _MR_IMAGE
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _digits(subject: str) -> int:
    return int.from_bytes(hashlib.sha256(subject.encode()).digest()[:6], "big")
