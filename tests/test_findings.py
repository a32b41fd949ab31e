"""The README tells what the record holds: by parts of the section, and the committed README by the committed record."""

import numpy as np
import pandas as pd
import pytest

from mmcl.evaluation.verdict import judge
from mmcl.findings import BEGIN, END, README, RECORD, main, markdown, record, table_rows, with_findings
from mmcl.provenance import read_json, write_json

SAME = {"task": "risk", "mode": "probe", "labels": "200", "metric": "AUROC", "subgroup": "", "seed": "0 101", "n": 90}


def results() -> pd.DataFrame:
    scores = [("CAD", "mdm", 0.6), ("CAD", "mdm+mmcl", 0.7), ("CAD", "mdm.mask_0.4", 0.9), ("AF", "mdm", np.nan)]
    plain = pd.DataFrame(scores, columns=["target", "arm", "value"]).assign(reference="")
    paired = pd.DataFrame([("CAD", "mdm+mmcl", 0.1)], columns=["target", "arm", "value"]).assign(reference="mdm")
    table = pd.concat([plain, paired], ignore_index=True).assign(p_holm=0.01, relative=16.7, **SAME)
    return table.assign(low=table.value - 0.05, high=table.value + 0.05)


@pytest.fixture
def found() -> dict:
    table = results()
    retrieval = [
        {
            "arm": "mdm+mmcl",
            "score": "median rank",
            "value": 146.0,
            "low": 130.0,
            "high": 160.0,
            "chance": 500.5,
            "n": 1000,
        },
        {"arm": "mdm+mmcl", "score": "recall@1", "value": 0.1, "low": 0.0, "high": 0.2, "chance": 0.001, "n": 1000},
    ]
    return record(
        {"AUROC": table[table["reference"] == ""]},
        judge(table, ["CAD", "AF"], "AUROC", "200"),
        source="simulated cohort v1",
        few="200",
        subjects={"train": 2000, "validation": 300, "test": 1000},
        retrieval=retrieval,
    )


def test_the_section_tells_scores_verdicts_and_retrieval(found, tmp_path):
    write_json(tmp_path / "summary.json", found)
    text = markdown(read_json(tmp_path / "summary.json"))
    assert "of the *simulated* cohort v1: 2,000 training, 300 validation, 1,000 test subjects, 2 training seeds" in text
    assert "| | CAD AUROC | AF AUROC |" in text
    assert "| MDM | 0.60 | missing |" in text and "| MDM + MMCL | 0.70 | missing |" in text
    assert "mask_0.4" not in text, "ablations have a figure of their own"
    assert "| MDM + MMCL is better than MDM alone | holds: CAD; missing: 1 | missing | missing | missing |" in text
    assert "| MDM + MMCL is better than SimCLR | missing |" in text
    assert "median rank of the right heart is 146 (130 to 160) by MDM + MMCL; chance is 500.5." in text


def test_rows_of_tables_follow_the_order_of_figures():
    both = pd.concat([results(), results().assign(mode="finetune")])
    assert list(table_rows(both).values()) == [
        "MDM (linear probe)",
        "MDM + MMCL (linear probe)",
        "MDM (fine-tuned)",
        "MDM + MMCL (fine-tuned)",
    ]


def test_only_what_stands_between_the_marks_is_written(found, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_json(tmp_path / "summary.json", found)
    main(tmp_path / "summary.json", readme)
    once = readme.read_text()
    assert once == f"before\n{BEGIN}\n\n{markdown(found)}\n{END}\nafter\n"
    main(tmp_path / "summary.json", readme)
    assert readme.read_text() == once
    with pytest.raises(ValueError, match="lacks the line"):
        with_findings("nothing marked", "section")


def test_the_readme_says_what_the_demo_found():
    readme = README.read_text(encoding="utf-8")
    assert with_findings(readme, markdown(read_json(RECORD))) == readme, "run python -m mmcl.findings"
