"""Every raw layout of the simulated cohort: what its files say, and that each road ends in the same store."""

import ast
import csv
import dataclasses
import hashlib

import nibabel
import numpy as np
import pandas as pd
import pytest
import scipy.io
import wfdb

from mmcl.config import LEADS, CohortConfig, preset
from mmcl.data.cmr_preprocessing import Cine
from mmcl.data.manifest import Files, LabelRule, Readers, SplitRule, Tables, cohort_manifest
from mmcl.data.pipeline import Settings, prepare, preprocess_cohort
from mmcl.data.quarantine import Rejection, Unusable
from mmcl.data.readers import read_nifti, read_wfdb
from mmcl.data.tables import numbers, read_table
from mmcl.profiles import profile
from mmcl.simulation.export import export_raw
from mmcl.simulation.layouts import LAYOUTS, OUTCOMES, Source, cinc, export_layout, ukb
from mmcl.simulation.layouts.__main__ import main

COHORT = CohortConfig(train=16, validation=4, test=4, odds=(8.0, 8.0, 8.0), slices=8, frames=6, matrix=88)
PROFILE = dataclasses.replace(profile("smoke"), cohort=COHORT)
SETTINGS = Settings.of(PROFILE, preset("corrected"))
EIDS = [f"sim{k:07d}" for k in range(COHORT.size)]


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return export_raw(0, COHORT, tmp_path_factory.mktemp("cohort") / "raw", progress=False)


@pytest.fixture(scope="module")
def exported(raw, tmp_path_factory):
    """Folder of a layout, written once for all tests that only read it; with `odd`, subjects have oddities in turn."""
    folder, done = tmp_path_factory.mktemp("layouts"), {}

    def export(layout, odd=False):
        if (layout, odd) not in done:
            oddities = ("", *LAYOUTS[layout].oddities) if odd else ()
            assert len(oddities) <= COHORT.size
            done[layout, odd] = export_layout(layout, raw, folder / f"{layout}{'-odd' * odd}", oddities)
        return done[layout, odd]

    return export


@pytest.fixture(scope="module")
def stored(exported, tmp_path_factory):
    """Store of a layout's folder, made once."""
    folder, done = tmp_path_factory.mktemp("stores"), {}

    def store(layout, odd=False):
        if (layout, odd) not in done:
            manifest = ARRAYS if layout == "arrays" else manifest_of(layout)
            out = folder / f"{layout}{'-odd' * odd}"
            done[layout, odd] = run(manifest, exported(layout, odd), out)
        return done[layout, odd]

    return store


@pytest.fixture(scope="module")
def reference(raw, tmp_path_factory):
    """The plain road with segmentations, and without."""
    manifest = cohort_manifest("simulated")
    blind = dataclasses.replace(manifest, files=dataclasses.replace(manifest.files, segmentation=None))
    folder = tmp_path_factory.mktemp("reference")
    return {name: run(used, raw, folder / name) for name, used in (("labels", manifest), ("images", blind))}


ARRAYS = dataclasses.replace(
    cohort_manifest("simulated"),
    name="arrays",
    files=Files(ecg="ecg.npy"),
    readers=Readers(ecg="array"),
    tables=Tables(participants="participants.csv"),
    labels=LabelRule(),
    split=SplitRule(),
)


def manifest_of(layout):
    """The layout's manifest; subjects keep their names, as nobody stands behind a simulated one."""
    return dataclasses.replace(cohort_manifest(layout), restricted=False)


def run(manifest, folder, out):
    return preprocess_cohort(manifest, folder, out, PROFILE, preset("corrected"), 0, progress=False)


def rows_of(layout, store):
    """Row of the first visit of each subject of a store, by the subject's index in the cohort."""
    subjects = store.subjects
    first = subjects[subjects["visit"] == subjects["visit"].min()]
    return {k: first.index[first["subject"] == LAYOUTS[layout].name(k)] for k in range(COHORT.size)}


def in_order(layout, store):
    rows = rows_of(layout, store)
    assert all(len(found) == 1 for found in rows.values())
    return [int(found[0]) for found in rows.values()]


def columns(store, rows, names):
    return store.subjects.loc[rows, names].reset_index(drop=True)


def measured(store):
    return [name for name in store.subjects if name.startswith("ecg_")]


def test_the_road_of_uk_biobank_ends_in_the_same_store(raw, reference, stored):
    store, plain = stored("ukb"), reference["images"]
    rows = in_order("ukb", store)
    assert np.array_equal(store.ecg[rows], plain.ecg) and np.array_equal(store.cmr[rows], plain.cmr)
    assert list(store.subjects.loc[rows, "flags"]) == list(plain.subjects["flags"])
    exact = ["sex", "height", "weight", "CAD", "AF", "DM", "LVEDV", "RVEF", *measured(plain)]
    pd.testing.assert_frame_equal(columns(store, rows, exact), columns(plain, range(len(plain)), exact))
    assert plain.subjects[["CAD", "AF", "DM"]].sum().min() > 0
    found = columns(store, rows, ["age", "systolic"])
    assert (found["age"] == np.floor(plain.subjects["age"])).all()
    assert (found["systolic"] - plain.subjects["systolic"]).abs().max() <= 0.2501
    again = store.subjects[store.subjects["visit"] == "3"]
    assert list(again["subject"]) == [EIDS[k] for k in (3, 13, 23)] and len(store) == COHORT.size + 3
    assert np.array_equal(store.ecg[again.index], plain.ecg[[3, 13, 23]])
    older = again["age"].to_numpy() - store.subjects.loc[[rows[k] for k in (3, 13, 23)], "age"].to_numpy()
    assert ((older >= 2) & (older <= 4)).all() and again["LVEDV"].notna().any()


@pytest.mark.parametrize("layout, cavity, right", [("acdc", 3, 1), ("mnms", 1, 3)])
def test_the_roads_of_the_challenges_end_in_the_same_store(reference, stored, layout, cavity, right):
    store, plain = stored(layout), reference["labels"]
    rows = in_order(layout, store)
    assert np.array_equal(store.cmr[rows], plain.cmr)
    assert {3, 4} <= set(np.unique(plain.labels)), "somebody has a scar"
    known = np.array(plain.labels)
    expected = np.select([known == 1, known == 2, known == 3, known == 4], [right, 2, cavity, 2]).astype(np.uint8)
    expected[:, 1] = 0  # halfway between end-diastole and end-systole nobody draws
    assert np.array_equal(store.labels[rows], expected)


def test_the_road_of_two_volumes_ends_in_the_same_store(raw, stored):
    store = stored("mnms2")
    for subject, row in zip(Source.open(raw).subjects(), in_order("mnms2", store), strict=True):
        pair = [0, subject.es_frame]
        images = Cine(subject.cine[:, pair], subject.labels[:, pair], (1.8, 1.8), "s", "memory")
        expected = prepare(None, images, SETTINGS)
        assert np.array_equal(store.cmr[row], expected.arrays["cmr"])
        assert np.array_equal(store.labels[row] == 1, expected.arrays["heart"] == 3)
        assert np.array_equal(store.labels[row] == 2, np.isin(expected.arrays["heart"], (2, 4)))


def test_the_road_of_one_array_ends_in_the_same_store(raw, reference, stored, tmp_path):
    store, plain = stored("arrays"), reference["images"]
    rows = in_order("arrays", store)
    assert np.array_equal(store.ecg[rows], plain.ecg)
    pd.testing.assert_frame_equal(
        columns(store, rows, measured(plain)), columns(plain, range(len(plain)), measured(plain))
    )
    for suffix in (".npz", ".pt"):
        folder = export_layout("arrays", raw, tmp_path / suffix, suffix=suffix)
        other = run(dataclasses.replace(ARRAYS, files=Files(ecg=f"ecg{suffix}")), folder, tmp_path / f"store{suffix}")
        assert np.array_equal(other.ecg, store.ecg)
    with open(folder / "participants.csv", newline="") as file:
        people = list(csv.DictReader(file))
    for disease in ("CAD", "AF", "DM"):
        assert [int(person[disease]) for person in people] == list(plain.subjects[disease])


def test_the_plain_layout_is_the_raw_folder(raw, exported):
    folder = exported("wfdb")
    files = [path.relative_to(raw) for path in raw.rglob("*") if path.is_file()]
    assert files and all((folder / path).read_bytes() == (raw / path).read_bytes() for path in files)


@pytest.mark.parametrize("layout", ["ukb", "acdc", "mnms", "mnms2", "arrays"])
def test_oddities_change_nothing_but_what_is_flagged_or_quarantined(layout, stored):
    clean, odd = stored(layout), stored(layout, odd=True)
    before, after = rows_of(layout, clean), rows_of(layout, odd)
    results = {k: (_row(clean, before[k]), _row(odd, after[k])) for k in before}
    _check_outcomes(layout, results)


def _row(store, rows):
    """Arrays, labels apart, and flags of one row; None where there is none."""
    if not len(rows):
        return None
    row = int(rows[0])
    arrays = {name: getattr(store, name)[row] for name in ("ecg", "cmr") if getattr(store, name) is not None}
    return arrays, set(filter(None, store.subjects["flags"][row].split(";")))


def _check_outcomes(layout, results):
    names = ("", *LAYOUTS[layout].oddities)
    for k, ((arrays, flags), other) in results.items():
        name = names[k % len(names)]
        outcome = LAYOUTS[layout].oddities[name].outcome if name else "same"
        assert (other is None) == (outcome == "quarantine"), name
        if other is None:
            continue
        same = all(np.array_equal(values, other[0][kind]) for kind, values in arrays.items())
        assert same or outcome == "mended", name
        assert (flags == other[1]) == (outcome == "same"), (name, flags, other[1])


@pytest.mark.parametrize("layout", ["ptbxl", "cinc"])
def test_records_are_those_of_the_plain_road(layout, reference, exported):
    pattern = {"ptbxl": lambda k: f"records500/00000/{k + 1:05d}_hr.hea", "cinc": cinc.path}[layout]
    clean, odd = {}, {}
    for results, folder in ((clean, exported(layout)), (odd, exported(layout, odd=True))):
        for k in range(COHORT.size):
            try:
                result = prepare(read_wfdb(folder / pattern(k), "s"), None, SETTINGS)
            except Unusable as unusable:
                result = unusable.rejection
            results[k] = None if isinstance(result, Rejection) else (result.arrays, set(result.flags))
    for k in range(COHORT.size):
        assert np.array_equal(clean[k][0]["ecg"], reference["images"].ecg[k])
    _check_outcomes(layout, {k: (clean[k], odd[k]) for k in clean})


def test_the_road_of_ptbxl_ends_in_the_same_store(reference, stored):
    """Every patient's records, the second of some being the first again."""
    store, plain = stored("ptbxl"), reference["images"]
    assert len(store) == COHORT.size + 3
    assert set(store.subjects["subject"]) == {LAYOUTS["ptbxl"].name(k) for k in range(COHORT.size)}
    for k in range(COHORT.size):
        rows = store.subjects.index[store.subjects["subject"] == LAYOUTS["ptbxl"].name(k)]
        assert len(rows) == (2 if k % 7 == 3 else 1)
        for row in rows:
            assert np.array_equal(store.ecg[row], plain.ecg[k])
        assert store.subjects["split"][rows].nunique() == 1


def test_the_road_of_cinc_ends_in_the_same_store(reference, stored):
    store = stored("cinc")
    assert np.array_equal(store.ecg[in_order("cinc", store)], reference["images"].ecg)


def test_tables_of_uk_biobank(raw, exported, tmp_path):
    folder = exported("ukb")
    people, records = (read_table(folder / f"{name}.tsv") for name in ("participants", "records"))
    day = pd.to_datetime(people["53-2.0"])
    age, born = pd.to_numeric(people["21003-2.0"]), pd.to_numeric(people["34-0.0"])
    assert (day.dt.year - born - age).isin((0, 1)).all()
    assert people["52-0.0"].astype(int).between(1, 12).all()
    assert (pd.to_datetime(people["53-3.0"]).dropna() > day[people["53-3.0"].notna()]).all()
    assert (people["4080-2.0"] != people["4080-2.1"]).any() and people["4080-2.0"].str.isdigit().all()
    known = read_table(raw / "records.tsv")
    for eid in EIDS:
        codes = {
            field: [code for name, code in records.loc[eid].dropna().items() if name.startswith(f"{field}-")]
            for field in (41270, 41271, 41272, 41280, 41281, 41282, 20002, 20004, 20008, 20010)
        }
        assert codes[41270] == list(known.loc[eid].filter(like="41270").dropna())
        for field, dates in ((41270, 41280), (41271, 41281), (41272, 41282), (20002, 20008), (20004, 20010)):
            assert len(codes[field]) == len(codes[dates])
        diseases = {name for name, listed in ukb.CODES.items() if set(listed) & set(codes[41270])}
        for field, table in ((41271, ukb.ICD9), (41272, ukb.OPERATIONS), (20002, ukb.REPORTED)):
            assert {name for name, listed in table.items() if set(listed) & set(codes[field])} <= diseases
        assert all(day < "1997" for day in codes[41281])
        assert all(float(year) <= float(people.loc[eid, "53-2.0"][:4]) + 1 for year in codes[20008])
    assert records.filter(like="41272-").notna().any(axis=None) and records.filter(like="20002-").notna().any(axis=None)
    assert (folder / "withdrawn.txt").read_text().split() == ["sim9999991", "sim9999992"]


@pytest.mark.parametrize(
    "spelling, separator, column",
    [("showcase", ",", "4080-2.1"), ("r", "\t", "f.4080.2.1"), ("rap", ",", "p4080_i2_a1")],
)
def test_spellings_of_uk_biobank(raw, exported, tmp_path, spelling, separator, column):
    source = Source.open(raw)
    for name, rows in (("participants", ukb._participants(source)), ("records", ukb._records(source))):
        ukb._write_table(tmp_path / f"{name}.tsv", rows, spelling, separator)
        again, plain = read_table(tmp_path / f"{name}.tsv"), read_table(exported("ukb") / f"{name}.tsv")
        pd.testing.assert_frame_equal(again, plain)
    header = (tmp_path / "participants.tsv").read_text().splitlines()[0].split(separator)
    assert column in header
    assert ukb.spelt("31-0.0", "rap") == "p31" and ukb.spelt("24100-2.0", "rap") == "p24100_i2"
    assert ukb.spelt("41270-0.3", "rap") == "p41270_a3" and ukb.spelt("eid", "r") == "f.eid"


def test_withdrawn_subjects_are_listed(raw, tmp_path):
    folder = export_layout("ukb", raw, tmp_path / "ukb", withdrawn=(EIDS[2],))
    assert (folder / "withdrawn.txt").read_text().split()[-1] == EIDS[2]
    manifest = manifest_of("ukb")
    tables = dataclasses.replace(manifest.tables, withdrawn="withdrawn.txt")
    store = run(dataclasses.replace(manifest, tables=tables), folder, tmp_path / "store")
    assert EIDS[2] not in set(store.subjects["subject"]) and store.meta["counts"]["withdrawn"] == 1


def test_the_table_and_files_of_ptbxl(raw, exported):
    folder = exported("ptbxl")
    table = pd.read_csv(folder / "ptbxl_database.csv", index_col="ecg_id")
    assert table.shape == (COHORT.size + 3, 27) and sorted(table.index) == list(range(1, COHORT.size + 4))
    assert table.groupby("patient_id")["strat_fold"].nunique().eq(1).all()
    assert set(table["strat_fold"]) == set(range(1, 11))
    statements = pd.read_csv(folder / "scp_statements.csv", index_col=0)
    assert set(statements["diagnostic_class"].dropna()) == {"NORM", "MI", "STTC", "CD", "HYP"}
    truth = Source.open(raw)
    for subject in truth.subjects():
        row = table.loc[subject.index + 1]
        codes = ast.literal_eval(row["scp_codes"])
        assert set(codes) <= set(statements.index)
        assert ("AFIB" in codes) == bool(subject.truth["in_af"]) and ("CLBBB" in codes) == bool(subject.truth["lbbb"])
        scarred = subject.truth.filter(like="scar_").max() >= 0.25
        infarct = any(statements.loc[code, "diagnostic_class"] == "MI" for code in codes)
        assert infarct == scarred == (row["infarction_stadium1"] == "Stadium III")
        assert row["sex"] == 1 - int(subject.person["31-0.0"])
        record = wfdb.rdrecord(str(folder / row["filename_hr"]), physical=False)
        assert np.array_equal(record.d_signal.T, 5 * subject.counts) and record.fs == 500
        assert record.sig_name[3] == "AVR" and record.adc_gain[0] == 1000
        slow = wfdb.rdrecord(str(folder / row["filename_lr"]))
        assert slow.fs == 100 and slow.p_signal.shape == (1000, 12)
        assert np.corrcoef(slow.p_signal[:, 1], subject.counts[1, ::5])[0, 1] > 0.9
    lines = [line.split("  ") for line in (folder / "SHA256SUMS.txt").read_text().splitlines()]
    assert len(lines) == 4 * (COHORT.size + 3) + 3
    assert all(hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest for digest, name in lines)
    aged = pd.read_csv(exported("ptbxl", odd=True) / "ptbxl_database.csv")
    assert list(aged.index[aged["age"] == 300]) == [11, 23]


def test_headers_of_cinc(raw, exported):
    folder, ages = exported("cinc"), []
    for subject in Source.open(raw).subjects():
        header = folder / cinc.path(subject.index)
        lines = header.read_text().splitlines()
        counts = scipy.io.loadmat(header.with_suffix(".mat"))["val"]
        assert counts.dtype == np.int16 and np.array_equal(counts, 5 * subject.counts)
        assert header.with_suffix(".mat").read_bytes()[20:24] == b"val\0"
        assert lines[0] == f"{header.stem} 12 500 5000"
        unit = "mv" if header.stem.startswith("HR") else "mV"
        for line, lead, values in zip(lines[1:13], LEADS, counts, strict=True):
            checksum = int(np.sum(values, dtype=np.int16))
            assert line == f"{header.stem}.mat 16x1+24 1000.0(0)/{unit} 16 0 {values[0]} {checksum} 0 {lead}"
        comments = dict(line.removeprefix("# ").split(": ") for line in lines[13:])
        assert list(comments) == ["Age", "Sex", "Dx", "Rx", "Hx", "Sx"] and comments["Rx"] == "Unknown"
        codes = comments["Dx"].split(",")
        assert ("164889003" in codes) == bool(subject.truth["in_af"]) and len(codes) == len(set(codes))
        assert comments["Sex"] == ("Male" if subject.person["31-0.0"] == "1" else "Female")
        ages.append(comments["Age"])
    assert ages.count("NaN") == 3 and {path.parts[-3] for path in folder.rglob("*.mat")} == {
        "georgia", "ptb-xl", "chapman_shaoxing",
    }  # fmt: skip


def test_the_headers_are_like_real_ones(shared, exported):
    """Apart from values, a header differs from the challenge's own in nothing."""
    real = shared / "real" / "ecg" / "HR06000.hea"
    made = exported("cinc") / cinc.path(1)
    shapes = []
    for path in (real, made):
        lines = path.read_text().splitlines()
        shapes.append(
            [[word for k, word in enumerate(line.split()) if k in (1, 2, 3, 4, 7, 8)] for line in lines[1:13]]
        )
        shapes[-1].append([line.split(":")[0] for line in lines[13:]])
    assert shapes[0] == shapes[1]


def test_folders_of_acdc(raw, exported):
    folder = exported("acdc")
    for subject in Source.open(raw).subjects():
        patient = folder / f"patient{subject.index + 1:03d}"
        info = dict(line.split(": ") for line in (patient / "Info.cfg").read_text().splitlines())
        assert list(info) == ["ED", "ES", "Group", "Height", "NbFrame", "Weight"]
        assert (info["ED"], info["ES"]) == ("1", str(subject.es_frame + 1)) and info["NbFrame"] == "6"
        assert info["Group"] == ("MINF" if subject.truth.filter(like="scar_").max() >= 0.25 else "NOR")
        whole = nibabel.load(patient / f"{patient.name}_4d.nii.gz")
        frame = nibabel.load(patient / f"{patient.name}_frame{int(info['ES']):02d}.nii.gz")
        assert whole.header.get_zooms()[:3] == frame.header.get_zooms() and whole.get_data_dtype() == np.int16
        assert np.array_equal(np.asarray(whole.dataobj)[..., subject.es_frame], np.asarray(frame.dataobj))
    late = (exported("acdc", odd=True) / "patient002" / "Info.cfg").read_text()
    assert late.startswith("ED: 3\n")


def test_the_table_of_mnms(raw, exported):
    folder = exported("mnms")
    table = pd.read_csv(folder / "participants.csv", index_col=0)
    expected = "External code,VendorName,Vendor,Centre,ED,ES,Age,Pathology,Sex,Height,Weight"
    assert list(table) == expected.split(",") and table["External code"].is_unique
    for row in table.itertuples():
        code = row[1]
        labels = np.asarray(nibabel.load(folder / code / f"{code}_sa_gt.nii.gz").dataobj)
        assert set(np.flatnonzero(labels.any(axis=(0, 1, 2)))) == {row.ED, row.ES}
        cine = read_nifti(folder / code / f"{code}_sa.nii.gz", code)
        assert cine.images.shape == (8, 6, 88, 88)
    assert (
        numbers(read_table(folder / "participants.csv").rename(columns={"Age": "21003-2.0"}), 21003, 2)
        .between(40, 90)
        .all()
    )
    information = pd.read_csv(exported("mnms2") / "dataset_information.csv", dtype=str)
    assert list(information["SUBJECT_CODE"])[:2] == ["001", "002"]


def test_codes_are_never_given_twice():
    for layout in LAYOUTS.values():
        assert len({layout.name(k) for k in range(20_000)}) == 20_000
        assert all(oddity.outcome in OUTCOMES and oddity.what for oddity in layout.oddities.values())


def test_what_export_refuses(raw, tmp_path):
    with pytest.raises(ValueError, match="layout is 'mitbih', expected one of wfdb, ukb"):
        export_layout("mitbih", raw, tmp_path / "a")
    with pytest.raises(ValueError, match="oddity 'upside down' of acdc, expected one of late"):
        export_layout("acdc", raw, tmp_path / "a", ("upside down",))
    with pytest.raises(ValueError, match="expected raw files of a simulated cohort"):
        export_layout("acdc", tmp_path, tmp_path / "a")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="new or an empty folder"):
        export_layout("acdc", raw, tmp_path / "mine")
    with pytest.raises(ValueError, match="suffix is '.mat'"):
        export_layout("arrays", raw, tmp_path / "a", suffix=".mat")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_from_a_shell(tmp_path, capsys):
    sizes = ["--subjects", "3", "--seed", "4", "--frames", "4", "--matrix", "64"]
    main(["acdc", str(tmp_path / "acdc"), *sizes])
    assert capsys.readouterr().out == f"{tmp_path / 'acdc'}: 3 subjects as acdc\n"
    assert sorted(path.name for path in (tmp_path / "acdc").iterdir()) == ["patient001", "patient002", "patient003"]
    with pytest.raises(SystemExit):
        main(["acdc", str(tmp_path / "acdc"), *sizes])
    assert "new or an empty folder" in capsys.readouterr().err
