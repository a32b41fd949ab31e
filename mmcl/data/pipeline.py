"""From a folder of raw files to a store: list, read, preprocess, quarantine, write.

Memory stays bounded: workers read and preprocess one subject at a time, and finished rows go straight to disk. A run
that was interrupted goes on after the last batch that is on disk. Data that never were files take the same road from
`prepare` on.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

import mmcl
from mmcl.config import Preset, Profile, fingerprint
from mmcl.data import checksums
from mmcl.data.acdc import begin_at_ed, read_acdc
from mmcl.data.cmr_preprocessing import CANVAS, Cine, preprocess_cine
from mmcl.data.cohort import Entry, list_cohort
from mmcl.data.dicom import read_dicom_zip
from mmcl.data.ecg_features import measure
from mmcl.data.ecg_preprocessing import preprocess_ecg, reduce_sampling_rate
from mmcl.data.labels import label_tasks
from mmcl.data.manifest import Manifest
from mmcl.data.quality import count_flags
from mmcl.data.quarantine import Quarantine, Rejection, Unusable
from mmcl.data.readers import read_ecg, read_nifti, read_nifti_pair
from mmcl.data.signals import Recording, harmonise
from mmcl.data.store import QUARANTINE, SUBJECTS, Store
from mmcl.data.store_writer import StoreWriter
from mmcl.data.subjects import subject_table
from mmcl.data.workers import in_order
from mmcl.privacy import guard
from mmcl.provenance import code_fingerprint, write_text

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
    dask: str = "",
    strict: bool = False,
    splits: Path | None = None,
) -> Store:
    """Preprocess the cohort that `manifest` describes from the folder `raw` into the store `out`.

    `seed` decides the split. `workers` processes read and preprocess, or with `dask` those of the cluster whose
    scheduler listens at that address; the store's bytes depend on neither. `progress` shows a bar at a terminal. What
    cannot be used is listed in the store's `quarantine.csv`, and counted in `store.meta["counts"]`; with `strict` it is
    a ValueError, after all has been looked at, and the list lies beside `out`.

    Where the manifest splits by fractions, subjects keep the split that they have in the store `splits`, by default in
    `out` itself if it was made from the same manifest and seed, and added ones fill up the shares.

    A run that was interrupted, even killed, goes on where it was if raw files, numbers and code are the same. Raises
    ValueError for a cohort without subjects, or without one that can be used, and for a restricted cohort that would be
    written where git could track it.
    """
    raw, out = Path(raw), Path(out)
    if not raw.is_dir():
        raise ValueError(f"{raw}: no such folder; expected the raw files of the cohort {manifest.name}")
    guard(out, manifest.restricted)
    listing = list_cohort(manifest, raw)
    kept = _kept_splits(manifest, seed, splits, out)
    table = subject_table(manifest, raw, listing, profile.cohort, seed, preset.whole_icd_list, kept)
    settings = Settings.of(profile, preset, manifest.cavity_label, image_side(manifest, profile))

    names = [name for name, pattern in (("ecg", manifest.files.ecg), ("cmr", manifest.files.cmr)) if pattern]
    names += ["heart"] if manifest.files.segmentation else []
    names += ["frame"] if manifest.files.cmr and settings.frame else []
    entries, read = listing.entries, functools.partial(_read_and_prepare, manifest, raw, settings)
    provenance = describe(manifest, profile, preset, seed)
    return write_store(
        out,
        table,
        lambda start: in_order(read, entries[start:], workers, dask),
        names,
        settings,
        provenance,
        listing.quarantine,
        {"withdrawn": listing.withdrawn},
        progress,
        _origin(provenance, table, entries),
        strict,
    )


def _origin(provenance: dict, table: pd.DataFrame, entries: list[Entry]) -> str:
    """Fingerprint of all that decides what is written: numbers, code, table, and names, sizes and times of files."""
    code = code_fingerprint("mmcl.data.pipeline")
    digest = hashlib.sha256(table.to_csv().encode())
    for entry in entries:
        for path in entry.files.values():
            state = path.stat() if path.is_file() else None
            digest.update(repr((str(path), state and (state.st_size, state.st_mtime_ns))).encode())
    return fingerprint(provenance, code, digest.hexdigest())


def _kept_splits(manifest: Manifest, seed: int, splits: Path | None, out: Path) -> dict[str, str]:
    """Subject -> split of an earlier store; empty without one, or where it was split by another rule."""
    folder = splits or out
    if manifest.split.rule != "fractions" or (splits is None and not (out / "store.json").is_file()):
        return {}
    store = Store.open(folder)
    made = store.meta["provenance"]
    rule = json.loads(json.dumps(dataclasses.asdict(manifest.split)))
    same = made.get("seed") == seed and made.get("manifest", {}).get("split") == rule
    same = same and made["manifest"]["name"] == manifest.name
    if not same:
        if splits:
            raise ValueError(f"{folder}: was split by another manifest, rule or seed; its splits cannot be kept")
        return {}
    return dict(zip(store.subjects["subject"], store.subjects["split"], strict=True))


def image_side(manifest: Manifest, profile: Profile) -> int:
    """Side of the frames of a cohort: that of the profile's simulation, else the published canvas."""
    return profile.cohort.matrix if manifest.split.rule == "profile" else CANVAS


def describe(manifest: Manifest, profile: Profile, preset: Preset, seed: int) -> dict:
    """Provenance of a store: what its bytes depend on besides the raw data and the code, and no time of day."""
    choices = (preset.centre_crop, preset.crop_in_evaluation, preset.whole_icd_list)
    return {
        "package": f"mmcl {mmcl.__version__}",
        "manifest": dataclasses.asdict(manifest),
        "tasks": label_tasks(manifest.labels),
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
    results: Callable[[int], Iterable[Prepared | Rejection]],
    names: list[str],
    settings: Settings,
    provenance: dict,
    quarantine: Quarantine | None = None,
    counts: dict | None = None,
    progress: bool = True,
    made_from: str = "",
    strict: bool = False,
) -> Store:
    """Write results, one per row of `table` and in its order, as they come; rejections go to the quarantine.

    `results` gives them from a row on, so that a run with the same `made_from` goes on where it was interrupted.
    `names` are the arrays of the store; a result without labels has zeros in `heart` and the flag `labels:none`.
    `quarantine` holds what was left out before. `strict`: see `preprocess_cohort`.
    """
    before = [] if quarantine is None else quarantine.rejections
    shapes = {name: settings.arrays[name] for name in names}
    empty = {name: np.zeros((0, *shape), np.uint8) for name, shape in shapes.items()}
    with StoreWriter(out, shapes, provenance, made_from) as writer:
        if not writer.settled:
            writer.append(table.iloc[:0], before, **empty)
        start = writer.settled - len(before)
        bar = tqdm(
            results(start),
            total=len(table),
            initial=start,
            unit="subject",
            desc="preprocess",
            disable=None if progress else True,
        )
        pairs = zip(range(start, len(table)), bar, strict=True)
        while batch := list(itertools.islice(pairs, _BATCH)):
            kept = [(row, result) for row, result in batch if isinstance(result, Prepared)]
            rejected = [result for _, result in batch if isinstance(result, Rejection)]
            rows, arrays = _rows(table, kept, names, settings) if kept else (table.iloc[:0], empty)
            writer.append(rows, rejected, **arrays)
        found = Quarantine(writer.rejections())
        total = len(table) + len(before)
        if not writer.rows:
            writer.discard()
            raise ValueError(f"{out}: no recording can be used; {found.summary(total)}; {_first(found)}")
        if strict and len(found):
            listed = out.with_name(f"{out.name}-quarantine.csv")
            write_text(listed, writer.path(QUARANTINE).read_text(encoding="utf-8"))
            raise ValueError(f"{out}: not written, as STRICT asks; {found.summary(total)}; see {listed}")
        writer.counts = {
            "found": total,
            "used": writer.rows,
            "quarantined": found.counts(),
            **count_flags(writer.path(SUBJECTS)),
            "summary": found.summary(total),
            **(counts or {}),
        }
    _log.info("%s: %s", out, found.summary(total))
    return Store.open(out)


def _rows(
    table: pd.DataFrame, kept: list[tuple[int, Prepared]], names: list[str], settings: Settings
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Rows of the table of subjects with flags and measurements, and of the arrays."""
    rows = table.iloc[[row for row, _ in kept]].copy()
    rows["flags"] = [";".join(_marks(result, names)) for _, result in kept]
    measured = pd.DataFrame([result.measured for _, result in kept], index=rows.index)
    empty = np.zeros(settings.arrays["heart"], np.uint8)
    arrays = {name: np.stack([result.arrays.get(name, empty) for _, result in kept]) for name in names}
    return rows.join(measured.astype(np.float32)), arrays


def _read_and_prepare(manifest: Manifest, raw: Path, settings: Settings, entry: Entry) -> Prepared | Rejection:
    try:
        for path, expected in entry.checksums.items():
            if path.is_file():
                checksums.check(path, expected, entry.subject)
        recording, cine = _read(manifest, entry)
        result = prepare(recording, cine, settings)
    except Unusable as unusable:
        result = unusable.rejection
    if isinstance(result, Rejection):
        # Relative names, so that the quarantine is the same wherever the raw folder lies.
        names = {name: entry.conceal(getattr(result, name).replace(f"{raw}/", "")) for name in ("file", "value")}
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
