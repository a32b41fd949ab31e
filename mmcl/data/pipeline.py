"""From a folder of raw files to a store: list, read, preprocess, quarantine, write.

Memory stays bounded: workers read and preprocess one subject at a time, and finished rows go straight to disk.
Data that never were files take the same road from `prepare` on.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import mmcl
from mmcl.config import Preset, Profile, fingerprint
from mmcl.data import tables
from mmcl.data.acdc import begin_at_ed, read_acdc
from mmcl.data.cmr_preprocessing import CANVAS, Cine, preprocess_cine
from mmcl.data.cohort import Entry, list_entries, list_subjects, subject_table
from mmcl.data.dicom import read_dicom_zip
from mmcl.data.ecg_features import measure
from mmcl.data.ecg_preprocessing import preprocess_ecg, reduce_sampling_rate
from mmcl.data.manifest import Manifest
from mmcl.data.quarantine import Quarantine, Rejection, Unusable
from mmcl.data.readers import read_ecg, read_nifti, read_nifti_pair
from mmcl.data.signals import Recording, harmonise
from mmcl.data.store import Store, StoreWriter

_log = logging.getLogger(__name__)

_BATCH = 64
"""Rows per write."""


@dataclass(frozen=True)
class Settings:
    """What preprocessing needs to know of the profile, the preset and the cohort; `record` is samples in the store.

    `frame` is the side of the whole frames that are kept beside the crops, 0 where none are (`crop_in_evaluation`).
    """

    sampling_rate: int
    record: int
    crop: int
    centre_crop: bool
    cavity_label: int = 3
    frame: int = 0

    @classmethod
    def of(cls, profile: Profile, preset: Preset, cavity_label: int = 3, matrix: int = CANVAS) -> Settings:
        """`matrix` is the side of the cohort's images, where all are smaller than the published canvas."""
        ecg, cmr = profile.ecg, profile.cmr
        frame = 0 if preset.crop_in_evaluation else min(CANVAS, matrix)
        return cls(ecg.sampling_rate, ecg.record, cmr.crop, preset.centre_crop, cavity_label, frame)

    @property
    def arrays(self) -> dict[str, tuple[int, ...]]:
        """Shape of a row of every array that a store may hold."""
        side, frame = self.crop, self.frame
        shapes = {"ecg": (12, self.record), "cmr": (3, side, side), "heart": (3, side, side)}
        return shapes | ({"frame": (3, frame, frame)} if frame else {})


@dataclass(frozen=True)
class Prepared:
    """One row of the store: arrays by name, `ecg` float16 (12, record), the others uint8 (3, side, side).

    `measured` holds the classical measurements of the ECG, taken while its amplitudes are still in millivolt.
    """

    arrays: dict[str, np.ndarray]
    flags: tuple[str, ...]
    measured: dict[str, float]


def preprocess_cohort(
    manifest: Manifest,
    raw: Path,
    out: Path,
    profile: Profile,
    preset: Preset,
    seed: int,
    workers: int = 1,
    progress: bool = True,
) -> Store:
    """Preprocess the cohort that `manifest` describes from the folder `raw` into the store `out`.

    `seed` decides the split. `workers` processes read and preprocess; the store's bytes do not depend on their number.
    `progress` shows a bar at a terminal. What cannot be used is listed in the store's `quarantine.csv`, and counted in
    `store.meta["counts"]`. Raises ValueError for a cohort without subjects, or without one that can be used.
    """
    raw = Path(raw)
    if not raw.is_dir():
        raise ValueError(f"{raw}: no such folder; expected the raw files of the cohort {manifest.name}")
    participants = tables.read_table(raw / manifest.tables.participants) if manifest.tables.participants else None
    subjects, quarantine, withdrawn = list_subjects(manifest, raw, participants)
    entries = list_entries(manifest, raw, subjects, participants)
    table = subject_table(manifest, raw, entries, participants, profile.cohort, seed, preset.whole_icd_list)
    settings = Settings.of(profile, preset, manifest.cavity_label, image_side(manifest, profile))

    names = [name for name, pattern in (("ecg", manifest.files.ecg), ("cmr", manifest.files.cmr)) if pattern]
    names += ["heart"] if manifest.files.segmentation else []
    names += ["frame"] if manifest.files.cmr and settings.frame else []
    results = _prepare_all(manifest, raw, settings, entries, workers)
    provenance = {"manifest": dataclasses.asdict(manifest), **describe(profile, preset, seed)}
    return write_store(out, table, results, names, settings, provenance, quarantine, {"withdrawn": withdrawn}, progress)


def image_side(manifest: Manifest, profile: Profile) -> int:
    """Side of the frames of a cohort: that of the profile's simulation, else the published canvas."""
    return profile.cohort.matrix if manifest.split.rule == "profile" else CANVAS


def describe(profile: Profile, preset: Preset, seed: int) -> dict:
    """Provenance of a store: what its bytes depend on besides the raw data, and no time of day."""
    choices = (preset.centre_crop, preset.crop_in_evaluation, preset.whole_icd_list)
    return {
        "package": f"mmcl {mmcl.__version__}",
        "profile": profile.name,
        "preset": preset.name,
        "seed": seed,
        "sampling_rate": profile.ecg.sampling_rate,
        "crop": profile.cmr.crop,
        "fingerprint": fingerprint(profile.cohort, profile.ecg, profile.cmr, choices, seed),
    }


def prepare(
    recording: Recording | None, cine: Cine | None, settings: Settings, es_frame: int | None = None
) -> Prepared | Rejection:
    """Preprocess what a subject has, from files or from memory; the reason instead where it cannot be used."""
    arrays: dict[str, np.ndarray] = {}
    flags: tuple[str, ...] = ()
    measured: dict[str, float] = {}
    try:
        if recording is not None:
            ecg = harmonise(recording)
            signal = reduce_sampling_rate(preprocess_ecg(ecg.signal[None])[0], settings.sampling_rate)
            arrays["ecg"] = signal.astype(np.float16)
            flags += ecg.flags
            measured = {f"ecg_{name}": value for name, value in measure(ecg.signal[None]).iloc[0].items()}
        if cine is not None:
            heart = preprocess_cine(
                cine, settings.crop, settings.centre_crop, settings.cavity_label, es_frame, settings.frame
            )
            arrays["cmr"] = heart.images
            if heart.whole is not None:
                arrays["frame"] = heart.whole
            if heart.labels is not None:
                arrays["heart"] = heart.labels
            flags += heart.flags
    except Unusable as unusable:
        return unusable.rejection
    return Prepared(arrays, flags, measured)


def write_store(
    out: Path,
    table: pd.DataFrame,
    results: Iterable[Prepared | Rejection],
    names: list[str],
    settings: Settings,
    provenance: dict,
    quarantine: Quarantine | None = None,
    counts: dict | None = None,
    progress: bool = True,
) -> Store:
    """Write results, one per row of `table` and in its order, as they come; rejections go to the quarantine.

    `names` are the arrays of the store; a result without labels has zeros in `heart` and the flag `labels:none`.
    """
    from tqdm import tqdm

    quarantine = Quarantine() if quarantine is None else quarantine
    found = len(table) + len(quarantine)
    shapes = settings.arrays
    flags: Counter[str] = Counter()
    with StoreWriter(out, {name: shapes[name] for name in names}, provenance) as writer:
        bar = tqdm(results, total=len(table), unit="subject", desc="preprocess", disable=None if progress else True)
        pairs = zip(range(len(table)), bar, strict=True)
        while batch := list(itertools.islice(pairs, _BATCH)):
            kept = [(row, result) for row, result in batch if isinstance(result, Prepared)]
            for _, result in batch:
                if isinstance(result, Rejection):
                    quarantine.add(result)
            if not kept:
                continue
            rows = table.iloc[[row for row, _ in kept]].copy()
            marks = [_marks(result, names) for _, result in kept]
            rows["flags"] = [";".join(mark) for mark in marks]
            measured = pd.DataFrame([result.measured for _, result in kept], index=rows.index)
            rows = rows.join(measured.astype(np.float32))
            flags.update(kind for mark in marks for kind in {flag.partition(":")[0] for flag in mark})
            empty = np.zeros(shapes["heart"], np.uint8)
            writer.append(rows, **{n: np.stack([result.arrays.get(n, empty) for _, result in kept]) for n in names})
        if not writer.rows:
            raise ValueError(f"{out}: no recording can be used; {quarantine.summary(found)}; {_first(quarantine)}")
        quarantine.write(writer.path("quarantine.csv"))
        writer.counts = {
            "found": found,
            "used": writer.rows,
            "quarantined": quarantine.counts(),
            "flags": dict(sorted(flags.items())),
            "summary": quarantine.summary(found),
            **(counts or {}),
        }
    _log.info("%s: %s", out, quarantine.summary(found))
    return Store.open(out)


def _prepare_all(
    manifest: Manifest, raw: Path, settings: Settings, entries: list[Entry], workers: int
) -> Iterator[Prepared | Rejection]:
    """Results in the order of the entries, from this process or from `workers` others."""
    if workers <= 1:
        return (_read_and_prepare(manifest, raw, settings, entry) for entry in entries)
    from joblib import Parallel, delayed, parallel_config

    with parallel_config("loky", n_jobs=workers, inner_max_num_threads=1):
        parallel = Parallel(return_as="generator", pre_dispatch="8*n_jobs", batch_size=4)
    return parallel(delayed(_read_and_prepare)(manifest, raw, settings, entry) for entry in entries)


def _read_and_prepare(manifest: Manifest, raw: Path, settings: Settings, entry: Entry) -> Prepared | Rejection:
    try:
        recording, cine = _read(manifest, entry)
        result = prepare(recording, cine, settings)
    except Unusable as unusable:
        result = unusable.rejection
    if isinstance(result, Rejection):
        # Relative names, so that the quarantine is the same wherever the raw folder lies.
        names = {name: getattr(result, name).replace(f"{raw}/", "") for name in ("file", "value")}
        result = dataclasses.replace(result, **names)
    return result


def _read(manifest: Manifest, entry: Entry) -> tuple[Recording | None, Cine | None]:
    files, subject = entry.files, entry.subject
    recording = read_ecg(manifest.readers.ecg, files["ecg"], subject, entry.row) if "ecg" in files else None
    return recording, read_cine(manifest, entry) if "cmr" in files else None


def read_cine(manifest: Manifest, entry: Entry) -> Cine:
    """The short-axis images of an entry by the manifest's reader, from end-diastole on; `Unusable` says why not."""
    files, subject = entry.files, entry.subject
    labels = files.get("segmentation")
    if manifest.readers.cmr == "nifti_pair":
        pair = (labels, files["segmentation_es"]) if labels else None
        return read_nifti_pair(files["cmr"], files["cmr_es"], subject, pair)
    if manifest.readers.cmr == "acdc":
        return read_acdc(files["cmr"], subject)
    read = read_dicom_zip if manifest.readers.cmr == "dicom_zip" else read_nifti
    cine = read(files["cmr"], subject, labels if labels and labels.is_file() else None)
    return begin_at_ed(cine, entry.ed_frame, entry.es_frame)


def _marks(result: Prepared, names: list[str]) -> tuple[str, ...]:
    missing = ("labels:none",) if "heart" in names and "heart" not in result.arrays else ()
    return (*result.flags, *missing)


def _first(quarantine: Quarantine) -> str:
    return f"the first: {quarantine.rejections[0]}" if len(quarantine) else "there were none"
