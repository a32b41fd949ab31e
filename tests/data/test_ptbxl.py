import time

import numpy as np
import pandas as pd
import pytest

from mmcl.data.ptbxl import MOST_CHARACTERS, SUPERCLASSES, age, parse_statements, read_statements, superclasses

STATEMENTS = """,description,diagnostic,form,rhythm,diagnostic_class,diagnostic_subclass
NORM,normal ECG,1.0,,,NORM,NORM
IMI,inferior myocardial infarction,1.0,,,MI,IMI
NDT,non-diagnostic T abnormalities,1.0,1.0,,STTC,STTC
LAO/LAE,left atrial overload/enlargement,1.0,,,HYP,LAO/LAE
1AVB,first degree AV block,1.0,,,CD,_AVB
NST_,non-specific ST changes,1.0,1.0,,STTC,NST_
ABQRS,abnormal QRS,,1.0,,,
SR,sinus rhythm,,,1.0,,
"""


@pytest.fixture
def statements(tmp_path):
    path = tmp_path / "scp_statements.csv"
    path.write_text(STATEMENTS)
    return path


def test_superclasses(statements):
    codes = pd.Series(
        {
            1: "{'NORM': 100.0, 'SR': 0.0}",
            2: "{'IMI': 15.0, 'LAO/LAE': 0.0, 'ABQRS': 0.0}",
            3: "{'SR': 0.0, 'ABQRS': 0.0}",
            4: "{}",
            5: np.nan,
            6: '{"1AVB": 100, "NST_": 35.0, "NDT": 80.0}',
        }
    )
    found = superclasses(codes, statements)
    assert list(found.columns) == list(SUPERCLASSES) == ["NORM", "MI", "STTC", "CD", "HYP"]
    assert (found.dtypes == "Int64").all() and list(found.index) == [1, 2, 3, 4, 5, 6]
    assert found.loc[1].tolist() == [1, 0, 0, 0, 0]
    assert found.loc[2].tolist() == [0, 1, 0, 0, 1], "a likelihood of 0 was not given, and counts"
    assert found.loc[6].tolist() == [0, 0, 1, 1, 0]
    assert found.loc[[3, 4, 5]].isna().all(axis=None), "no diagnostic statement is no label"


@pytest.mark.parametrize(
    "text",
    [
        "{'NORM': __import__('os').getcwd()}",
        "{'NORM': 10**10}",
        "{'NORM': 101}",
        "{'NORM': -1}",
        "{'NORM': nan}",
        "{'NORM'}",
        "{'NORM': 1.0, 'NORM': 0.0}",
        "{'NORM': 1.0,}",
        "{'NORM\": 1.0}",
        "{NORM: 1.0}",
        "[('NORM', 1.0)]",
        "{",
        "",
        "{'NORM': {'SR': 1.0}}",
        "{" + "'SR': 0.0, " * MOST_CHARACTERS + "}",
    ],
)
def test_other_texts_are_refused_and_never_evaluated(statements, text):
    with pytest.raises(ValueError, match="recording 17: statements"):
        superclasses(pd.Series({17: text}), statements)


def test_a_hostile_text_takes_no_time():
    begin = time.perf_counter()
    for text in (
        "{" + " " * (MOST_CHARACTERS - 3) + "x}",
        "{'" + "A" * (MOST_CHARACTERS - 4) + "}",
        "{" * MOST_CHARACTERS,
    ):
        with pytest.raises(ValueError):
            parse_statements(text, 1)
    assert time.perf_counter() - begin < 0.1


def test_statements_that_the_table_lacks(statements, tmp_path):
    with pytest.raises(ValueError, match="recording 3: statement 'XYZ' is not in .*scp_statements.csv"):
        superclasses(pd.Series({3: "{'XYZ': 100.0}"}), statements)
    assert read_statements(statements)["NDT"] == "STTC" and read_statements(statements)["SR"] == ""
    for spoilt in (
        STATEMENTS.replace("diagnostic_class", "class"),
        STATEMENTS.replace("MI,IMI", "XX,IMI"),
        "",
        "a,b\n1\n",
    ):
        (tmp_path / "bad.csv").write_text(spoilt)
        with pytest.raises(ValueError, match="bad.csv"):
            read_statements(tmp_path / "bad.csv")
    with pytest.raises(ValueError, match="none.csv"):
        read_statements(tmp_path / "none.csv")


def test_age():
    years = age(pd.Series(["56", "300.0", None, "89"], index=[4, 5, 6, 7]))
    assert years.drop(6).to_dict() == {4: 56.0, 5: 90.0, 7: 89.0} and np.isnan(years[6])
