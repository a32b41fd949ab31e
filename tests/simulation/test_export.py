"""Raw files of the simulated cohort: read back by the project's own readers, repeatable, never half-written."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from mmcl.config import CohortConfig
from mmcl.data.labels import label_subjects
from mmcl.data.readers import read_nifti, read_wfdb
from mmcl.data.tables import ICD10, codes, read_table
from mmcl.phenotypes import PHENOTYPES
from mmcl.provenance import read_json
from mmcl.simulation import export
from mmcl.simulation.cine import slice_distance
from mmcl.simulation.cohort import simulate_cohort
from mmcl.simulation.export import export_raw
from mmcl.simulation.parameters import digest, override, version

COHORT = CohortConfig(train=24, validation=4, test=4, odds=(8.0, 8.0, 8.0), slices=8, frames=4, matrix=64)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return export_raw(0, COHORT, tmp_path_factory.mktemp("cohort") / "raw", progress=False)


def test_recordings_and_cines_are_read_back(raw):
    recording = read_wfdb(raw / "ecg" / "sim0000003.hea", "sim0000003")
    assert recording.signal.shape == (12, 5000) and recording.sampling_rate == 500
    signal = recording.signal
    # Counts of 5 microvolt: Einthoven's law holds to the rounding of three leads.
    assert np.abs(signal[0] + signal[2] - signal[1]).max() <= 0.0076
    cine = read_nifti(raw / "cmr" / "sim0000003.nii.gz", "sim0000003", raw / "cmr" / "sim0000003_seg.nii.gz")
    assert cine.images.shape == cine.labels.shape == (8, 4, 64, 64)
    assert cine.spacing == pytest.approx((1.8, 1.8))
    assert slice_distance(8) > 10


def test_records_hold_the_diseases_that_are_not_silent(raw):
    truth = pd.read_csv(raw / "truth.tsv", sep="\t", index_col="eid")
    recorded = label_subjects(codes(read_table(raw / "records.tsv", [ICD10])))
    for name in ("CAD", "AF", "DM"):
        ill = truth.index[truth[name.lower()] == 1]
        assert set(recorded.index[recorded[name] == 1]) <= set(ill)
    assert recorded[["CAD", "AF", "DM"]].to_numpy().sum() > 0


def test_a_finished_export_is_kept_and_another_made_anew(raw):
    path = raw / "ecg" / "sim0000000.dat"
    before = path.stat().st_mtime_ns
    export_raw(0, COHORT, raw, progress=False)
    assert path.stat().st_mtime_ns == before


def test_an_interrupted_export_is_not_taken_for_whole(tmp_path, monkeypatch):
    small = dataclasses.replace(COHORT, train=2, validation=1, test=1)
    whole = export_raw(1, small, tmp_path / "whole", progress=False)

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(export, "write_cine", fail)
        export_raw(1, small, tmp_path / "raw", progress=False)
    assert not (tmp_path / "raw" / "cohort.json").exists()
    export_raw(1, small, tmp_path / "raw", progress=False)
    for path in (p for p in whole.rglob("*") if p.is_file()):
        assert path.read_bytes() == (tmp_path / "raw" / path.relative_to(whole)).read_bytes(), path.name


def test_files_hold_what_the_cohort_in_memory_holds(raw):
    cohort = simulate_cohort(5, first=20, odds=COHORT.odds, slices=8, frames=4, matrix=64, stack=True)
    for row, eid in enumerate(cohort.subjects.index):
        recording = read_wfdb(raw / "ecg" / f"{eid}.hea", eid)
        assert np.abs(recording.signal - cohort.ecg[row]).max() <= 0.5 / export.COUNTS_PER_MILLIVOLT + 1e-6
        cine = read_nifti(raw / "cmr" / f"{eid}.nii.gz", eid, raw / "cmr" / f"{eid}_seg.nii.gz")
        assert np.array_equal(cine.images, cohort.cmr[row]) and np.array_equal(cine.labels, cohort.masks[row])
    with np.load(raw / "truth.npz") as truth:
        assert list(truth["eid"][20:25]) == list(cohort.subjects.index)
        assert {field.name for field in dataclasses.fields(cohort.truth)} - set(truth) == {"beat"}
        for name in set(truth) - {"eid"}:
            assert truth[name][20:25].tobytes() == getattr(cohort.truth, name).tobytes(), name
    phenotypes = pd.read_csv(raw / "phenotypes.tsv", sep="\t", index_col="eid").loc[cohort.subjects.index]
    assert (
        0.01 < phenotypes.drop(columns=[c for c in phenotypes if phenotypes[c].isna().all()]).isna().mean().mean() < 0.1
    )
    for phenotype in PHENOTYPES:
        given = phenotypes[f"{phenotype.field}-2.0"].dropna()
        assert given.to_numpy() == pytest.approx(cohort.phenotypes.loc[given.index, phenotype.name], rel=1e-5)


def test_the_cohort_is_named_by_version_and_parameters(raw, tmp_path):
    marker = read_json(raw / "cohort.json")
    assert (marker["version"], marker["parameters"]) == (version(), digest())
    tiny = dataclasses.replace(COHORT, train=2, validation=1, test=1, raw_files=False)
    usual = read_json(export_raw(0, tiny, tmp_path / "raw", progress=False) / "cohort.json")
    with override({"conductor.gain_spread": 0.0}):
        other = read_json(export_raw(0, tiny, tmp_path / "raw", progress=False) / "cohort.json")
        with pytest.raises(ValueError, match="use one worker"):
            export_raw(1, tiny, tmp_path / "elsewhere", workers=2, progress=False)
    assert usual["fingerprint"] != other["fingerprint"] and usual["parameters"] != other["parameters"]


def test_phenotypes_can_be_read_with_errors(tmp_path):
    cohort = CohortConfig(4, 1, 1, slices=8, frames=4, matrix=64, raw_files=False, missing_phenotypes=0.0)
    tables = {}
    for error in (0.0, 1.0):
        folder = export_raw(2, dataclasses.replace(cohort, measurement_error=error), tmp_path / str(error))
        tables[error] = pd.read_csv(folder / "phenotypes.tsv", sep="\t", index_col="eid")
    difference = (tables[1.0] - tables[0.0]).abs() / tables[0.0].abs()
    assert (difference.to_numpy() > 0).mean() > 0.9 and difference.to_numpy().mean() < 0.3


def test_diagnoses_have_days_before_or_after_the_visit(raw):
    people = read_table(raw / "participants.tsv")
    records = read_table(raw / "records.tsv")
    visit = pd.to_datetime(people["53-2.0"])
    assert visit.between("2014-05-01", "2020-03-13").all() and visit.nunique() > 20
    before = []
    for k in range(4):
        code, day = records[f"41270-0.{k}"], pd.to_datetime(records[f"41280-0.{k}"])
        assert code.notna().equals(day.notna())
        assert day.dropna().between("1997-01-01", "2022-10-31").all() and not (day == visit).any()
        before.append((day < visit)[day.notna()])
    before = pd.concat(before)
    assert len(before) > 20 and 0.4 < before.mean() < 0.9
