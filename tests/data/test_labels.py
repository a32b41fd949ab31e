"""Code lists, and labels at a visit against a naive reading of the same table, subject by subject."""

import datetime
import itertools

import numpy as np
import pandas as pd
import pytest

from mmcl.config import DISEASES
from mmcl.data.events import find_events
from mmcl.data.labels import (
    FILE,
    code_lists,
    diseases,
    label_subjects,
    label_tasks,
    label_visits,
    read_code_lists,
    record_fields,
)
from mmcl.data.manifest import LABEL_RULES, LABEL_SOURCES, LabelRule

NAMES = ("CAD", "AF", "DM", "hypertension", "heart_failure", "MI", "stroke", "cardiomyopathy")
VISIT = datetime.date(2015, 6, 1)
EVERYTHING = LabelRule("records", sources=LABEL_SOURCES)


def table(index=("a",), **columns):
    """A table of records; `i10_0="I251"` stands for column 41270-0.0, `i10d_0` for its date, `r20002_2_0` as it is."""
    short = {"i10": "41270-0", "i10d": "41280-0", "i9": "41271-0", "i9d": "41281-0", "op": "41272-0", "opd": "41282-0"}
    named = {}
    for name, values in columns.items():
        head, *rest = name.removeprefix("r").split("_")
        key = f"{short[head]}.{rest[0]}" if head in short else f"{head}-{rest[0]}.{rest[1]}"
        named[key] = [values] if isinstance(values, str) or values is None else list(values)
    frame = pd.DataFrame(named, index=list(index), dtype=object)
    return frame.where(frame.notna()).rename_axis("subject")


def at_visit(records, rule=EVERYTHING, day="2015-06-01", **rest):
    """Labels of each subject at instance 2, all on the same day."""
    return label_visits(records, pd.Series(day, records.index, dtype=object), 2, rule, **rest)


def told(labels, name="CAD", subject="a"):
    """(any, prevalent, incident) of one subject, None for missing."""
    values = labels.loc[subject, [name, f"{name}_prevalent", f"{name}_incident"]]
    return tuple(None if pd.isna(value) else int(value) for value in values)


ICD = LabelRule("records", sources=("icd10",))
REPORT = LabelRule("records", sources=("self_report",))
OPERATION = LabelRule("records", sources=("operations",))


@pytest.mark.parametrize("code", ["I249", "I24.9", "I250", "I25.0", "I200", "i251", "I25", " I259 ", "I2510"])
def test_coronary_disease(code):
    assert "CAD" in diseases(code)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("I48", "AF"), ("I489", "AF"), ("I480", "AF"), ("I47", ""), ("I490", ""), ("E100", "DM"), ("E149", "DM"),
        ("E15", ""), ("E09", ""), ("O244", ""), ("I19", ""), ("I26", ""), ("I260", ""), ("Z951", ""), ("C7A0", ""),
        ("I21", "CAD MI"), ("I240", "CAD"), ("I241", "CAD MI"), ("I252", "CAD MI"), ("I255", "CAD heart_failure"),
        ("I110", "hypertension heart_failure"), ("I119", "hypertension"), ("I14", ""),
        ("I420", "heart_failure cardiomyopathy"),
        ("I421", "cardiomyopathy"), ("I62", ""), ("I639", "stroke"), ("I64X", "stroke"), ("I65", ""), ("O10", ""),
    ],
)  # fmt: skip
def test_borders(code, expected):
    assert " ".join(diseases(code)) == expected


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("icd10", "I2"), ("icd10", ""), ("icd10", "249I"), ("icd10", "I24.9I25.0"), ("icd10", "410.9"),
        ("icd10", "nan"),
        ("icd10", "I251 Angina"), ("icd9", "41"), ("icd9", "I251"), ("self_report", "angina"),
        ("self_report", "1075.0"),
        ("operations", "401"), ("operations", "K4"), ("reported_operations", "K40"), ("self_report", "-1"),
    ],
)  # fmt: skip
def test_no_code(kind, code):
    with pytest.raises(ValueError, match="is no .* code"):
        diseases(code, kind)


def test_no_code_is_lost_in_any_spelling():
    """Every listed code, and a subdivision of it, is found in a record with and without its dot."""
    count = 0
    for name, lists in code_lists().items():
        for kind, listed in lists.items():
            for code in listed.codes:
                reported = kind in ("self_report", "reported_operations")
                digits = code[:3] + "." + code[3:] if len(code) > 3 and not reported else code
                further = (
                    [] if reported or len(code) > 4 else [code + "8", (digits + ("" if "." in digits else ".") + "8")]
                )
                for spelt in (code, digits, digits.lower(), *further):
                    assert name in diseases(spelt, kind), (name, kind, spelt)
                    count += 1
    assert count > 300 and tuple(code_lists()) == NAMES


def test_no_code_is_listed_twice_and_every_list_has_a_source():
    for name, lists in code_lists().items():
        assert {"icd10", "icd9", "self_report"} <= set(lists), name
        for kind, listed in lists.items():
            assert listed.source
            for one, other in itertools.permutations(listed.codes, 2):
                assert not one.startswith(other), (name, kind, one, other)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A:\n  icd10: {codes: [I25, I24, I25], source: x}", "A.icd10: I25 is there twice"),
        ("A:\n  icd10: {codes: [I25, I25.2], source: x}", "A.icd10: I252 is contained in I25"),
        ("A:\n  icd10: {codes: [I252, I25.2], source: x}", "I252 is there twice"),
        ("A:\n  icd10: {codes: [I249I250], source: x}", "is no ICD-10 code"),
        ("A:\n  icd11: {codes: [I25], source: x}", "unknown key 'icd11'"),
        ("A:\n  icd10: {codes: [I25], sources: x}", "unknown key 'sources'"),
        ("A:\n  icd10: {codes: [I25]}", "expected a text as source"),
        ("A:\n  icd10: {codes: [], source: x}", "expected a list of texts"),
        ("A:\n  icd9: {codes: [410], source: x}", "expected a list of texts"),
        ("A:\n  icd10: {codes: [I25], source: x}\nA:\n  icd10: {codes: [I24], source: x}", "key 'A' is there twice"),
        ("A:\n  icd10: {codes: [I25], source: x}\n  icd10: {codes: [I2], source: x}", "key 'icd10' is there twice"),
        ("- I25", "expected a mapping"), ("A: I25", "expected lists"), ("A: [", "codes.yaml"),
        ("A: !!python/object/apply:os.getcwd []", "codes.yaml"),
    ],
)  # fmt: skip
def test_bad_lists_are_errors(tmp_path, text, message):
    path = tmp_path / "codes.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_code_lists(path)
    assert read_code_lists(FILE) == code_lists()


def test_the_joined_code_of_the_published_list_is_refused_and_its_parts_count():
    with pytest.raises(ValueError):
        diseases("I249I250")
    for code in ("I24.9", "I249", "I25.0", "I250"):
        assert told(at_visit(table(i10_0=code), ICD))[0] == 1
        assert told(at_visit(table(i10_0=code), ICD, whole_icd_list=False))[0] == 0


def test_the_published_list_loses_two_codes_and_no_other():
    for code in ("I249", "I24.9", "i250", "I25.0"):
        assert diseases(code, whole_icd_list=False) == ()
    kept = [diseases(code, whole_icd_list=False)[0] for code in ("I248", "I251", "I48", "E119")]
    assert kept == ["CAD", "CAD", "AF", "DM"]
    records = pd.DataFrame({"41270-0.0": ["I249", "I249", "I250"], "41270-0.1": [np.nan, "I251", "E119"]}, dtype=object)
    assert label_subjects(records)["CAD"].tolist() == [1, 1, 1]
    published = label_subjects(records, whole_icd_list=False)
    assert published.to_dict("list") == {"CAD": [0, 1, 0], "AF": [0, 0, 0], "DM": [0, 0, 1]}


def test_three_diseases_of_a_table_of_codes():
    records = pd.DataFrame(
        {"41270-0.0": ["I251", np.nan, "J459"], "41270-0.1": ["E119", None, " "]}, index=["a", "b", "c"], dtype=object
    )
    labels = label_subjects(records)
    assert labels.to_dict("list") == {"CAD": [1, 0, 0], "AF": [0, 0, 0], "DM": [1, 0, 0]}
    records.loc["c", "41270-0.1"] = "asthma!"
    with pytest.raises(ValueError, match="subject c: 'asthma!'"):
        label_subjects(records)


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("2015-05-31", (1, 1, None)), ("2015-06-01", (1, 1, None)), ("2015-06-02", (1, 0, 1)),
        (None, (1, None, None)), ("1900-01-01", (1, None, None)), ("2037-07-07", (1, None, None)),
        ("1902-02-02", (1, 1, None)),
    ],
)  # fmt: skip
def test_before_and_after_the_visit(date, expected):
    assert told(at_visit(table(i10_0="I251", i10d_0=date), ICD)) == expected


def test_codes_and_dates_are_matched_by_array_index():
    records = table(
        i10_0="J459", i10d_0="2001-01-01", i10_1="I251", i10d_1="2016-01-01", i10_10="E119", i10d_10="2009-01-01"
    )
    labels = at_visit(records, ICD)
    assert told(labels) == (1, 0, 1) and told(labels, "DM") == (1, 1, None) and told(labels, "AF") == (0, 0, 0)


def test_the_first_of_several_events_counts():
    both = table(i10_0="I251", i10d_0="2016-01-01", i10_1="I209", i10d_1="2010-01-01")
    assert told(at_visit(both, ICD)) == (1, 1, None) and told(at_visit(both, ICD), "MI") == (0, 0, 0)
    undated = table(i10_0="I251", i10d_0="2016-01-01", i10_1="I209", i10d_1=None)
    assert told(at_visit(undated, ICD)) == (1, None, None), "the undated one may have been before"
    sure = table(i10_0="I251", i10d_0="2010-01-01", i10_1="I209", i10d_1=None)
    assert told(at_visit(sure, ICD)) == (1, 1, None)


def test_reports():
    assert told(at_visit(table(r20002_0_0="1075"), REPORT)) == (1, 1, None)
    assert told(at_visit(table(r20002_2_5="1074"), REPORT)) == (1, 1, None)
    assert told(at_visit(table(r20002_3_0="1075"), REPORT)) == (1, None, None), (
        "reported later, begun nobody knows when"
    )
    assert told(at_visit(table(r20002_3_0="1075", r20008_3_0="2017.5"), REPORT)) == (1, 0, 1)
    assert told(at_visit(table(r20002_3_0="1075", r20008_3_0="2003.5"), REPORT)) == (1, 1, None)
    assert told(at_visit(table(r20002_3_0="1075", r20008_3_0="-1"), REPORT)) == (1, None, None)
    # Half of 2015 is a month after the visit, whose report says more.
    assert told(at_visit(table(r20002_2_0="1075", r20008_2_0="2015.5"), REPORT)) == (1, 1, None)
    assert told(at_visit(table(r20002_0_0="99999"), REPORT)) == (0, 0, 0)


def test_operations_and_old_codes():
    assert told(at_visit(table(op_0="K40.1", opd_0="2016-01-01"), OPERATION)) == (1, 0, 1)
    assert told(at_visit(table(r20004_2_0="1095"), OPERATION)) == (1, 1, None)
    # 1075 is an infarction as an illness, and something else as an operation.
    assert told(at_visit(table(r20004_2_0="1075"), OPERATION)) == (0, 0, 0)
    old = LabelRule("records", sources=("icd9",))
    assert told(at_visit(table(i9_0="4109", i9d_0="1995-03-01"), old), "MI") == (1, 1, None)


def test_only_the_rules_sources_count():
    records = table(i10_0="J459", i9_0="4109", r20002_0_0="1471", op_0="K401")
    assert told(at_visit(records, ICD)) == (0, 0, 0) and told(at_visit(records, ICD), "AF") == (0, 0, 0)
    assert told(at_visit(records, REPORT), "AF") == (1, 1, None)
    with pytest.raises(ValueError, match="no column of field 41270, which the source icd10 needs"):
        at_visit(table(r20002_0_0="1471"), ICD)
    # What a source that is not used holds is not looked at.
    assert told(at_visit(table(i10_0="J459", op_0="nonsense!"), ICD)) == (0, 0, 0)


def test_who_is_not_in_the_table_has_no_label():
    dates = pd.Series({"b": "2015-06-01", "a": "2015-06-01"})
    labels = label_visits(table(i10_0="I251", i10d_0="2010-01-01"), dates, 2, ICD)
    assert list(labels.index) == ["b", "a"] and labels.loc["b"].isna().all() and told(labels) == (1, 1, None)
    assert (labels.dtypes == "Int64").all() and labels.shape == (2, 24)


def test_without_the_date_of_the_visit_only_a_report_tells():
    records = table("abcd", i10_0=["I251", "J459", None, "I251"], i10d_0=["2010-01-01"] * 2 + [None, "2010-01-01"],
                    r20002_1_0=[None, None, None, "1075"])  # fmt: skip
    rule = LabelRule("records", sources=("icd10", "self_report"))
    for dates in (None, pd.Series({"a": None, "b": np.nan, "c": None, "d": None}, dtype=object)):
        labels = label_visits(records, dates, 2, rule)
        assert [told(labels, "CAD", s) for s in "abcd"] == [
            (1, None, None), (0, None, None), (0, None, None), (1, 1, None),
        ]  # fmt: skip


def test_horizon_and_end_of_records():
    def label(date, **rule):
        return told(at_visit(table(i10_0="I251" if date else "J459", i10d_0=date), LabelRule("records", **rule)))

    assert label("2018-01-01", horizon=5.0) == (1, 0, 1)
    assert label("2021-01-01", horizon=5.0) == (1, 0, 0), "free of it for five years"
    assert label(None, horizon=5.0) == (0, 0, 0)
    assert label(None, horizon=5.0, censored="2020-06-01") == (0, 0, 0)
    assert label(None, horizon=5.0, censored="2020-05-01") == (0, 0, None), "followed for less than five years"
    assert label("2018-01-01", horizon=5.0, censored="2019-01-01") == (1, 0, 1)
    assert label("2021-01-01", horizon=5.0, censored="2022-01-01") == (1, 0, 0)
    assert label("2021-01-01", censored="2020-01-01") == (0, 0, 0), "after the end of records"
    assert label(None, censored="2015-06-01") == (0, 0, None) and label(None, censored="2015-06-02") == (0, 0, 0)


@pytest.mark.parametrize(("timing", "place"), [("any", 0), ("prevalent", 1), ("incident", 2)])
def test_timing_says_what_the_plain_columns_mean(timing, place):
    records = table("abc", i10_0=["I251", "I251", "J459"], i10d_0=["2010-01-01", "2016-01-01", "2010-01-01"])
    labels = at_visit(records, LabelRule("records", timing=timing))
    whole = at_visit(records, ICD)
    expected = whole[["CAD", "CAD_prevalent", "CAD_incident"][place]].rename("CAD")
    pd.testing.assert_series_equal(labels["CAD"], expected)
    assert list(labels.columns) == [name + part for part in ("", "_prevalent", "_incident") for name in NAMES]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"i10_0": "asthma!"}, "subject a: 'asthma!' is no ICD-10 code"),
        ({"r20002_0_0": "angina"}, "subject a: 'angina' is no self-report code"),
        ({"i10_0": "I251", "i10d_0": "soon"}, "subject a: 41280-0.0 is 'soon', expected a date"),
        ({"i10_0": "I251", "i10d_0": "2015-02-30"}, "subject a: 41280-0.0 is '2015-02-30'"),
        ({"i10_0": "I251", "i10d_0": "01/02/2015"}, "subject a: 41280-0.0"),
        ({"r20002_0_0": "1075", "r20008_0_0": "12"}, "subject a: 20008-0.0 is '12', expected a year"),
        ({"r20002_0_0": "1075", "r20008_0_0": "nan"}, "subject a: 20008-0.0 is 'nan'"),
    ],
)
def test_bad_cells_name_the_subject(columns, message):
    rule = LabelRule("records", sources=("icd10",) if "i10_0" in columns else ("self_report",))
    with pytest.raises(ValueError, match=message):
        at_visit(table(**columns), rule)
    with pytest.raises(ValueError, match="subject a: the date of the visit is 'today'"):
        at_visit(table(i10_0="I251"), ICD, day="today")


@pytest.mark.parametrize("cell", ["J459|I251|E119", '["J459","I251","E119"]', '["J459", "I251", "E119"]'])
def test_all_codes_of_a_subject_in_one_cell(cell):
    """As the Research Analysis Platform writes them: the second code has the date of array index 1."""
    records = table("ab", i10_0=[cell, "I48"], i10d_0=["2001-01-01", "2002-01-01"], i10d_1=["2016-01-01", None],
                    i10d_2=["2004-01-01", None])  # fmt: skip
    labels = at_visit(records, ICD)
    assert told(labels) == (1, 0, 1) and told(labels, "DM") == (1, 1, None) and told(labels, "AF") == (0, 0, 0)
    assert told(labels, "AF", "b") == (1, 1, None)
    with pytest.raises(ValueError, match="subject a: 'x' is no"):
        at_visit(table(i10_0="I251|x"), ICD)


def test_fields_to_read():
    assert record_fields(ICD) == (41270, 41280)
    assert record_fields(LabelRule("records", sources=("operations", "self_report"))) == (
        41272, 41282, 20004, 20010, 20002, 20008,
    )  # fmt: skip


def test_tasks_name_columns_of_labels():
    assert set(at_visit(table(i10_0="I251"), ICD)) >= set(itertools.chain(*label_tasks(ICD).values()))
    tasks = label_tasks(ICD)
    assert tasks["risk"] == DISEASES and len(tasks["prevalent"]) == len(tasks["incident"]) == 8
    assert label_tasks(LabelRule("ptbxl")) == {"superclasses": ("NORM", "MI", "STTC", "CD", "HYP")}
    assert label_tasks(LabelRule("acdc")) == {"groups": ("DCM", "HCM", "MINF", "NOR", "RV")}
    assert label_tasks(LabelRule("columns", columns={"scar": "LGE"})) == {"labels": ("scar",)}
    assert label_tasks(LabelRule()) == {} and len(label_tasks(LabelRule("cinc"))["diagnoses"]) == 26
    for rule in LABEL_RULES:
        label_tasks(LabelRule(rule))


def naive(row, visit_day, visit, rule):
    """(any, prevalent, incident) of every disease for one subject, by reading its cells one after the other."""
    end = datetime.date.fromisoformat(rule.censored) if rule.censored else None
    fields = {"icd10": (41270, 41280), "icd9": (41271, 41281), "operations": (41272, 41282),
              "self_report": (20002, 20008), "reported_operations": (20004, 20010)}  # fmt: skip
    kinds = [kind for s in rule.sources for kind in ((s, "reported_operations") if s == "operations" else (s,))]
    answer = {}
    for name in NAMES:
        events = []
        for kind, (column, cell) in itertools.product(kinds, row.items()):
            field, _, place = column.partition("-")
            if int(field) != fields[kind][0] or pd.isna(cell) or name not in diseases(cell, kind):
                continue
            when, reported = row.get(f"{fields[kind][1]}-{place}"), kind in ("self_report", "reported_operations")
            if when is None or pd.isna(when) or when in ("-1", "-3", "1900-01-01"):
                day = None
            elif reported:
                day = datetime.date(int(float(when)), 1, 1) + datetime.timedelta(int(float(when) % 1 * 365.25))
            else:
                day = datetime.date.fromisoformat(when)
            if not (end and day and day > end):
                events.append((day, reported and int(place.split(".")[0]) <= visit))
        dated = [day for day, _ in events if day]
        if any(sure for _, sure in events) or (visit_day and any(day <= visit_day for day in dated)):
            prevalent, incident = 1, None
        elif visit_day is None or len(dated) < len(events):
            prevalent = incident = None
        else:
            prevalent, limit = 0, visit_day + datetime.timedelta(round((rule.horizon or 0) * 365.25))
            if dated:
                incident = int(rule.horizon is None or min(dated) <= limit)
            else:
                followed = end is None or (limit <= end if rule.horizon else limit < end)
                incident = 0 if followed else None
        answer[name] = (int(bool(events)), prevalent, incident)
    return answer


@pytest.mark.parametrize("seed", range(6))
def test_labels_are_those_of_a_naive_reading(seed):
    rng = np.random.default_rng(seed)
    pools = {41270: ["I251", "I25.2", "J459", "I48", "E119", "I110", "I420"], 41271: ["4109", "428.0", "2500", "4930"],
             41272: ["K401", "K621", "Z942"], 20002: ["1075", "1471", "1220", "1111", "99999"],
             20004: ["1095", "1524", "1400"]}  # fmt: skip
    n, columns = 60, {}
    for (field, pool), instance, array in itertools.product(pools.items(), range(4), range(3)):
        if field > 40000 and instance:
            continue
        empty = rng.random(n) < 0.8
        columns[f"{field}-{instance}.{array}"] = np.where(empty, np.nan, rng.choice(np.array(pool, object), n))
        days = [str(datetime.date(2000, 1, 1) + datetime.timedelta(int(k))) for k in rng.integers(0, 9000, n)]
        years = [f"{year:.1f}" for year in rng.uniform(2000, 2024, n)]
        values = np.array(days if field > 40000 else years, object)
        values[rng.random(n) < 0.1] = "1900-01-01" if field > 40000 else "-1"
        values[rng.random(n) < 0.1] = np.nan
        columns[f"{field + (10 if field > 40000 else 6)}-{instance}.{array}"] = values
    records = pd.DataFrame(columns, index=[f"s{k}" for k in range(n)], dtype=object)
    dates = pd.Series([str(VISIT + datetime.timedelta(int(k))) for k in rng.integers(-900, 900, n)], records.index)
    dates[rng.random(n) < 0.1] = None
    chosen = tuple(source for source in LABEL_SOURCES if rng.random() < 0.7) or ("icd10",)
    rule = LabelRule("records", chosen, horizon=[None, 3.0, 6.0][seed % 3], censored=[None, "2019-01-01"][seed % 2])
    labels = label_visits(records, dates, 2, rule)
    seen = set()
    for subject in records.index:
        day = None if pd.isna(dates[subject]) else datetime.date.fromisoformat(dates[subject])
        expected = naive(records.loc[subject].to_dict(), day, 2, rule)
        assert {name: told(labels, name, subject) for name in NAMES} == expected, subject
        seen |= set(expected.values())
    assert len(seen) >= 5, "the table holds few cases"


def test_a_category_of_texts_and_an_empty_table():
    records = table("ab", i10_0=["I251", None], i10d_0=["2010-01-01", None])
    pd.testing.assert_frame_equal(at_visit(records.astype("category"), ICD), at_visit(records, ICD))
    assert at_visit(records.iloc[:0], ICD).shape == (0, 24)
    assert len(find_events(records, (), lambda code, kind: 1).row) == 0
