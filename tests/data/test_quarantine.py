import pandas as pd

from mmcl.data.quarantine import Quarantine, Rejection, header_line, line, read_quarantine


def test_quarantine(tmp_path):
    quarantine = Quarantine()
    assert quarantine.summary(5) == "5 of 5 used"
    quarantine.add(Rejection("a.hea", "0012", "flat", "2 leads, with a signal", "at least 6"))
    quarantine.add(Rejection("b.hea", "0013", "flat", "0", "at least 6"))
    quarantine.add(Rejection("c.nii.gz", "0014", "constant image", "0", "contrast"))
    assert quarantine.summary(10) == "7 of 10 used; left out: 1 constant image, 2 flat"
    lines = header_line() + "".join(map(line, quarantine.rejections))
    (tmp_path / "quarantine.csv").write_text(lines)
    assert read_quarantine(tmp_path / "quarantine.csv") == quarantine.rejections
    table = pd.read_csv(tmp_path / "quarantine.csv", dtype=str)
    assert list(table) == ["file", "subject", "reason", "value", "expectation"]
    assert list(table["subject"]) == ["0012", "0013", "0014"] and table["value"][0] == "2 leads, with a signal"
