import numpy as np
import pandas as pd
import pytest

from mmcl.data.labels import disease, diseases, label_subjects


@pytest.mark.parametrize("code", ["I249", "I24.9", "I250", "I25.0", "I200", "i251", "I25", " I259 ", "I2510"])
def test_coronary_disease(code):
    assert disease(code) == "CAD"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("I48", "AF"), ("I489", "AF"), ("I480", "AF"), ("I47", None), ("I490", None),
        ("E100", "DM"), ("E149", "DM"), ("E15", None), ("E09", None), ("O244", None),
        ("I19", None), ("I26", None), ("I260", None), ("Z951", None), ("C7A0", None),
    ],
)  # fmt: skip
def test_borders(code, expected):
    assert disease(code) == expected


@pytest.mark.parametrize("code", ["I2", "", "249I", "I24.9I25.0", "410.9", "nan"])
def test_no_code(code):
    with pytest.raises(ValueError, match="no ICD-10 code"):
        disease(code)


def test_the_joined_code_of_the_published_list_is_refused_and_its_parts_count():
    with pytest.raises(ValueError):
        disease("I249I250")
    assert diseases(["I249"])["CAD"] == diseases(["I250"])["CAD"] == 1


def test_the_published_list_loses_two_codes_and_no_other():
    for code in ("I249", "I24.9", "i250", "I25.0"):
        assert disease(code, whole_icd_list=False) is None
    assert [disease(code, whole_icd_list=False) for code in ("I248", "I251", "I48", "E119")] == [
        "CAD",
        "CAD",
        "AF",
        "DM",
    ]
    records = pd.DataFrame({"41270-0.0": ["I249", "I249", "I250"], "41270-0.1": [np.nan, "I251", "E119"]}, dtype=object)
    assert label_subjects(records)["CAD"].tolist() == [1, 1, 1]
    published = label_subjects(records, whole_icd_list=False)
    assert published.to_dict("list") == {"CAD": [0, 1, 0], "AF": [0, 0, 0], "DM": [0, 0, 1]}


def test_table():
    records = pd.DataFrame(
        {"41270-0.0": ["I251", np.nan, "J459"], "41270-0.1": ["E119", None, " "]}, index=["a", "b", "c"], dtype=object
    )
    labels = label_subjects(records)
    assert labels.to_dict("list") == {"CAD": [1, 0, 0], "AF": [0, 0, 0], "DM": [1, 0, 0]}
    records.loc["c", "41270-0.1"] = "asthma!"
    with pytest.raises(ValueError, match="subject c: 'asthma!'"):
        label_subjects(records)
