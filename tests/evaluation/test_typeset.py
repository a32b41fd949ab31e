"""Tables as files: exact small examples, escapes, bold only where told, LaTeX that is balanced."""

import re

import numpy as np
import pandas as pd
import pytest

from mmcl.evaluation.tables import COLUMNS
from mmcl.evaluation.typeset import Block, Cell, blocks, caption, latex, latex_table, markdown_table, write_tables

ROWS = {("mdm", "probe"): "MDM", ("mdm+mmcl", "probe"): "MDM + MMCL", ("clocs", "probe"): "CLOCS"}


def results(p_holm=0.01, value=0.7, labels="all") -> pd.DataFrame:
    rows = [
        {"arm": "mdm", "value": 0.6, "low": 0.55, "high": 0.65, "reference": ""},
        {"arm": "mdm+mmcl", "value": value, "low": value - 0.05, "high": value + 0.05, "reference": ""},
        {"arm": "mdm+mmcl", "value": value - 0.6, "low": 0.01, "high": 0.2, "reference": "mdm", "p_holm": p_holm},
    ]
    same = {
        "task": "risk",
        "target": "CAD",
        "mode": "probe",
        "labels": labels,
        "metric": "AUROC",
        "n": 1000,
        "seed": "0",
    }
    return pd.DataFrame(rows).reindex(columns=list(COLUMNS)).assign(**same, subgroup="")


def bold(parts, target="CAD"):
    (part,) = parts
    return [words for words, row in part.cells.iterrows() if row[target].bold]


def test_markdown_is_exactly_this():
    parts = blocks(results(), ["CAD"], "AUROC", ROWS, "mdm+mmcl", digits=2)
    assert markdown_table(parts, "Simulated.").splitlines() == [
        "**all labels**",
        "",
        "| | CAD |",
        "|---|---|",
        "| MDM | 0.60 (0.55 to 0.65) |",
        "| MDM + MMCL | **0.70** (0.65 to 0.75) |",
        "| CLOCS | missing |",
        "",
        "Simulated.",
    ]


def test_latex_is_exactly_this():
    part = Block("200 labels", pd.DataFrame({"R²_1": [Cell("0.70", " (0.65 to 0.75)", True)]}, index=["A & B"]))
    assert latex_table([part], "50 % of 3", "tab:risk").splitlines() == [
        r"\begin{table}",
        r"\centering\small",
        r"\caption{50 \% of 3}",
        r"\label{tab:risk}",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r" & R\textsuperscript{2}\_1 \\",
        r"\midrule",
        r"\multicolumn{2}{l}{\emph{200 labels}} \\",
        r"A \& B & \textbf{0.70} (0.65 to 0.75) \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


def test_the_best_is_bold_only_if_told_apart():
    def parts(table):
        return blocks(table, ["CAD"], "AUROC", ROWS, "mdm+mmcl")

    assert bold(parts(results())) == ["MDM + MMCL"]
    assert bold(parts(results(p_holm=0.2))) == bold(parts(results(p_holm=np.nan))) == []
    assert bold(parts(results(value=0.5))) == ["MDM"], "better than the method, and told"
    other_mode = results().assign(mode=["finetune", "probe", "finetune"])
    rows = {("mdm", "probe"): "a", ("mdm", "finetune"): "b", ("mdm+mmcl", "probe"): "c"}
    assert bold(blocks(other_mode, ["CAD"], "AUROC", rows, "mdm+mmcl")) == [], "that pair was not compared"


def test_few_labels_come_first_and_double_results_are_refused():
    both = pd.concat([results(), results(labels="200"), results(labels="0.1")])
    parts = blocks(both, ["CAD", "AF"], "AUROC", ROWS, "mdm+mmcl")
    assert [part.title for part in parts] == ["10 % of labels", "200 labels", "all labels"]
    assert parts[0].cells["AF"].map(lambda cell: cell.text).eq("missing").all()
    with pytest.raises(ValueError, match="more than one AUROC"):
        blocks(pd.concat([results(), results()]), ["CAD"], "AUROC", ROWS, "mdm+mmcl")


def test_latex_escapes_every_special_sign():
    assert latex(r"a_b & 5 % $x^2$ #{~}\ ") == (
        r"a\_b \& 5 \% \$x\textasciicircum{}2\$ \#\{\textasciitilde{}\}\textbackslash{} "
    )


def test_files_are_balanced_and_say_what_they_are(tmp_path):
    table = results()
    words = caption(table, "AUROC", "simulated cohort v1, seed_0")
    assert "n = 1,000 subjects, 1 seed." in words and "p < 0.05 after Holm" in words
    write_tables(tmp_path / "tables", "risk", blocks(table, ["CAD"], "AUROC", ROWS, "mdm+mmcl"), words)
    text = (tmp_path / "tables" / "risk.tex").read_text()
    assert re.findall(r"\\begin\{(\w+)\}", text) == re.findall(r"\\end\{(\w+)\}", text)[::-1]
    bare = re.sub(r"\\[{}]", "", text)
    depths = np.cumsum([{"{": 1, "}": -1}.get(sign, 0) for sign in bare])
    assert depths.min() >= 0 and depths[-1] == 0
    assert not re.search(r"(?<!\\)[%$#_]", text)
    widths = {line.count("&") for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line}
    assert widths == {1}
    assert "simulated cohort v1, seed_0" in (tmp_path / "tables" / "risk.md").read_text()
    assert caption(table.iloc[:0], "AUROC", "simulated") == "AUROC: missing. Data: simulated."
