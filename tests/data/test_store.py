import errno
import json

import numpy as np
import pandas as pd
import pytest

from mmcl.data.store import Store
from mmcl.data.store_writer import StoreWriter

SHAPES = {"ecg": (12, 50), "cmr": (3, 8, 8), "heart": (3, 8, 8)}


def rows(count, start=0):
    generator = np.random.default_rng(start)
    subjects = pd.DataFrame(
        {
            "subject": [f"{start + k:04d}" for k in range(count)],
            "visit": "2",
            "split": [("train", "validation", "test")[k % 3] for k in range(count)],
            "flags": "",
            "LVEDV": np.where(np.arange(count) % 2, np.nan, 150.5),
        }
    )
    arrays = {
        "ecg": generator.standard_normal((count, 12, 50)),
        "cmr": generator.integers(0, 256, (count, 3, 8, 8), dtype=np.uint8),
        "heart": generator.integers(0, 4, (count, 3, 8, 8), dtype=np.uint8),
    }
    return subjects, arrays


def write(folder, batches=((6, 0), (4, 6))):
    with StoreWriter(folder, SHAPES, {"profile": "smoke"}) as writer:
        for count, start in batches:
            subjects, arrays = rows(count, start)
            writer.append(subjects, **arrays)
        writer.counts = {"used": writer.rows}
    return Store.open(folder)


def test_what_is_written_is_read_back(tmp_path):
    store = write(tmp_path / "deep" / "store")
    assert len(store) == 10 and store.meta["counts"] == {"used": 10}
    assert store.ecg.dtype == np.float16 and store.cmr.dtype == np.uint8 and isinstance(store.ecg, np.memmap)
    subjects, arrays = rows(4, 6)
    np.testing.assert_array_equal(store.ecg[6:], arrays["ecg"].astype(np.float16))
    np.testing.assert_array_equal(store.cmr[6:], arrays["cmr"])
    np.testing.assert_array_equal(store.labels[6:], arrays["heart"])
    assert list(store.subjects["subject"][:2]) == ["0000", "0001"], "identifiers keep their zeros"
    assert list(store.subjects["flags"]) == [""] * 10
    assert store.subjects["LVEDV"].isna().sum() == 5
    store.verify()


def test_whole_frames_are_there_only_where_they_were_written(tmp_path):
    store = write(tmp_path / "store")
    assert store.images() is store.cmr and store.frame is None
    with pytest.raises(ValueError, match="no frame.npy.*crop_in_evaluation"):
        store.images(cropped=False)
    subjects, arrays = rows(6)
    frame = np.random.default_rng(0).integers(0, 256, (6, 3, 12, 12), dtype=np.uint8)
    with StoreWriter(tmp_path / "paper", SHAPES | {"frame": (3, 12, 12)}, {}) as writer:
        writer.append(subjects, **arrays, frame=frame)
    paper = Store.open(tmp_path / "paper")
    np.testing.assert_array_equal(paper.images(cropped=False), frame)
    np.testing.assert_array_equal(paper.images(), arrays["cmr"])


def test_indices_cover_every_row_once(tmp_path):
    store = write(tmp_path / "store")
    parts = [store.indices(split) for split in ("train", "validation", "test")]
    assert sorted(np.concatenate(parts)) == list(range(10))
    with pytest.raises(ValueError, match="unknown split 'val'"):
        store.indices("val")


def test_equal_input_gives_equal_bytes(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b", batches=((6, 0), (4, 6)))
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_one_modality(tmp_path):
    with StoreWriter(tmp_path / "store", {"ecg": (12, 50)}, {}) as writer:
        subjects, arrays = rows(3)
        writer.append(subjects, ecg=arrays["ecg"])
    store = Store.open(tmp_path / "store")
    assert store.cmr is None and store.labels is None


def test_interrupted_run_leaves_nothing_and_keeps_the_older_store(tmp_path):
    write(tmp_path / "store")
    with pytest.raises(KeyboardInterrupt), StoreWriter(tmp_path / "store", SHAPES, {}) as writer:
        subjects, arrays = rows(2)
        writer.append(subjects, **arrays)
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert len(Store.open(tmp_path / "store")) == 10


def test_leftovers_of_a_killed_run_are_replaced(tmp_path):
    (tmp_path / ".store.partial").mkdir()
    (tmp_path / ".store.partial" / "ecg.npy").write_bytes(b"half")
    write(tmp_path / "store")
    write(tmp_path / "store", batches=((3, 0),))
    assert [path.name for path in tmp_path.iterdir()] == ["store"] and len(Store.open(tmp_path / "store")) == 3


class FullDisk:
    """A file on a disk that has just become full."""

    def __init__(self, file):
        self.file = file

    def write(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    def close(self):
        self.file.close()


def test_full_disk(tmp_path):
    with pytest.raises(OSError, match="No space left.*store.*not written") as caught:
        with StoreWriter(tmp_path / "store", SHAPES, {}) as writer:
            writer._files["cmr.npy"] = FullDisk(writer._files["cmr.npy"])
            subjects, arrays = rows(2)
            writer.append(subjects, **arrays)
    assert caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())


def test_empty_store_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no subject is left"), StoreWriter(tmp_path / "store", SHAPES, {}):
        pass
    assert not list(tmp_path.iterdir())


def test_subject_in_two_splits_is_refused(tmp_path):
    with pytest.raises(ValueError, match="0001 is in two splits"):
        with StoreWriter(tmp_path / "store", SHAPES, {}) as writer:
            subjects, arrays = rows(3)
            writer.append(subjects.assign(subject=["0001", "0001", "0002"]), **arrays)
    assert not list(tmp_path.iterdir())


def test_wrong_rows_are_refused(tmp_path):
    subjects, arrays = rows(2)
    with pytest.raises(ValueError, match="holds"), StoreWriter(tmp_path / "a", SHAPES, {}) as writer:
        writer.append(subjects, ecg=arrays["ecg"])
    with pytest.raises(ValueError, match="expected .2, 12, 50"), StoreWriter(tmp_path / "a", SHAPES, {}) as writer:
        writer.append(subjects, **{**arrays, "ecg": arrays["ecg"][:, :, :9]})
    arrays["ecg"][1, 3, 7] = np.nan
    with pytest.raises(ValueError, match="not finite"), StoreWriter(tmp_path / "a", SHAPES, {}) as writer:
        writer.append(subjects, **arrays)
    with pytest.raises(ValueError, match="echo"):
        StoreWriter(tmp_path / "a", {"echo": (1,)}, {})


def test_foreign_folder_is_never_replaced(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("dear")
    with pytest.raises(ValueError, match="no store; refusing"):
        write(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "dear"


def test_opening_what_is_no_whole_store(tmp_path):
    with pytest.raises(ValueError, match="no such folder"):
        Store.open(tmp_path / "nowhere")
    (tmp_path / "half").mkdir()
    with pytest.raises(ValueError, match="never finished"):
        Store.open(tmp_path / "half")
    (tmp_path / "half" / "store.json").write_text('{"format": "other"}')
    with pytest.raises(ValueError, match="'other', expected 'mmcl-store-1'"):
        Store.open(tmp_path / "half")
    (tmp_path / "half" / "store.json").write_text("{")
    with pytest.raises(ValueError, match="not valid JSON"):
        Store.open(tmp_path / "half")


def test_damage_is_found(tmp_path):
    folder = tmp_path / "store"
    write(folder)
    whole = (folder / "ecg.npy").read_bytes()
    (folder / "ecg.npy").write_bytes(whole[:-1] + b"?")
    with pytest.raises(ValueError, match="ecg.npy: SHA-256"):
        Store.open(folder).verify()
    (folder / "ecg.npy").write_bytes(whole[:-100])
    with pytest.raises(ValueError, match="ecg.npy: missing, truncated"):
        Store.open(folder)
    (folder / "ecg.npy").write_bytes(whole)
    meta = json.loads((folder / "store.json").read_text())
    meta["arrays"]["cmr"]["shape"] = [10, 3, 9, 9]
    (folder / "store.json").write_text(json.dumps(meta))
    with pytest.raises(ValueError, match="store.json says uint8"):
        Store.open(folder)
    (folder / "subjects.csv").unlink()
    meta["arrays"]["cmr"]["shape"] = [10, 3, 8, 8]
    (folder / "store.json").write_text(json.dumps(meta))
    with pytest.raises(ValueError, match="subjects.csv: missing"):
        Store.open(folder)
