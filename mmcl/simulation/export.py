"""Raw files of the simulated cohort, in the shapes that a user of UK Biobank would have.

| file | holds |
|---|---|
| `ecg/<eid>.hea`, `.dat` | WFDB record, 12 leads, 10 s, 500 Hz, 5 microvolt a count |
| `cmr/<eid>.nii.gz` | short-axis cine, uint8 (x, y, slice, time), frame 0 at end-diastole |
| `cmr/<eid>_seg.nii.gz` | labels of the same shape: 1 RV, 2 myocardium, 3 LV cavity, 4 scar |
| `participants.tsv`, `phenotypes.tsv`, `records.tsv` | columns `<field>-<instance>.<array>` |
| `truth.tsv` | what no real cohort has: disease whether recorded or not, scar, intervals |
| `cohort.json` | written last: what the files were made from |
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mmcl.config import DISEASES, LEADS, RAW_SAMPLING_RATE, CohortConfig, fingerprint
from mmcl.phenotypes import PHENOTYPES
from mmcl.provenance import code_fingerprint, is_finished, write_json
from mmcl.simulation.cine import render_cine
from mmcl.simulation.electrocardiogram import Electrocardiogram, simulate_ecg
from mmcl.simulation.heart import Hearts, build_hearts
from mmcl.simulation.phenotypes import measure
from mmcl.simulation.population import sample_people
from mmcl.simulation.random import uniform

COUNTS_PER_MILLIVOLT = 200
MARKER = "cohort.json"
_CHUNK = 20
"""Subjects simulated together: enough to fill vectors, few enough for a small memory."""

CODES = {
    "CAD": ("I251", "I259", "I252", "I209", "I249"),
    "AF": ("I48", "I480", "I489"),
    "DM": ("E119", "E149", "E109"),
    "hypertension": ("I10",),
}
"""ICD-10 codes that a hospital record may hold for each disease, commonest first."""


@dataclass(frozen=True)
class Subjects:
    """Hearts of some subjects with all that is recorded of them."""

    hearts: Hearts
    ecg: Electrocardiogram
    participants: pd.DataFrame
    phenotypes: pd.DataFrame
    records: pd.DataFrame
    truth: pd.DataFrame


def simulate_subjects(seed: int, cohort: CohortConfig, subject: torch.Tensor) -> Subjects:
    """Everything but the images of subjects with indices `subject` (n,) int64, on its device."""
    hearts = build_hearts(seed, sample_people(seed, subject, cohort.odds))
    ecg = simulate_ecg(seed, hearts)
    eid = [identifier(k) for k in subject.tolist()]
    return Subjects(
        hearts,
        ecg,
        _participants(eid, hearts),
        _phenotypes(eid, hearts, seed, cohort.missing_phenotypes),
        _records(eid, hearts, seed),
        _truth(eid, hearts, ecg),
    )


def identifier(subject: int) -> str:
    """Name of a simulated subject, which no cohort of people uses."""
    return f"sim{subject:07d}"


def export_raw(seed: int, cohort: CohortConfig, folder: Path, workers: int = 1, progress: bool = True) -> Path:
    """Write the raw files of the whole cohort into `folder`, unless they are there already.

    `cohort.json` appears when all the rest is written, so an interrupted export is never taken for a whole one.
    """
    mark = fingerprint(seed, cohort, code_fingerprint("mmcl.simulation.export"))
    marker = folder / MARKER
    if is_finished(marker, mark):
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    tables = list(_chunks(seed, cohort, folder, workers, progress))
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("participants", "phenotypes", "records", "truth"):
        table = pd.concat([part[name] for part in tables], ignore_index=True)
        table.to_csv(folder / f"{name}.tsv", sep="\t", index=False, float_format="%.6g", lineterminator="\n")
    odds = dict(zip(DISEASES, cohort.odds, strict=True))
    write_json(
        marker,
        {"fingerprint": mark, "subjects": cohort.size, "seed": seed, "files": cohort.raw_files, "disease_odds": odds},
    )
    return folder


def _chunks(seed: int, cohort: CohortConfig, folder: Path, workers: int, progress: bool) -> Iterator[dict]:
    from joblib import Parallel, delayed
    from tqdm import tqdm

    starts = range(0, cohort.size, _CHUNK)
    jobs = (delayed(_export_chunk)(seed, cohort, folder, k, min(k + _CHUNK, cohort.size)) for k in starts)
    results = Parallel(n_jobs=workers, return_as="generator")(jobs)
    return tqdm(results, total=len(starts), unit="chunk", desc="simulating", disable=None if progress else True)


def _export_chunk(seed: int, cohort: CohortConfig, folder: Path, first: int, last: int) -> dict[str, pd.DataFrame]:
    subjects = simulate_subjects(seed, cohort, torch.arange(first, last))
    if cohort.raw_files:
        for name in ("ecg", "cmr"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        cine = render_cine(seed, subjects.hearts, cohort)
        spacing = (cohort.spacing, cohort.spacing, cine.slice_distance)
        for row, k in enumerate(range(first, last)):
            write_ecg(folder / "ecg" / identifier(k), subjects.ecg.signal[row].numpy())
            write_cine(folder / "cmr" / f"{identifier(k)}.nii.gz", cine.images[row].numpy(), spacing)
            write_cine(folder / "cmr" / f"{identifier(k)}_seg.nii.gz", cine.labels[row].numpy(), spacing)
    names = ("participants", "phenotypes", "records", "truth")
    return {name: getattr(subjects, name) for name in names}


def write_ecg(path: Path, signal: np.ndarray) -> None:
    """Write `signal` (12, samples) mV at 500 Hz as the WFDB record `path` (.hea, .dat)."""
    import wfdb

    counts = np.clip(np.round(signal.T * COUNTS_PER_MILLIVOLT), -32767, 32767).astype(np.int16)
    wfdb.wrsamp(
        path.name,
        fs=RAW_SAMPLING_RATE,
        units=["mV"] * len(LEADS),
        sig_name=list(LEADS),
        d_signal=counts,
        fmt=["16"] * len(LEADS),
        adc_gain=[float(COUNTS_PER_MILLIVOLT)] * len(LEADS),
        baseline=[0] * len(LEADS),
        comments=["simulated"],
        write_dir=str(path.parent),
    )


def write_cine(path: Path, frames: np.ndarray, spacing: tuple[float, float, float]) -> None:
    """Write `frames` (slices, frames, rows, columns) uint8 as 4-D NIfTI (x, y, slice, time), `spacing` in mm."""
    import nibabel

    image = nibabel.Nifti1Image(np.ascontiguousarray(frames.transpose(3, 2, 0, 1)), np.diag([*spacing, 1.0]))
    image.header.set_zooms((*spacing, 1.0))
    image.header.set_xyzt_units("mm", "unknown")
    image.header["descrip"] = b"simulated"
    nibabel.save(image, path)


def _participants(eid: list[str], hearts: Hearts) -> pd.DataFrame:
    people = hearts.people
    fields = {
        "31-0.0": (~people.female).long(),
        "21003-2.0": people.age,
        "50-2.0": people.height * 100,
        "21002-2.0": people.weight,
        "4080-2.0": people.systolic,
        "4079-2.0": people.diastolic,
    }
    return pd.DataFrame({"eid": eid, **{name: value.cpu().numpy() for name, value in fields.items()}})


def _phenotypes(eid: list[str], hearts: Hearts, seed: int, missing: float) -> pd.DataFrame:
    measured = measure(hearts)
    gone = (uniform(seed, hearts.people.subject, "missing phenotype", len(PHENOTYPES)) < missing).cpu().numpy()
    columns = {
        f"{phenotype.field}-2.0": np.where(gone[:, k], np.nan, measured[phenotype.name])
        for k, phenotype in enumerate(PHENOTYPES)
    }
    return pd.DataFrame({"eid": eid, **columns})


def _records(eid: list[str], hearts: Hearts, seed: int) -> pd.DataFrame:
    """Hospital diagnoses; a silent disease leaves none, and the table has as many columns as the longest record."""
    people = hearts.people
    present = {name: getattr(people, name.lower()) for name in CODES}
    for k, disease in enumerate(DISEASES):
        present[disease] = present[disease] & ~people.silent[:, k]
    draw = uniform(seed, people.subject, "icd code", len(CODES)).cpu().numpy()
    rows = []
    for row in range(len(eid)):
        codes = []
        for k, (name, choices) in enumerate(CODES.items()):
            if present[name][row]:
                # Squaring the draw makes the first codes of a list the commonest.
                codes.append(choices[int(draw[row, k] ** 2 * len(choices))])
        rows.append(codes + [""] * (len(CODES) - len(codes)))
    table = pd.DataFrame(rows, columns=[f"41270-0.{k}" for k in range(len(CODES))])
    return pd.concat([pd.Series(eid, name="eid"), table], axis=1)


def _truth(eid: list[str], hearts: Hearts, ecg: Electrocardiogram) -> pd.DataFrame:
    people = hearts.people
    fields = {name: getattr(people, name) for name in ("cad", "af", "in_af", "dm", "hypertension", "lbbb", "rbbb")}
    fields |= {"culprit": people.culprit, "heart_rate": hearts.heart_rate, "conduction": hearts.conduction}
    fields |= {name: getattr(ecg, name) for name in ("pr", "qrs", "qt", "axis")}
    table = {name: value.cpu().numpy() for name, value in fields.items()}
    for name in ("cad", "af", "in_af", "dm", "hypertension", "lbbb", "rbbb"):
        table[name] = table[name].astype(int)
    scar = hearts.transmurality.cpu().numpy()
    return pd.DataFrame({"eid": eid, **table, **{f"scar_{k + 1}": scar[:, k] for k in range(scar.shape[1])}})
