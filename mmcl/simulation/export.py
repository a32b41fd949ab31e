"""Raw files of the simulated cohort, in the shapes that a user of UK Biobank would have.

| file | holds |
|---|---|
| `ecg/<eid>.hea`, `.dat` | WFDB record, 12 leads, 10 s, 500 Hz, 5 microvolt a count |
| `ecg/<eid>_20205_2_0.xml` | on request in place of it, the same counts (`mmcl.simulation.cardiosoft`) |
| `cmr/<eid>.nii.gz` | short-axis cine, uint8 (x, y, slice, time), frame 0 at end-diastole |
| `cmr/<eid>_seg.nii.gz` | labels of the same shape: 1 RV, 2 myocardium, 3 LV cavity, 4 scar |
| `participants.tsv`, `phenotypes.tsv`, `records.tsv` | columns `<field>-<instance>.<array>` |
| | (53 day of the visit, 41270 diagnoses and 41280 their days) |
| `truth.tsv` | what no real cohort has: disease whether recorded or not, scar, intervals |
| `truth.npz` | the arrays of `mmcl.simulation.truth.Truth` but `beat`, and `eid`; a row a subject |
| `cohort.json` | written last: what the files were made from |
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mmcl.config import DISEASES, LEADS, RAW_SAMPLING_RATE, CohortConfig, fingerprint
from mmcl.phenotypes import PHENOTYPES
from mmcl.provenance import code_fingerprint, is_finished, write_json
from mmcl.simulation.cardiosoft import write_cardiosoft
from mmcl.simulation.cine import slice_distance
from mmcl.simulation.cohort import BLOCK, SimulatedCohort, simulate_batches
from mmcl.simulation.parameters import digest, version
from mmcl.simulation.random import uniform
from mmcl.simulation.records import CODES, diagnosis_dates, pick, visit_dates

COUNTS_PER_MILLIVOLT = 200
MARKER = "cohort.json"
TABLES = ("participants", "phenotypes", "records", "truth")


def export_raw(
    seed: int,
    cohort: CohortConfig,
    folder: Path,
    workers: int = 1,
    progress: bool = True,
    ecg: str = "wfdb",
    oddities: tuple[str, ...] = (),
) -> Path:
    """Write the raw files of the whole cohort into `folder`, unless they are there already.

    `ecg` is `wfdb` or `cardiosoft`; in the latter the k-th subject has the k-th of `oddities`, counted round, where ""
    stands for none (`mmcl.simulation.cardiosoft.ODDITIES`). `cohort.json` appears when all the rest is written, so an
    interrupted export is never taken for a whole one.
    """
    if ecg not in ("wfdb", "cardiosoft"):
        raise ValueError(f"ecg is {ecg!r}, expected wfdb or cardiosoft")
    mark = fingerprint(seed, cohort, code_fingerprint("mmcl.simulation.export"), digest(), ecg, oddities)
    marker = folder / MARKER
    if is_finished(marker, mark):
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    parts = list(_chunks(seed, cohort, folder, workers, progress, (ecg, oddities)))
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {name: np.concatenate([part[name] for _, part in parts]) for name in parts[0][1]}
    np.savez_compressed(folder / "truth.npz", **arrays)
    for name in TABLES:
        table = pd.concat([tables[name] for tables, _ in parts], ignore_index=True)
        table.to_csv(folder / f"{name}.tsv", sep="\t", index=False, float_format="%.6g", lineterminator="\n")
    odds = dict(zip(DISEASES, cohort.odds, strict=True))
    content = {"subjects": cohort.size, "seed": seed, "files": cohort.raw_files, "disease_odds": odds}
    write_json(marker, {"fingerprint": mark, "version": version(), "parameters": digest(), **content})
    return folder


def _chunks(
    seed: int, cohort: CohortConfig, folder: Path, workers: int, progress: bool, form: tuple[str, tuple[str, ...]]
) -> Iterator[tuple]:
    from joblib import Parallel, delayed
    from tqdm import tqdm

    size = BLOCK["cpu"]
    starts = range(0, cohort.size, size)
    jobs = (
        delayed(_export_chunk)(seed, cohort, folder, range(k, min(k + size, cohort.size)), digest(), form)
        for k in starts
    )
    results = Parallel(n_jobs=workers, return_as="generator")(jobs)
    return tqdm(results, total=len(starts), unit="chunk", desc="simulating", disable=None if progress else True)


def _export_chunk(
    seed: int,
    cohort: CohortConfig,
    folder: Path,
    subjects: range,
    parameters: str,
    form: tuple[str, tuple[str, ...]],
) -> tuple[dict[str, pd.DataFrame], dict[str, np.ndarray]]:
    """Write the files of one block; its tables and its truth. ValueError where other `parameters` are in force."""
    if digest() != parameters:
        raise ValueError("parameters are overridden in another process than the one that simulates; use one worker")
    images = {name: getattr(cohort, name) for name in ("slices", "frames", "matrix", "spacing")}
    whole = {"stack": True, "images": cohort.raw_files, "batch": len(subjects)}
    whole["measurement_error"] = cohort.measurement_error
    (part,) = simulate_batches(subjects, seed, odds=cohort.odds, **images, **whole)
    if cohort.raw_files:
        for name in ("ecg", "cmr"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        spacing = (cohort.spacing, cohort.spacing, slice_distance(cohort.slices))
        for row, (eid, ecg, cine, labels) in enumerate(
            zip(part.subjects.index, part.ecg, part.cmr, part.masks, strict=True)
        ):
            if form[0] == "wfdb":
                write_ecg(folder / "ecg" / eid, ecg)
            else:
                oddity = form[1][subjects[row] % len(form[1])] if form[1] else ""
                path, measured = folder / "ecg" / f"{eid}_20205_2_0.xml", part.subjects.iloc[row]
                write_cardiosoft(path, ecg, measured, part.truth.r_times[row], oddity)
            write_cine(folder / "cmr" / f"{eid}.nii.gz", cine, spacing)
            write_cine(folder / "cmr" / f"{eid}_seg.nii.gz", labels, spacing)
    makers = (_participants(part), _phenotypes(part, cohort.missing_phenotypes), _records(part), _truth(part))
    names = [field.name for field in dataclasses.fields(part.truth) if field.name != "beat"]
    truth = {name: getattr(part.truth, name) for name in names}
    return dict(zip(TABLES, makers, strict=True)), {"eid": part.subjects.index.to_numpy(dtype="U"), **truth}


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


def _participants(part: SimulatedCohort) -> pd.DataFrame:
    people = part.subjects
    fields = {
        "53-2.0": visit_dates(part.seed, people["subject"].to_numpy()).astype(str),
        "31-0.0": (people["sex"] == "male").astype(int),
        "21003-2.0": people["age"],
        "50-2.0": people["height"] * 100,
        "21002-2.0": people["weight"],
        "4080-2.0": people["systolic"],
        "4079-2.0": people["diastolic"],
    }
    return pd.DataFrame(fields).reset_index()


def _phenotypes(part: SimulatedCohort, missing: float) -> pd.DataFrame:
    gone = _uniform(part, "missing phenotype", len(PHENOTYPES)) < missing
    columns = {
        f"{phenotype.field}-2.0": part.phenotypes[phenotype.name].mask(gone[:, k])
        for k, phenotype in enumerate(PHENOTYPES)
    }
    return pd.DataFrame(columns).reset_index()


def _records(part: SimulatedCohort) -> pd.DataFrame:
    """Hospital diagnoses with the days of the first ones, as many columns as there are diseases.

    A silent disease leaves none.
    """
    present = {name: part.subjects[name.lower()] for name in CODES}
    for disease in DISEASES:
        present[disease] = present[disease] & ~part.subjects[f"silent_{disease.lower()}"]
    draw = _uniform(part, "icd code", len(CODES))
    dates = diagnosis_dates(part.seed, part.subjects["subject"].to_numpy()).astype(str)
    rows = []
    for row in range(len(part)):
        found = [k for k, name in enumerate(CODES) if present[name].iloc[row]]
        codes = [pick(choices, draw[row, k]) for k, choices in enumerate(CODES.values()) if k in found]
        empty = [""] * (len(CODES) - len(found))
        rows.append([*codes, *empty, *dates[row, found], *empty])
    columns = [f"{field}-0.{k}" for field in (41270, 41280) for k in range(len(CODES))]
    return pd.DataFrame(rows, columns=columns, index=part.subjects.index).reset_index()


def _truth(part: SimulatedCohort) -> pd.DataFrame:
    flags = ["cad", "af", "in_af", "dm", "hypertension", "lbbb", "rbbb"]
    names = ["culprit", "heart_rate", "conduction", "pr", "qrs", "qt", "axis"]
    table = pd.concat([part.subjects[flags].astype(int), part.subjects[names]], axis=1)
    scar = {f"scar_{k + 1}": values for k, values in enumerate(part.truth.transmurality.T)}
    return table.assign(**scar).reset_index()


def _uniform(part: SimulatedCohort, stream: str, count: int) -> np.ndarray:
    return uniform(part.seed, torch.as_tensor(part.subjects["subject"].to_numpy()), stream, count).numpy()
