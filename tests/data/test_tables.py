import numpy as np
import pytest

from mmcl.data.tables import (
    attendance,
    canonical_column,
    codes,
    covariates,
    numbers,
    phenotypes,
    read_table,
    read_withdrawn,
)
from mmcl.phenotypes import PHENOTYPES


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "name", ["4080-2.0", "f.4080.2.0", "p4080_i2_a0", "p4080_i2", "4080-2", "f.4080.2", "participant.p4080_i2"]
)
def test_spellings(name):
    assert canonical_column(name) == "4080-2.0"


def test_other_names_stay():
    assert canonical_column("p31") == canonical_column("f.31.0.0") == "31-0.0"
    assert [canonical_column(name) for name in ("split", "es_frame", "p4080x", "2020-01-01")] == [
        "split", "es_frame", "p4080x", "2020-01-01",
    ]  # fmt: skip


def test_reading(tmp_path):
    tabs = write(tmp_path / "a.tsv", "eid\tf.31.0.0\tsplit\n0012\t1\ttrain\nNA\t\ttest\n")
    table = read_table(tabs)
    assert list(table.index) == ["0012", "NA"] and list(table.columns) == ["31-0.0", "split"]
    commas = write(tmp_path / "a.csv", "\ufefff.eid,p31,p50_i2\n0012,1,170\n")
    assert list(read_table(commas, fields=[50]).columns) == ["50-2.0"]


def test_repeated_subjects(tmp_path):
    same = write(tmp_path / "a.csv", "eid,p31\n7,1\n8,0\n7,1\n")
    assert list(read_table(same).index) == ["7", "8"]
    with pytest.raises(ValueError, match="b.csv: subject 7 on two rows that differ"):
        read_table(write(tmp_path / "b.csv", "eid,p31\n7,1\n7,0\n"))


def test_bad_tables(tmp_path):
    with pytest.raises(ValueError, match="no such table"):
        read_table(tmp_path / "none.tsv")
    with pytest.raises(ValueError, match="no column eid"):
        read_table(write(tmp_path / "a.csv", "patient,p31\n7,1\n"))
    with pytest.raises(ValueError, match="without a subject"):
        read_table(write(tmp_path / "b.csv", "eid,p31\n,1\n"))
    with pytest.raises(ValueError, match="c.csv: line 2 has 4 cells, the header 2"):
        read_table(write(tmp_path / "c.csv", "eid,p31\n7,1,2,3\n8,1,2,3,4,5\n"))
    with pytest.raises(ValueError, match="subject 7: 50-2.0 is 'tall'"):
        covariates(read_table(write(tmp_path / "d.csv", "eid,p31,p50_i2\n7,1,tall\n")), 2)
    with pytest.raises(ValueError, match="subject 7: sex is 3"):
        covariates(read_table(write(tmp_path / "e.csv", "eid,p31\n7,3\n")), 2)


def test_covariates(tmp_path):
    text = "eid,p31,p21003_i2,p21003_i3,p50_i2,p21002_i2,p4080_i2_a0,p4080_i2_a1\n7,0,61,64,170,70,120,130\n8,,,,,,,\n"
    table = read_table(write(tmp_path / "a.csv", text))
    row = covariates(table, 2).loc["7"]
    assert (row["age"], row["sex"], row["height"], row["systolic"]) == (61, 0, 170, 125)
    assert row["bsa"] == pytest.approx(1.81, abs=0.01)
    assert covariates(table, 2).loc["8"].isna().all()
    assert covariates(table, 3).loc["7", "age"] == 64 and np.isnan(covariates(table, 3).loc["7", "height"])


def test_phenotypes_and_codes(tmp_path):
    header = ",".join(f"{measure.field}-2.0" for measure in PHENOTYPES)
    values = ",".join("" if k == 3 else str(k) for k in range(82))
    table = phenotypes(read_table(write(tmp_path / "a.csv", f"eid,{header}\n7,{values}\n")), 2)
    assert table.shape == (1, 82) and list(table.columns[:4]) == ["LVEDV", "LVESV", "LVSV", "LVEF"]
    assert table.loc["7", "LVESV"] == 1 and np.isnan(table.loc["7", "LVEF"]) and table.loc["7", "Ell_global"] == 81
    records = read_table(write(tmp_path / "b.csv", "eid,41270-0.0,41270-0.1,41280-0.0\n7,I251,,2010-01-01\n"))
    assert list(codes(records).columns) == ["41270-0.0", "41270-0.1"]
    assert numbers(records, 31, 0).isna().all()


def test_dates_of_visits(tmp_path):
    table = read_table(write(tmp_path / "a.csv", "eid,p53_i0,p53_i2\n7,2008-01-02,2015-06-01\n8,2009-01-02,\n"))
    assert attendance(table, 2)["7"] == "2015-06-01" and attendance(table, 2).isna().tolist() == [False, True]
    assert attendance(table, 3).isna().all() and list(attendance(table, 3).index) == ["7", "8"]


def test_withdrawn(tmp_path):
    assert read_withdrawn(write(tmp_path / "w.csv", "eid\n0012\n\n13,\n")) == {"0012", "13"}


def test_a_list_of_those_who_withdrew_in_any_spelling(tmp_path):
    path = tmp_path / "withdrawn.csv"
    path.write_text('eid,date\n"1000001",2024-01-01\n1000002.0\n 1000003 ,x\n\n1000004\r\n')
    assert read_withdrawn(path) == {"1000001", "1000002", "1000003", "1000004"}
    path.write_text("1000001 1000002\n")
    with pytest.raises(ValueError, match="line 1 is '1000001 1000002', expected one identifier"):
        read_withdrawn(path)
