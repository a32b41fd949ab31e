"""Raw files of the simulated cohort: read back by the project's own readers, repeatable, never half-written."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from mmcl.config import CohortConfig
from mmcl.data.labels import label_subjects
from mmcl.data.readers import read_nifti, read_wfdb
from mmcl.data.tables import ICD10, codes, read_table
from mmcl.simulation import export
from mmcl.simulation.cine import slice_distance
from mmcl.simulation.export import export_raw
from mmcl.simulation.reference import against_reference, healthy_phenotypes
from mmcl.simulation.summary import prevalence, recorded_intervals

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
    shares = prevalence(raw)
    assert (shares["recorded"] <= shares["simulated"]).all() and shares["recorded"].sum() > 0


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


def test_summaries_come_from_the_tables(raw):
    healthy = healthy_phenotypes(raw)
    assert 0 < len(healthy) < COHORT.size
    table = against_reference(healthy)
    assert table.loc[("LVM", "female"), "n"] == healthy.loc[healthy["sex"] == "female", "LVM"].count()
    intervals = recorded_intervals(raw)
    assert 60 < intervals.loc["qrs", "mean"] < 130
