"""One array for a whole cohort: its forms, which row is whose, and what is refused."""

import dataclasses
import io
import pickle
import resource
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmcl.config import LEADS, preset
from mmcl.data.arrays import count_rows, read_array
from mmcl.data.manifest import Files, Manifest, Readers, Tables, load_manifest
from mmcl.data.pipeline import preprocess_cohort
from mmcl.data.quarantine import Unusable
from mmcl.profiles import profile

COHORT = np.random.default_rng(0).normal(0, 0.5, (5, 12, 5000)).astype(np.float32)


class Malicious:
    def __reduce__(self):
        return (print, ("code ran",))


def save(path, array=COHORT):
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez(path, array)
    else:
        torch.save(torch.from_numpy(array), path)
    return path


def reason(path, row=0):
    with pytest.raises(Unusable) as caught:
        read_array(path, row, "s")
    return caught.value.rejection.reason


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt"])
def test_one_subject_at_a_time(tmp_path, suffix):
    path = save(tmp_path / f"ecg{suffix}")
    assert count_rows(path) == 5
    for row in (3, 0, 4):
        found = read_array(path, row, "s")
        np.testing.assert_array_equal(found.signal, COHORT[row])
        assert found.names == LEADS and set(found.units) == {"mV"} and found.sampling_rate == 500
        assert found.file == f"{path}[{row}]" and type(found.signal) is np.ndarray and found.signal.flags.owndata
    for row in (5, -1, None):
        assert reason(path, row) == "no such row"
    save(path, COHORT[:2] + 1)
    np.testing.assert_array_equal(read_array(path, 1, "s").signal, COHORT[1] + 1, "not what was opened before")
    path.unlink()
    assert reason(path) == f"missing {suffix}"


def test_other_published_forms(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", ecg=COHORT.astype(np.float64), eid=np.arange(5))
    np.testing.assert_array_equal(read_array(tmp_path / "a.npz", 2, "s").signal, COHORT[2])
    np.save(tmp_path / "a.npy", np.asfortranarray(COHORT.astype(">f8")))
    np.testing.assert_array_equal(read_array(tmp_path / "a.npy", 2, "s").signal, COHORT[2])
    np.savez(tmp_path / "b.npz", np.asfortranarray(COHORT))
    np.testing.assert_array_equal(read_array(tmp_path / "b.npz", 2, "s").signal, COHORT[2])
    torch.save([torch.from_numpy(signal) for signal in COHORT], tmp_path / "a.pt")
    np.testing.assert_array_equal(read_array(tmp_path / "a.pt", 2, "s").signal, COHORT[2])
    torch.save(torch.from_numpy(COHORT).bfloat16().requires_grad_(), tmp_path / "b.pt")
    np.testing.assert_allclose(read_array(tmp_path / "b.pt", 2, "s").signal, COHORT[2], rtol=0.01)


def test_pickles_are_refused_and_run_nothing(tmp_path, capsys):
    objects = np.array([Malicious()] * 5, dtype=object)
    np.save(tmp_path / "a.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "a.npz", ecg=objects)
    torch.save(Malicious(), tmp_path / "a.pt")
    for suffix in (".npy", ".npz", ".pt"):
        assert reason(tmp_path / f"a{suffix}") == "pickled objects"
        (tmp_path / f"b{suffix}").write_bytes(pickle.dumps(Malicious()))
        assert reason(tmp_path / f"b{suffix}") == "unreadable array"
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "array",
    [
        COHORT[0],
        COHORT[:, :11],
        COHORT[..., :4999],
        COHORT.transpose(0, 2, 1),
        COHORT.astype(np.int16),
        COHORT.astype(np.complex64),
        COHORT[:0],
    ],
    ids=["one", "leads", "samples", "axes", "counts", "complex", "none"],
)
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt"])
def test_other_shapes_and_types(tmp_path, array, suffix):
    path = save(tmp_path / f"a{suffix}", np.ascontiguousarray(array))
    # A tensor without rows is whole, but has none to give.
    assert reason(path) == ("no such row" if suffix == ".pt" and not len(array) else "unreadable array")


def test_lists_and_dictionaries_of_tensors(tmp_path):
    for name, content in {"a": [torch.zeros(12, 4999)], "b": [torch.zeros(12, 5000, dtype=torch.int32)]}.items():
        torch.save(content, tmp_path / f"{name}.pt")
        assert reason(tmp_path / f"{name}.pt") == "wrong shape"
    for name, content in {"c": {"ecg": torch.zeros(1, 12, 5000)}, "d": [], "e": torch.zeros(())}.items():
        torch.save(content, tmp_path / f"{name}.pt")
        assert reason(tmp_path / f"{name}.pt") == "unreadable array"


def test_archives_that_mislead(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, first=COHORT, second=COHORT)
    assert reason(path) == "unreadable array"
    header = io.BytesIO()
    claim = {"descr": "<f4", "fortran_order": False}
    np.lib.format.write_array_header_1_0(header, {**claim, "shape": (10**9, 12, 5000)})
    negative = io.BytesIO()
    np.lib.format.write_array_header_1_0(negative, {**claim, "shape": (-1, 12, 5000)})
    for content in (header.getvalue(), negative.getvalue() + bytes(10_000), header.getvalue() + bytes(10_000)):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("ecg.npy", content)
        assert reason(path) == "unreadable array"
        (tmp_path / "a.npy").write_bytes(content)
        assert reason(tmp_path / "a.npy") == "unreadable array"
    np.savez_compressed(path, ecg=np.zeros((20, 12, 5000)))
    assert reason(path) == "unreadable array", "a thousandfold expansion is no ECG"
    save(tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as source, zipfile.ZipFile(tmp_path / "b.pt", "w", 8) as packed:
        for item in source.infolist():
            packed.writestr(item.filename, source.read(item))
    assert reason(tmp_path / "b.pt") == "unreadable array"
    assert reason(save(tmp_path / "a.npy").rename(tmp_path / "a.csv")) == "unknown kind of array"


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt"])
def test_truncated_files(tmp_path, suffix):
    path = save(tmp_path / f"a{suffix}", COHORT[:1])
    whole = path.read_bytes()
    for size in (0, 1, 5, 60, 200, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:size])
        assert reason(path) == "unreadable array", size


def run(folder, name, people, **changes):
    people.to_csv(folder / "people.tsv", sep="\t", index=False)
    manifest = Manifest(
        name="arrays", description="d", version="1", licence="MIT", consent="none", shareable=True,
        files=Files(ecg=name), tables=Tables(participants="people.tsv"), readers=Readers(ecg="array"),
        visits=(2,),
    )  # fmt: skip
    manifest = dataclasses.replace(manifest, **changes)
    return preprocess_cohort(manifest, folder, folder / "store", profile("smoke"), preset("corrected"), 0)


def test_which_row_is_whose(tmp_path):
    names = ["105", "103", "104", "101", "102"]
    people = pd.DataFrame({"eid": names, "p31": 0})
    by_order = run(tmp_path, save(tmp_path / "ecg.npy").name, people)
    assert list(by_order.subjects["subject"]) == sorted(names)
    in_order = np.asarray(by_order.ecg).copy()
    turned = run(tmp_path, "ecg.npy", people.assign(row=[4, 3, 2, 1, 0]))
    # Subject 105 is the first by order and the last by its row.
    for subject, other in zip(names, names[::-1], strict=True):
        place, elsewhere = sorted(names).index(subject), sorted(names).index(other)
        np.testing.assert_array_equal(turned.ecg[place], in_order[elsewhere])
    kept = run(tmp_path, "ecg.npy", people.assign(row=["0", "1", "", "7", "2"]))
    assert list(kept.subjects["subject"]) == ["102", "103", "105"]
    assert kept.meta["counts"]["quarantined"] == {"no such row": 2}
    for column in ([0, 0, 1, 2, 3], ["a", 1, 2, 3, 4], [-1, 0, 1, 2, 3], [0.5, 1, 2, 3, 4]):
        with pytest.raises(ValueError, match="column 'row', expected a number from 0 once"):
            run(tmp_path, "ecg.npy", people.assign(row=column))
    with pytest.raises(ValueError, match="ecg.npy: 5 rows, expected 4 as in the participants table"):
        run(tmp_path, "ecg.npy", people[:4])
    with pytest.raises(ValueError, match="other.npy: no such file; the manifest arrays names it files.ecg"):
        run(tmp_path, "other.npy", people)


def test_a_row_may_have_two_visits(tmp_path):
    people = pd.DataFrame({"eid": ["a", "b", "c", "d", "e"]})
    first, second = COHORT, COHORT[::-1].copy()
    second[1] = np.nan
    save(tmp_path / "ecg_2.npy", first)
    save(tmp_path / "ecg_3.npy", second)
    store = run(tmp_path, "ecg_{visit}.npy", people, visits=(2, 3))
    assert len(store) == 9 and list(store.subjects["visit"][:2]) == ["2", "3"]
    assert store.meta["counts"]["quarantined"] == {"too many NaN": 1}


@pytest.mark.parametrize("ecg", ["ecg/{subject}.npy", "ecg.npy"])
def test_manifests(tmp_path, ecg):
    text = f"""
name: x
description: d
version: "1"
licence: MIT
consent: none
shareable: true
files: {{ecg: "{ecg}"}}
readers: {{ecg: array}}
"""
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match="the reader array wants one file and tables.participants"):
        load_manifest(path)
    path.write_text(text + "tables: {participants: people.tsv}\n")
    if "{subject}" in ecg:
        with pytest.raises(ValueError, match="wants one file"):
            load_manifest(path)
    else:
        assert load_manifest(path).readers.ecg == "array"


@settings(max_examples=90, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_bytes_end_in_a_recording_or_a_reason(tmp_path, data):
    """Bytes changed where formats say what follows: the head of a file, and a zip's directory at its end."""
    suffix = data.draw(st.sampled_from([".npy", ".npz", ".pt"]))
    content = bytearray(save(tmp_path / f"a{suffix}", COHORT[:1]).read_bytes())
    for place, value in data.draw(st.lists(st.tuples(st.integers(-700, 700), st.binary(min_size=1, max_size=6)))):
        content[place % len(content) : place % len(content) + len(value)] = value
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        found = read_array(path, 0, "s")
    except Unusable as unusable:
        assert unusable.rejection.reason
    else:
        assert found.signal.shape == (12, 5000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500 << 10
