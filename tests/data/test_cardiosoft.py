"""CardioSoft XML: what is read, what is refused, and that nothing a file holds can do harm."""

import dataclasses
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcl.config import LEADS, CohortConfig, preset
from mmcl.data import cardiosoft
from mmcl.data.cardiosoft import MEASUREMENTS, read_cardiosoft, read_measurements
from mmcl.data.manifest import Files, LabelRule, Readers, cohort_manifest
from mmcl.data.pipeline import preprocess_cohort
from mmcl.data.quarantine import Unusable
from mmcl.data.signals import Recording, harmonise
from mmcl.profiles import profile
from mmcl.simulation.cardiosoft import ODDITIES, write_cardiosoft
from mmcl.simulation.export import export_raw

TIME = np.arange(5000) / 500
BEAT = np.exp(-0.5 * (((TIME % 0.8) - 0.3) / 0.02) ** 2)
BEAT += np.tile(np.random.default_rng(0).normal(0, 0.02, 400), 13)[:5000]  # no lead rests at its extreme
SIGNAL = BEAT * np.linspace(0.4, 1.5, 12)[:, None]
SIGNAL[2:6] = SIGNAL[1] - SIGNAL[0], -(SIGNAL[0] + SIGNAL[1]) / 2, SIGNAL[0] - SIGNAL[1] / 2, SIGNAL[1] - SIGNAL[0] / 2
COUNTS = np.round(SIGNAL * 200)
R_TIMES = np.append(np.arange(0.3, 10, 0.8), np.nan)
HEAD = (
    '<NumberOfLeads>12</NumberOfLeads><SampleRate units="Hz">500</SampleRate>'
    '<ChannelSampleCountTotal>4</ChannelSampleCountTotal><Resolution units="uVperLsb">5</Resolution>'
)


def write(folder, oddity=""):
    path = folder / "1000001_20205_2_0.xml"
    measured = {"heart_rate": 75.0, "pr": np.nan, "qrs": 92.4, "qt": 401.0, "axis": -12.0}
    write_cardiosoft(path, SIGNAL, measured, R_TIMES, oddity)
    return path


def write_strip(folder, inside, around="<CardiologyXML>{}</CardiologyXML>", encoding="latin-1"):
    path = folder / "1_20205_2_0.xml"
    path.write_bytes(around.format(f"<StripData>{inside}</StripData>").encode(encoding))
    return path


def lead(counts, name="I"):
    return f'{HEAD}<WaveformData lead="{name}">{counts}</WaveformData>'


def rejection(path, read=read_cardiosoft):
    with pytest.raises(Unusable) as caught:
        read(path, "s")
    found = caught.value.rejection
    assert found.file == str(path) and found.subject == "s" and found.value and found.expectation
    return found


def test_the_strip_and_neither_the_median_beat_nor_the_review_trace(tmp_path):
    path = write(tmp_path)
    text = path.read_text("latin-1")
    assert text.count('<WaveformData lead="V1">') == 2 and "<FullDisclosure>" in text
    found = read_cardiosoft(path, "1000001")
    assert found.names == LEADS and set(found.units) == {"uV"} and found.sampling_rate == 500
    np.testing.assert_array_equal(found.signal, COUNTS * 5)


def test_the_median_beat_is_that_of_the_strip(tmp_path):
    text = write(tmp_path).read_text("latin-1")
    block = text[text.index("<MedianSamples>") : text.index("</MedianSamples>")]
    assert "<ChannelSampleCountTotal>600</ChannelSampleCountTotal>" in block
    first = block.split('<WaveformData lead="V6">')[1].split("</WaveformData>")[0]
    beat = np.array([int(word) for word in first.split(",")])
    # The R peak 200 samples in, as it lies in each beat of a strip that repeats itself.
    assert len(beat) == 600 and abs(beat.argmax() - 200) < 3
    np.testing.assert_allclose(beat, COUNTS[11, 350:950], atol=1)


@pytest.mark.parametrize("oddity", sorted(set(ODDITIES) - {"disclosure", "empty"}))
def test_oddities_that_can_be_used(tmp_path, oddity):
    found = read_cardiosoft(write(tmp_path, oddity), "s")
    ecg = harmonise(found)
    flags = {
        "missing": ("computed:III", "computed:aVR", "computed:aVL", "computed:aVF"),
        "short": ("nan:V6",),
        "gap": ("nan:V3",),
    }
    assert ecg.flags == flags.get(oddity, ())
    expected = COUNTS.astype(np.float64) / 200
    if oddity == "short":
        expected[11, -50:] = 0
    if oddity == "gap":
        expected[8, 1] = 0
    # Leads that are computed differ from those written by the rounding of the two that they follow from.
    np.testing.assert_allclose(ecg.signal, expected, atol=0.0076 if oddity == "missing" else 1e-7)
    if oddity == "case":
        assert found.names[-4:] == ("AVR", "III", "II", "I") and "avl" in found.names


def test_oddities_that_cannot_be_used(tmp_path):
    found = rejection(write(tmp_path, "disclosure"))
    assert (found.reason, found.value) == ("no strip", "FullDisclosure, MedianSamples only")
    assert rejection(write(tmp_path, "empty")).reason == "empty file"
    with pytest.raises(ValueError, match="oddity is 'upside down', expected one of comma"):
        write(tmp_path, "upside down")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-le", "utf-16-be", "cp949"])
@pytest.mark.parametrize("declared", ["UTF-8", "ISO8859-1", "ISO-8859-1", "UTF-16", "cp949", "no such encoding", None])
def test_any_encoding_whatever_is_declared(tmp_path, encoding, declared):
    declaration = "" if declared is None else f'\n<?xml version="1.0" encoding="{declared}" ?>\n'
    name = "" if encoding == "cp949" else "<Name>Møller</Name>"
    around = f"{declaration}<CardiologyXML>{name}{{}}</CardiologyXML>"
    found = read_cardiosoft(write_strip(tmp_path, lead("1,-2,\n\t\t3,4"), around, encoding), "s")
    np.testing.assert_array_equal(found.signal, [[5, -10, 15, 20]])


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ("1,2,3,4,", [1, 2, 3, 4]),
        ("\n\t 1 ,\t2,\r\n3,4\n", [1, 2, 3, 4]),
        ("1,,2,3,4", [1, 2, 3, 4]),
        (",1,2,3,4,,", [1, 2, 3, 4]),
        ("1,,3,4", [1, np.nan, 3, 4]),
        ("1,,3,4,", [1, np.nan, 3, 4]),
        ("1,2,3", [1, 2, 3]),
        ("1,2,3,4,5", [1, 2, 3, 4, 5]),
        ("+1,-0,2147483647,-2147483648", [1, 0, 2147483647, -2147483648]),
        ("", []),
    ],
)
def test_commas(tmp_path, counts, expected):
    found = read_cardiosoft(write_strip(tmp_path, lead(counts)), "s")
    np.testing.assert_array_equal(found.signal, [np.array(expected) * 5.0])


@pytest.mark.parametrize("bad", ["1.5", "x", "1_0", "--1", "1 2", "2147483648", "9" * 5000, "٣", "1e3", "nan", "0x1"])
def test_a_count_that_is_no_integer_is_named_with_its_lead(tmp_path, bad):
    found = rejection(write_strip(tmp_path, lead(f"1,2,{bad},4", "aVF"), encoding="utf-8"))
    assert found.reason == "count is no integer"
    assert repr(bad)[:40] in found.value and found.value.endswith("in lead aVF")


@pytest.mark.parametrize(
    ("inside", "reason"),
    [
        ("", "unknown SampleRate"),
        (lead("1,2").replace(">500<", ">fast<"), "unknown SampleRate"),
        (lead("1,2").replace(">500<", ">0<"), "unknown SampleRate"),
        (lead("1,2").replace('"Hz"', '"ms"'), "unknown unit of SampleRate"),
        (lead("1,2").replace(">5<", ">-5<"), "unknown Resolution"),
        (lead("1,2").replace(">5<", ">nan<"), "unknown Resolution"),
        (lead("1,2").replace("uVperLsb", "inch"), "unknown unit of Resolution"),
        (HEAD, "wrong number of leads"),
        (HEAD + '<WaveformData lead="x">1</WaveformData>' * 33, "wrong number of leads"),
        (lead("1,2,3,4") + '<WaveformData lead="II">1,2,3,4,5</WaveformData>', "too many samples"),
        (lead("1," * 100_001), "too many samples"),
        (lead("1,2<br/>3,4"), "unreadable ECG"),
        (lead("1,2</WaveformData"), "unreadable ECG"),
        ("</StripData><StripData>" + lead("1,2,3,4"), "several strips"),
        ("<a>" * 100 + "</a>" * 100, "unreadable ECG"),
        ("<a/>" * 30_000, "unreadable ECG"),
        (f'<a b="{"c" * 5000}"/>', "unreadable ECG"),
        ("<a " + " ".join(f'b{k}=">"' for k in range(30_000)) + "/>", "unreadable ECG"),
        ("&secret;", "unreadable ECG"),
        ("\0", "unreadable ECG"),
    ],
)
def test_refusals(tmp_path, inside, reason):
    assert rejection(write_strip(tmp_path, inside)).reason == reason


def test_files_of_another_kind(tmp_path):
    path = tmp_path / "a.xml"
    assert rejection(path).reason == "missing .xml"
    for content in (b"PK\3\4 no XML", b"<AnnotatedECG/>", b"<CardiologyXML>", b"\xff\xfe<", b"\xfe\xff\0", b"\x1f\x8b"):
        path.write_bytes(content)
        assert rejection(path).reason == "unreadable ECG", content
    path.write_bytes(b"<CardiologyXML><Export/></CardiologyXML>")
    assert (rejection(path).reason, rejection(path).value) == ("no strip", "0 strips")
    path.write_bytes(b" \n")
    assert rejection(path).reason == "empty file"


def test_document_types_entities_and_external_references(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("1,2,3,4")
    bomb = '<!ENTITY a0 "1,2">' + "".join(f'<!ENTITY a{k + 1} "{f"&a{k};" * 10}">' for k in range(30))
    for inner in (bomb, f'<!ENTITY a30 SYSTEM "{secret.as_uri()}">', ""):
        around = f"<!DOCTYPE CardiologyXML [{inner}]><CardiologyXML>{{}}</CardiologyXML>"
        found = rejection(write_strip(tmp_path, lead("&a30;"), around))
        assert found.reason == "forbidden XML" and "1,2" not in str(found)
    around = f'<!DOCTYPE CardiologyXML SYSTEM "{secret.as_uri()}"><CardiologyXML>{{}}</CardiologyXML>'
    assert rejection(write_strip(tmp_path, lead("1,2,3,4"), around)).reason == "forbidden XML"


def test_a_file_too_large_is_not_read_whole(tmp_path):
    path = tmp_path / "a.xml"
    with open(path, "wb") as file:
        file.truncate(1 << 40)
        file.write(b"<")
    tracemalloc.start()
    assert rejection(path).reason == "file too large"
    assert tracemalloc.get_traced_memory()[1] < 6 * cardiosoft.LARGEST
    tracemalloc.stop()


@pytest.mark.parametrize(
    "filling",
    ["<a/>", "<a>", "1,", ",", "x", " ", "<!---->", "<?a?>", "<![CDATA[1,]]>", "&#49;,", "<a>1,</a>", "\n", "\r\n"],
)
def test_memory_is_bounded_by_the_size_of_the_file(tmp_path, filling, monkeypatch):
    monkeypatch.setattr(cardiosoft, "LARGEST", 1 << 20)
    path = write_strip(tmp_path, lead(filling * ((1 << 20) // len(filling) - 100)))
    tracemalloc.start()
    try:
        read_cardiosoft(path, "s")
    except Unusable:
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 << 20


def test_measurements(tmp_path):
    path = write(tmp_path)
    found = read_measurements(path, "s")
    assert list(found) == list(MEASUREMENTS)
    assert {name: value for name, value in found.items() if not np.isnan(value)} == {
        "heart_rate": 75, "qrs_duration": 92, "qt": 401, "qrs_axis": -12,
    }  # fmt: skip
    path.write_bytes(path.read_bytes().replace(b'"deg"', b'"rad"').replace(b">401<", b">long<"))
    other = read_measurements(path, "s")
    assert np.isnan(other["qrs_axis"]) and np.isnan(other["qt"]) and other["heart_rate"] == 75
    assert rejection(tmp_path / "none.xml", read_measurements).reason == "missing .xml"


def test_every_count_is_the_same_number_by_either_road():
    counts = np.arange(-32768, 32768)
    by_wfdb = (counts / 200.0).astype(np.float32)
    by_xml = (counts * 5.0 * 1e-3).astype(np.float32)
    np.testing.assert_array_equal(by_wfdb, by_xml)


def test_both_roads_end_in_the_same_store(tmp_path):
    cohort = CohortConfig(train=4, validation=1, test=1, slices=8, frames=4, matrix=64)
    used = dataclasses.replace(profile("smoke"), cohort=cohort)
    base = cohort_manifest("simulated")
    files = dataclasses.replace(base.files, ecg="ecg/{subject}_20205_{visit}_0.xml")
    xml = dataclasses.replace(base, files=files, readers=Readers(ecg="cardiosoft"))
    oddities = ("", "comma", "case", "utf16", "declared", "disclosure")
    stores = []
    for name, manifest, arguments in (("wfdb", base, {}), ("cardiosoft", xml, {"oddities": oddities})):
        raw = export_raw(0, cohort, tmp_path / name / "raw", progress=False, ecg=name, **arguments)
        stores.append(preprocess_cohort(manifest, raw, tmp_path / name / "store", used, preset("corrected"), 0))
    wfdb, cardio = stores
    assert len(wfdb) == 6 and len(cardio) == 5
    assert cardio.meta["counts"]["quarantined"] == {"no strip": 1}
    np.testing.assert_array_equal(cardio.ecg, wfdb.ecg[:5])
    np.testing.assert_array_equal(cardio.cmr, wfdb.cmr[:5])
    pd.testing.assert_frame_equal(cardio.subjects, wfdb.subjects.iloc[:5])
    rejected = pd.read_csv(cardio.folder / "quarantine.csv", dtype=str).iloc[0]
    assert (rejected["subject"], rejected["file"]) == ("sim0000005", "ecg/sim0000005_20205_2_0.xml")


def test_a_manifest_for_xml_alone(tmp_path):
    (tmp_path / "raw").mkdir()
    for eid in ("1000001", "1000002", "1000003"):
        write_cardiosoft(tmp_path / "raw" / f"{eid}_20205_2_0.xml", SIGNAL)
    write_cardiosoft(tmp_path / "raw" / "1000002_20205_3_0.xml", SIGNAL)
    base = cohort_manifest("simulated")
    files = Files(ecg="{subject}_20205_{visit}_0.xml")
    manifest = dataclasses.replace(
        base, files=files, readers=Readers(ecg="cardiosoft"), tables=type(base.tables)(), labels=LabelRule(),
        visits=(2, 3), split=type(base.split)(),
    )  # fmt: skip
    store = preprocess_cohort(
        manifest, tmp_path / "raw", tmp_path / "store", profile("smoke"), preset("corrected"), 0, progress=False
    )
    assert store.subjects[["subject", "visit"]].to_numpy().tolist() == [
        ["1000001", "2"], ["1000002", "2"], ["1000002", "3"], ["1000003", "2"],
    ]  # fmt: skip


def small_file():
    leads = "".join(
        f'\n\t\t<WaveformData lead="{name}">1,2,\n\t\t3,4,</WaveformData>' for name in LEADS
    )  # fmt: skip
    return f"<CardiologyXML>\n\t<StripData>{HEAD}{leads}</StripData>\n</CardiologyXML>".encode()


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_fuzzing_ends_in_a_recording_or_a_reason(data, tmp_path_factory):
    content = bytearray(data.draw(st.sampled_from([small_file(), small_file().decode().encode("utf-16")])))
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, max(len(content) - 1, 0)))
        change = data.draw(st.sampled_from(["cut", "insert", "remove", "replace", "repeat"]))
        pieces = st.one_of(
            st.binary(max_size=8),
            st.sampled_from([b"<", b">", b"&", b"&#0;", b"<![CDATA[", b"<!DOCTYPE a>", b"<StripData>", b"1e9", b",,"]),
        )
        width = data.draw(st.integers(0, 40))
        if change == "cut":
            del content[place:]
        elif change == "insert":
            content[place:place] = data.draw(pieces)
        elif change == "remove":
            del content[place : place + width]
        elif change == "replace":
            content[place : place + width] = data.draw(pieces)
        else:
            content[place:place] = content[place : place + width] * data.draw(st.integers(1, 50))
    path = tmp_path_factory.getbasetemp() / "fuzz.xml"
    path.write_bytes(content)
    try:
        found = read_cardiosoft(path, "s")
    except Unusable as unusable:
        assert unusable.rejection.file == str(path)
    else:
        assert isinstance(found, Recording) and found.signal.shape[0] == len(found.names) == len(found.units)
        assert found.signal.size < 1_000_000
    try:
        assert set(read_measurements(path, "s")) == set(MEASUREMENTS)
    except Unusable as unusable:
        assert unusable.rejection.reason
