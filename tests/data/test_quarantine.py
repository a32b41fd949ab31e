import pandas as pd

from mmcl.data.quarantine import Quarantine, Rejection


def test_quarantine(tmp_path):
    quarantine = Quarantine()
    assert quarantine.summary(5) == "5 of 5 used"
    quarantine.add(Rejection("a.hea", "0012", "flat", "2 leads, with a signal", "at least 6"))
    quarantine.add(Rejection("b.hea", "0013", "flat", "0", "at least 6"))
    quarantine.add(Rejection("c.nii.gz", "0014", "constant image", "0", "contrast"))
    assert quarantine.summary(10) == "7 of 10 used; left out: 1 constant image, 2 flat"
    quarantine.write(tmp_path / "quarantine.csv")
    table = pd.read_csv(tmp_path / "quarantine.csv", dtype=str)
    assert list(table) == ["file", "subject", "reason", "value", "expectation"]
    assert list(table["subject"]) == ["0012", "0013", "0014"] and table["value"][0] == "2 leads, with a signal"
    assert [path.name for path in tmp_path.iterdir()] == ["quarantine.csv"]
