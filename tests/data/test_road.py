"""The road from raw files to a store as a whole: workers, interruptions, strictness, splits, names, withdrawal."""

import dataclasses
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pandas as pd
import pytest

from mmcl.config import CohortConfig, preset
from mmcl.data import pipeline
from mmcl.data.manifest import SplitRule, cohort_manifest
from mmcl.data.pipeline import preprocess_cohort
from mmcl.data.pseudonyms import Pseudonyms, key_file, key_mark
from mmcl.data.quality import quality_table
from mmcl.data.store import Store
from mmcl.data.withdrawal import remove_withdrawn
from mmcl.data.workers import PIECE, in_order
from mmcl.paths import ROOT
from mmcl.profiles import profile
from mmcl.simulation.export import export_raw

SIZES = CohortConfig(train=120, validation=40, test=40, slices=8, frames=4, matrix=88, raw_files=True)
USED = dataclasses.replace(profile("smoke"), cohort=SIZES)
ECG_ALONE = dataclasses.replace(
    cohort_manifest("simulated"),
    files=dataclasses.replace(cohort_manifest("simulated").files, cmr=None, segmentation=None),
    split=SplitRule(stratify=("sex", "CAD")),
)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Raw files of 200 simulated subjects, ECGs alone; read only."""
    from mmcl.simulation.cohort import simulate_batches
    from mmcl.simulation.export import TABLES, write_ecg

    folder = tmp_path_factory.mktemp("cohort") / "raw"
    (folder / "ecg").mkdir(parents=True)
    sizes = dataclasses.replace(SIZES, raw_files=False)
    export_raw(5, sizes, folder / "tables", progress=False)
    for name in TABLES[:3]:
        (folder / "tables" / f"{name}.tsv").rename(folder / f"{name}.tsv")
    for part in simulate_batches(range(SIZES.size), 5, images=False):
        for subject, signal_ in zip(part.subjects.index, part.ecg, strict=True):
            write_ecg(folder / "ecg" / subject, signal_)
    # One that cannot be used, and one that is mended.
    (folder / "ecg" / "sim0000003.dat").write_bytes(b"\0" * 100)
    write_ecg(folder / "ecg" / "sim0000004", part.ecg[0][:, :4000])
    return folder


def run(raw, out, manifest=ECG_ALONE, **how):
    return preprocess_cohort(manifest, raw, out, USED, preset("corrected"), 0, progress=False, **how)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def linked(raw, folder):
    """A raw folder of its own whose ECGs are those of `raw`; its tables may be written anew."""
    folder.mkdir()
    (folder / "ecg").symlink_to(raw / "ecg")
    for path in raw.glob("*.tsv"):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def square(value):
    return value * value


def test_results_come_in_order_from_any_number_of_workers():
    numbers = range(5 * PIECE + 3)
    for workers in (1, 2):
        assert list(in_order(square, numbers, workers)) == [value * value for value in numbers]


def test_items_are_taken_only_as_far_ahead_as_workers_need():
    taken = []
    results = in_order(square, (taken.append(value) or value for value in range(100 * PIECE)))
    next(results)
    assert len(taken) <= 4 * PIECE
    results.close()


def test_a_failure_in_a_worker_is_raised_here():
    with pytest.raises(TypeError):
        list(in_order(square, [1, "a"], workers=2))


def test_joblib_has_its_own_workers_afterwards():
    from joblib import Parallel, delayed

    assert list(in_order(square, [2, 3], workers=2)) == [4, 9]
    assert Parallel(n_jobs=2)(delayed(square)(value) for value in (2, 3)) == [4, 9]


def test_a_dask_cluster_gives_the_same_bytes(raw, tmp_path):
    distributed = pytest.importorskip("distributed")
    alone = contents(run(raw, tmp_path / "alone").folder)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        spread = run(raw, tmp_path / "spread", dask=cluster.scheduler_address)
    assert contents(spread.folder) == alone
    assert contents(run(raw, tmp_path / "two", workers=2).folder) == alone


def test_no_scheduler_is_a_clear_error(raw, tmp_path):
    with pytest.raises(ValueError, match="no Dask scheduler answers at 'nonsense'"):
        run(raw, tmp_path / "store", dask="nonsense")


def test_a_killed_run_goes_on_and_nothing_is_redone_or_lost(raw, tmp_path):
    whole = contents(run(raw, tmp_path / "whole").folder)
    # The child says which subjects it reads, and is killed when some batches are on disk.
    program = textwrap.dedent(
        f"""
        import sys, time
        from pathlib import Path
        sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests" / "data")!r}]
        import test_road
        from mmcl.data import pipeline
        read = pipeline._read_and_prepare
        def slowly(manifest, raw, settings, entry):
            time.sleep(0.02)
            return read(manifest, raw, settings, entry)
        pipeline._read_and_prepare = slowly
        test_road.run(Path({str(raw)!r}), Path({str(tmp_path / "store")!r}))
        """
    )
    child = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    journal = tmp_path / ".store.partial" / "journal.json"
    deadline = time.monotonic() + 60
    while not (journal.is_file() and '"settled": 128' in journal.read_text()):
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert not (tmp_path / "store").exists()
    with open(tmp_path / ".store.partial" / "ecg.npy", "ab") as file:
        file.write(b"half a row")
    seen, read = [], pipeline._read_and_prepare

    def noted(manifest, raw_folder, settings, entry):
        seen.append(entry.subject)
        return read(manifest, raw_folder, settings, entry)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "_read_and_prepare", noted)
        store = run(raw, tmp_path / "store")
    assert len(seen) == SIZES.size - 128 and seen[0] == "sim0000128"
    assert contents(store.folder) == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store", "whole"]


def test_an_interrupted_run_of_other_data_is_not_taken_up(raw, tmp_path):
    def interrupted(manifest, raw_folder, settings, entry):
        if entry.subject == "sim0000150":
            raise KeyboardInterrupt
        return read(manifest, raw_folder, settings, entry)

    read = pipeline._read_and_prepare
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pipeline, "_read_and_prepare", interrupted)
        run(raw, tmp_path / "store")
    assert (tmp_path / ".store.partial").is_dir()
    changed = linked(raw, tmp_path / "raw")
    people = pd.read_csv(raw / "participants.tsv", sep="\t", dtype=str)
    people["21003-2.0"] = "60"
    people.to_csv(changed / "participants.tsv", sep="\t", index=False)
    store = run(changed, tmp_path / "store")
    assert set(store.subjects["age"]) == {60} and len(store) == SIZES.size - 1


def test_strictness_and_the_report(raw, tmp_path):
    with pytest.raises(ValueError, match="not written, as STRICT asks; 199 of 200 used; left out: 1 unreadable ECG"):
        run(raw, tmp_path / "store", strict=True)
    assert not (tmp_path / "store").exists()
    assert "sim0000003" in (tmp_path / "store-quarantine.csv").read_text()
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "_read_and_prepare", lambda *arguments: seen.append(arguments))
        store = run(raw, tmp_path / "store")
    assert not seen, "what the strict run has read is not read again"
    table = quality_table(store).set_index("reason")
    assert table.loc["unreadable ECG", ["what", "recordings"]].tolist() == ["quarantined", 1]
    assert table.loc["short", "what"] == "repaired" and table.loc["short", "example"] == "sim0000004: short:8.00s"
    counts = store.meta["counts"]
    assert counts["found"] == 200 and counts["used"] == 199 and counts["repaired"] == 1
    assert counts["as_they_came"] == 198


def test_splits_are_stratified_and_stay_when_subjects_are_added(raw, tmp_path):
    people = pd.read_csv(raw / "participants.tsv", sep="\t", dtype=str)
    fewer = linked(raw, tmp_path / "raw")
    people.iloc[:140].to_csv(fewer / "participants.tsv", sep="\t", index=False)
    listed = dataclasses.replace(ECG_ALONE, files=dataclasses.replace(ECG_ALONE.files, ecg="ecg/{subject}.hea"))
    before = run(fewer, tmp_path / "store", listed).subjects.set_index("subject")["split"]
    people.to_csv(fewer / "participants.tsv", sep="\t", index=False)
    after = run(fewer, tmp_path / "store", listed).subjects.set_index("subject")
    assert after.loc[before.index, "split"].equals(before) and len(after) == 199 > len(before)
    for split, share in (("train", 0.7), ("validation", 0.15), ("test", 0.15)):
        for _, group in after.groupby(["sex", "CAD"]):
            assert abs((group["split"] == split).sum() - share * len(group)) < 2
    fresh = run(fewer, tmp_path / "fresh", listed).subjects.set_index("subject")["split"]
    assert not fresh.equals(after["split"]), "without the earlier store some would have moved"
    told = run(fewer, tmp_path / "told", listed, splits=tmp_path / "store").subjects.set_index("subject")["split"]
    assert told.equals(after["split"])


def test_a_restricted_cohort_has_pseudonyms_alone(raw, tmp_path, caplog):
    restricted = dataclasses.replace(ECG_ALONE, name="secret", shareable=False, restricted=True)
    store = run(raw, tmp_path / "store", restricted)
    open_ = run(raw, tmp_path / "open")
    for path in store.folder.iterdir():
        assert b"sim00" not in path.read_bytes(), path.name
    assert "sim00" not in caplog.text
    names = Pseudonyms(restricted)
    back = {names.name(subject): subject for subject in open_.subjects["subject"]}
    assert set(store.subjects["subject"]) == set(back)
    one = store.subjects.assign(subject=store.subjects["subject"].map(back)).sort_values("subject", ignore_index=True)
    pd.testing.assert_frame_equal(one, open_.subjects)
    (rejection,) = store.rejections()
    assert rejection.subject == names.name("sim0000003") and rejection.file == f"ecg/{rejection.subject}.hea"
    assert key_file().stat().st_mode & 0o077 == 0
    wrong = pd.read_csv(raw / "participants.tsv", sep="\t", dtype=str).assign(**{"31-0.0": "7"})
    other = linked(raw, tmp_path / "raw")
    wrong.to_csv(other / "participants.tsv", sep="\t", index=False)
    with pytest.raises(ValueError, match="subject secret-[0-9a-f]{16}: sex is 7"):
        run(other, tmp_path / "wrong", restricted)


def test_another_key_gives_other_names(monkeypatch, tmp_path):
    restricted = dataclasses.replace(ECG_ALONE, name="secret", shareable=False, restricted=True)
    one = Pseudonyms(restricted).name("1000017")
    assert Pseudonyms(restricted).name("1000017") == one and "1000017" not in one
    monkeypatch.setenv("MMCL_KEY", str(tmp_path / "other.key"))
    assert Pseudonyms(restricted).name("1000017") != one
    (tmp_path / "other.key").write_text("short")
    with pytest.raises(ValueError, match="holds no key"):
        Pseudonyms(restricted)


def test_a_restricted_cohort_is_not_written_where_git_could_track_it(raw):
    restricted = dataclasses.replace(ECG_ALONE, name="secret", shareable=False, restricted=True)
    with pytest.raises(ValueError, match="git"):
        run(raw, ROOT / "figures" / "store", restricted)
    assert not (ROOT / "figures" / ".store.partial").exists()


def test_subjects_who_withdraw_leave_a_store_that_exists(raw, tmp_path):
    listed = dataclasses.replace(ECG_ALONE, tables=dataclasses.replace(ECG_ALONE.tables, withdrawn="withdrawn.txt"))
    for manifest in (listed, dataclasses.replace(listed, name="secret", shareable=False, restricted=True)):
        folder = tmp_path / manifest.name
        folder.mkdir()
        own = linked(raw, folder / "raw")
        store = run(own, folder / "store", manifest)
        (folder / "predictions").mkdir()
        (own / "withdrawn.txt").write_text("sim0000003\nsim0000007\n9999999\n")
        left = remove_withdrawn(store, manifest, own)
        names = Pseudonyms(manifest)
        kept = ~store.subjects["subject"].isin({names.name("sim0000007")})
        pd.testing.assert_frame_equal(left.subjects, store.subjects[kept].reset_index(drop=True))
        assert len(left) == 198 and left.meta["counts"]["withdrawn"] == 1 and not left.rejections()
        assert left.meta["counts"]["quarantined"] == {}
        np.testing.assert_array_equal(left.ecg, Store.open(left.folder).ecg)
        assert not (folder / "predictions").exists()
        assert remove_withdrawn(left, manifest, own) is left
        left.verify()
        anew = run(own, folder / "anew", manifest, splits=left.folder)
        assert set(anew.subjects["subject"]) == set(left.subjects["subject"])


def test_files_are_held_to_their_checksums(raw, tmp_path):
    import hashlib

    own = linked(raw, tmp_path / "raw")
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (raw / "ecg").iterdir()}
    sums["sim0000010.dat"] = "0" * 64
    (own / "SHA256SUMS.txt").write_text("".join(f"{digest}  ecg/{name}\n" for name, digest in sums.items()))
    store = run(own, tmp_path / "store", dataclasses.replace(ECG_ALONE, checksums="SHA256SUMS.txt"))
    reasons = {rejection.subject: rejection.reason for rejection in store.rejections()}
    assert reasons == {"sim0000003": "unreadable ECG", "sim0000010": "checksum differs"}


def test_a_table_of_half_the_world_costs_its_rows_alone(raw, tmp_path):
    manifest = dataclasses.replace(ECG_ALONE, subjects="files")
    own = linked(raw, tmp_path / "raw")
    people = pd.read_csv(raw / "participants.tsv", sep="\t", dtype=str)
    others = people.sample(2000, replace=True, random_state=0).assign(eid=[f"other{k}" for k in range(2000)])
    pd.concat([others, people]).assign(**{"99-0.0": "x"}).to_csv(own / "participants.tsv", sep="\t", index=False)
    store = run(own, tmp_path / "store", manifest)
    assert len(store) == 199 and len(store.rejections()) == 1, "nobody without a file is missed"


def test_without_dates_of_the_visit_nothing_is_prevalent(raw, tmp_path, caplog):
    own = linked(raw, tmp_path / "raw")
    people = pd.read_csv(raw / "participants.tsv", sep="\t", dtype=str)
    people.drop(columns=["53-2.0", "21003-2.0"]).to_csv(own / "participants.tsv", sep="\t", index=False)
    measures = pd.read_csv(raw / "phenotypes.tsv", sep="\t", dtype=str).rename(columns={"24100-2.0": "24100"})
    measures.to_csv(own / "phenotypes.tsv", sep="\t", index=False)
    store = run(own, tmp_path / "store")
    assert store.subjects["CAD"].notna().all() and store.subjects["CAD_prevalent"].isna().all()
    assert "participants.tsv: no column of field 21003, 53" in caplog.text
    assert "phenotypes.tsv: no value of 1 of 82 phenotypes: LVEDV" in caplog.text
    dated = run(raw, tmp_path / "dated").subjects
    assert dated["CAD_prevalent"].notna().sum() > 100 and dated["CAD_incident"].sum() > 0
    late = dataclasses.replace(ECG_ALONE, labels=dataclasses.replace(ECG_ALONE.labels, timing="incident"))
    with pytest.raises(ValueError, match="field 53, the date of the visit, which timing: incident needs"):
        run(own, tmp_path / "late", late)


def test_another_key_makes_a_restricted_store_anew(monkeypatch, tmp_path):
    restricted = dataclasses.replace(ECG_ALONE, name="secret", shareable=False, restricted=True)
    mark = key_mark(restricted)
    assert key_mark(restricted) == mark != "" and key_mark(ECG_ALONE) == ""
    monkeypatch.setenv("MMCL_KEY", str(tmp_path / "other.key"))
    assert key_mark(restricted) != mark


def test_a_cluster_without_the_package_is_a_clear_error(monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr("mmcl.data.workers._importable", lambda client: {"the scheduler": True, "tcp://w1": False})
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        with pytest.raises(ValueError, match="tcp://w1 of the cluster cannot import mmcl"):
            list(in_order(square, range(3), dask=cluster.scheduler_address))
