"""Tables of a result table for a paper and for a page: LaTeX (booktabs) and Markdown, by task.

The best score of a column is bold only if, after Holm's correction, it is better than that of the method, or, where the
method is the best, than the next: those are the comparisons that were tested. A best not told apart is not bold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mmcl.evaluation.significance import LEVEL
from mmcl.evaluation.tables import label_order, label_words
from mmcl.provenance import write_text

MISSING = "missing"
"""What stands in the place of a result that does not exist."""

_LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "²": r"\textsuperscript{2}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


@dataclass(frozen=True)
class Cell:
    """One result as it is printed: the value as `text`, its `interval`, and whether it is told to be the best."""

    text: str
    interval: str = ""
    bold: bool = False


@dataclass(frozen=True)
class Block:
    """Cells of one number of labels: rows (arm and mode) x columns (targets)."""

    title: str
    cells: pd.DataFrame


def blocks(
    results: pd.DataFrame,
    targets: Sequence[str],
    metric: str,
    rows: Mapping[tuple[str, str], str],
    method: str,
    digits: int = 3,
) -> list[Block]:
    """One block for each number of labels in `results`; `rows` are (arm, mode) -> words, in their order.

    A row or target without a result shows MISSING. ValueError where two results fall in one cell.
    """
    chosen = results[(results["subgroup"] == "") & (results["metric"] == metric) & results["target"].isin(targets)]
    plain, paired = chosen[chosen["reference"] == ""], chosen[chosen["reference"] != ""]
    paired = paired[~paired["labels"].str.endswith(" less all")]
    found = []
    for labels in sorted(plain["labels"].unique(), key=label_order):
        own = plain[plain["labels"] == labels]
        if own.duplicated(["arm", "mode", "target"]).any():
            raise ValueError(f"more than one {metric} of an arm with {labels} labels; expected one a cell")
        values = own.set_index(["arm", "mode", "target"])
        told = paired[(paired["labels"] == labels)].set_index(["reference", "mode", "target"])
        cells = pd.DataFrame(index=list(rows.values()), columns=list(targets), dtype=object)
        for target in targets:
            best = _told_best(values, told, list(rows), target, method)
            for place, words in rows.items():
                cells.loc[words, target] = _cell(values, (*place, target), digits, place == best)
        found.append(Block(label_words(labels), cells))
    return found


def markdown_table(parts: Sequence[Block], caption: str) -> str:
    """`parts` one below the other; values with their interval in brackets, the best in bold if told."""
    lines = []
    for part in parts:
        lines += [f"**{_plain(part.title)}**", ""]
        lines += [f"| | {' | '.join(map(_plain, part.cells.columns))} |", "|---" * (1 + part.cells.shape[1]) + "|"]
        for words, row in part.cells.iterrows():
            cells = [f"**{cell.text}**{cell.interval}" if cell.bold else cell.text + cell.interval for cell in row]
            lines.append(f"| {_plain(words)} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join([*lines, caption, ""])


def latex_table(parts: Sequence[Block], caption: str, label: str) -> str:
    """`parts` as one `table` of booktabs; for `\\usepackage{booktabs}`."""
    columns = list(parts[0].cells.columns)
    lines = [r"\begin{table}", r"\centering\small", rf"\caption{{{latex(caption)}}}", rf"\label{{{label}}}"]
    lines += [rf"\begin{{tabular}}{{l{'r' * len(columns)}}}", r"\toprule"]
    lines.append(" & ".join(["", *map(latex, columns)]) + r" \\")
    for part in parts:
        lines += [r"\midrule", rf"\multicolumn{{{len(columns) + 1}}}{{l}}{{\emph{{{latex(part.title)}}}}} \\"]
        for words, row in part.cells.iterrows():
            cells = [(rf"\textbf{{{latex(c.text)}}}" if c.bold else latex(c.text)) + latex(c.interval) for c in row]
            lines.append(" & ".join([latex(str(words)), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def latex(text: str) -> str:
    """`text` with all that LaTeX would read as a command escaped."""
    return "".join(_LATEX.get(sign, sign) for sign in text)


def write_tables(folder: Path, name: str, parts: Sequence[Block], caption: str) -> None:
    """Write `<name>.md` and `<name>.tex` in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / f"{name}.md", markdown_table(parts, caption))
    write_text(folder / f"{name}.tex", latex_table(parts, caption, f"tab:{name}"))


def caption(results: pd.DataFrame, metric: str, source: str) -> str:
    """What the numbers of a table are: metric, interval, subjects, seeds, when a value is bold, and of which data."""
    rows = results[(results["metric"] == metric) & (results["subgroup"] == "") & results["value"].notna()]
    if rows.empty:
        return f"{metric}: {MISSING}. Data: {source}."
    n, seeds = (sorted(set(each)) for each in (rows["n"], rows["seed"].str.split().str.len()))
    span = [f"{each[0]:,}" if each[0] == each[-1] else f"{each[0]:,} to {each[-1]:,}" for each in (n, seeds)]
    over = "test subjects and training seeds" if seeds[-1] > 1 else "test subjects"
    return (
        f"{metric}, with 95 % bootstrap interval over {over}; n = {span[0]} subjects, "
        f"{span[1]} seed{'s' if seeds[-1] > 1 else ''}. Bold: better than the method, or for the method than the next "
        f"best, with p < {LEVEL:g} after Holm's correction. Data: {source}."
    )


def _told_best(values: pd.DataFrame, told: pd.DataFrame, rows: Sequence[tuple[str, str]], target: str, method: str):
    """The (arm, mode) with the highest value, if it was told apart from METHOD's, or METHOD's from the next best."""
    scored = {place: values["value"].get((*place, target), np.nan) for place in rows}
    order = sorted((place for place in rows if np.isfinite(scored[place])), key=lambda place: -scored[place])
    if len(order) < 2:
        return None
    (arm, mode), (other, its_mode) = order[:2]
    if arm == method:
        # A mode of the method was compared with the same of another arm, or with the only one that it has.
        if other == method or its_mode not in (mode, "") and (other, mode) in rows:
            return None
        test = other, mode, target
    else:
        against = [place for place in order if place[0] == method and (place[1] == mode or mode == "")]
        if not against:
            return None
        test = arm, against[0][1], target
    return order[0] if test in told.index and told.loc[test, "p_holm"] < LEVEL else None


def _cell(values: pd.DataFrame, place: tuple[str, str, str], digits: int, bold: bool) -> Cell:
    if place not in values.index or not np.isfinite(values.loc[place, "value"]):
        return Cell(MISSING)
    value, low, high = (values.loc[place, column] for column in ("value", "low", "high"))
    interval = f" ({low:.{digits}f} to {high:.{digits}f})" if np.isfinite(low) else ""
    return Cell(f"{value:.{digits}f}", interval, bold)


def _plain(text: object) -> str:
    return str(text).replace("|", "\\|")
