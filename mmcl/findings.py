"""What a run found, as the README tells it; `python -m mmcl.findings` writes that section anew.

It is made from `figures/summary.json`, which notebook 07 records and `make reproduce` copies; no hand writes in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mmcl.evaluation.tables import label_words
from mmcl.evaluation.verdict import FAILS, HOLDS, MISSING, MODES, OPEN
from mmcl.paths import ROOT
from mmcl.plotting.marks import without_ablations
from mmcl.plotting.style import arm, in_order
from mmcl.provenance import read_json, write_text

RECORD, README = ROOT / "figures" / "summary.json", ROOT / "README.md"
BEGIN, END = "<!-- findings: written by python -m mmcl.findings, not by hand -->", "<!-- end of findings -->"

_MODE_WORDS = {**MODES, "": "reference"}


def table_rows(results: pd.DataFrame, modes: Sequence[str] = ("probe", "", "finetune")) -> dict[tuple[str, str], str]:
    """(arm, mode) -> words for every arm of `results` but ablations, by mode and in the order of figures."""
    plain = without_ablations(results[results["reference"] == ""])
    present = set(zip(plain["arm"], plain["mode"], strict=True))
    return {
        (name, mode): f"{arm(name).label} ({_MODE_WORDS[mode]})"
        for mode in modes
        for name in in_order(plain["arm"])
        if (name, mode) in present
    }


def record(
    tables: Mapping[str, pd.DataFrame],
    judged: pd.DataFrame,
    *,
    source: str,
    few: str,
    subjects: Mapping[str, int],
    retrieval: Sequence[Mapping[str, object]],
) -> dict:
    """What `figures/summary.json` holds, small enough for git: scores of linear probes and references, and verdicts.

    tables: plain rows of one metric each, by that metric, of the targets to be shown. judged: as `verdict.judge` makes
    them. retrieval: rows with arm, score, value, low, high, chance and n.
    """
    scores, seeds = [], set()
    for metric, table in tables.items():
        chosen = table[(table["labels"] == few) & table["mode"].isin(("probe", ""))]
        chosen = without_ablations(chosen)
        columns = ["arm", "target", "value", "low", "high"]
        scores += [{"metric": metric} | row for row in chosen[columns].to_dict("records")]
        seeds |= {len(text.split()) for text in table["seed"][table["value"].notna()]}
    keys = ["claim", "reference", "mode", "labels", "verdict"]
    verdicts = [
        dict(zip(keys, place, strict=True)) | {"targets": rows["target"].tolist()}
        for place, rows in judged.groupby(keys, sort=False)
    ]
    return {
        "source": source,
        "few": few,
        "subjects": dict(subjects),
        "seeds": max(seeds, default=0),
        "scores": scores,
        "verdicts": verdicts,
        "retrieval": [dict(row) for row in retrieval],
    }


def markdown(found: Mapping) -> str:
    """The README's section of a record."""
    few, subjects = found["few"], found["subjects"]
    splits = {"train": "training", "validation": "validation", "test": "test"}
    counts = ", ".join(f"{subjects[split]:,} {word}" for split, word in splits.items())
    seeds = f"{found['seeds']} training seed{'s' if found['seeds'] != 1 else ''} at most"
    source = found["source"].replace("simulated", "*simulated*", 1)
    cells = pd.DataFrame(found["verdicts"])
    parts = [
        f"Everything in these tables is of the {source}: {counts} subjects, {seeds}. Intervals, fine-tuned "
        "results, nearest neighbours, all labels, subgroups, and results beyond age, sex and body size are in "
        "`07_summarise.html`.",
        f"Linear probes of frozen encoders, and references, with **{label_words(few)}**; AUROC, and mean R² over a "
        "group of phenotypes:",
        _score_table(found["scores"]),
        f"![Linear probes, {label_words(few)}](figures/summary_few_labels.png)",
        "What this says of each claim, whichever way it fell. A claim holds, or does not, for a target where the 95 % "
        "interval of the paired difference leaves out 0 and p is below 0.05 after Holm's correction; else it is open. "
        "What this run did not train is missing. "
        f"Targets are {', '.join(dict.fromkeys(_short(row['target']) for row in found['scores']))}.",
        _verdict_table(cells, few),
        _retrieval_words(found["retrieval"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def with_findings(readme: str, section: str) -> str:
    """`readme` with `section` between BEGIN and END; ValueError where it lacks these lines, in this order."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"README lacks the line {BEGIN!r} or, after it, {END!r}")
    return f"{before}{BEGIN}\n\n{section}\n{END}{after}"


def main(record_path: Path = RECORD, readme: Path = README) -> None:
    """Write the section of `readme` anew from the record."""
    section = markdown(read_json(record_path))
    changed = write_text(readme, with_findings(readme.read_text(encoding="utf-8"), section))
    print(f"{readme.name}: {'findings written anew' if changed else 'findings are up to date'}")


def _score_table(scores: Sequence[Mapping]) -> str:
    table = pd.DataFrame(scores)
    columns = list(dict.fromkeys(zip(table["target"], table["metric"], strict=True)))
    values = table.set_index(["arm", "target", "metric"])["value"].astype(float)
    lines = ["| | " + " | ".join(f"{_short(t)} {m.replace('R2', 'R²')}" for t, m in columns) + " |"]
    lines.append("|---" * (1 + len(columns)) + "|")
    for name in in_order(table["arm"]):
        each = [values.get((name, *column), np.nan) for column in columns]
        cells = [f"{round(value, 2) + 0.0:.2f}" if np.isfinite(value) else MISSING for value in each]
        lines.append(f"| {arm(name).label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _verdict_table(cells: pd.DataFrame, few: str) -> str:
    columns = [(mode, labels) for mode in MODES for labels in (few, "all")]
    lines = ["| claim | " + " | ".join(f"{MODES[m]}, {label_words(n)}" for m, n in columns) + " |"]
    lines.append("|---" * (1 + len(columns)) + "|")
    for (claim, reference), rows in cells.groupby(["claim", "reference"], sort=False):
        words = claim + (" (boosted)" if reference.endswith(", boosted") else "")
        each = []
        for mode, labels in columns:
            # A gain from few labels less that from all stands in the column of few.
            place = {labels, f"{few} less all"} if labels == few else {labels}
            each.append(_fell(rows[(rows["mode"] == mode) & rows["labels"].isin(place)]))
        lines.append(f"| {words} | {' | '.join(each)} |")
    return "\n".join(lines)


def _fell(rows: pd.DataFrame) -> str:
    """Targets by verdict: named where the claim holds or does not, counted where it is open or missing."""
    targets = {row["verdict"]: row["targets"] for row in rows.to_dict("records")}
    parts = [f"{word}: {', '.join(map(_short, targets[word]))}" for word in (HOLDS, FAILS) if word in targets]
    if OPEN in targets:
        parts.append(f"open: {len(targets[OPEN])}")
    if MISSING in targets:
        parts.append(f"missing: {len(targets[MISSING])}" if parts else MISSING)
    return "; ".join(parts)


def _retrieval_words(rows: Sequence[Mapping]) -> str:
    ranks = [row for row in rows if row["score"] == "median rank"]
    each = [f"{row['value']:.4g} ({row['low']:.4g} to {row['high']:.4g}) by {arm(row['arm']).label}" for row in ranks]
    if not each:
        return ""
    return (
        f"In retrieval among {ranks[0]['n']:,} test subjects the median rank of the right heart is {', '.join(each)}; "
        f"chance is {ranks[0]['chance']:.4g}."
    )


def _short(target: str) -> str:
    return target.removesuffix(" mean")


if __name__ == "__main__":
    main()
