"""Published numbers, of patients, to stand beside results of this compendium: `published.yaml`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import yaml

from mmcl.evaluation.tables import MISSING_CELL, pivot

FILE = Path(__file__).with_suffix(".yaml")


def published_numbers(path: Path = FILE) -> pd.DataFrame:
    """A row for each encoder and target: `encoder`, `arm` (ours that stands for it, or ""), `target`, `metric`,
    `value`, `cohort`, `source`. ValueError where an encoder has not one value for each target.
    """
    content = yaml.safe_load(path.read_text(encoding="utf-8"))["numbers"]
    same = {name: content[name] for name in ("metric", "cohort", "source")}
    rows = []
    for encoder in content["encoders"]:
        if len(encoder["values"]) != len(content["targets"]):
            raise ValueError(
                f"{path}: {encoder['name']} has {len(encoder['values'])} values; expected {len(content['targets'])}"
            )
        for target, value in zip(content["targets"], encoder["values"], strict=True):
            rows.append({"encoder": encoder["name"], "arm": encoder["arm"], "target": target, "value": value} | same)
    return pd.DataFrame(rows)


def published_claims(path: Path = FILE) -> pd.DataFrame:
    """A row for each headline: `claim`, `value`, `unit`, `cohort`, `source`."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))["claims"]
    return pd.DataFrame(content["entries"]).assign(cohort=content["cohort"], source=content["source"])


def beside_published(results: pd.DataFrame, cohort: str, mode: str = "finetune", labels: str = "all") -> pd.DataFrame:
    """Published values and those of `results`, of the cohort called `cohort`, in columns of their own.

    A row for each published encoder; two levels of columns, (cohort, target). What has no counterpart here, or was not
    scored, is "missing".
    """
    numbers = published_numbers()
    theirs = numbers.pivot(index="encoder", columns="target", values="value")
    encoders, targets = numbers["encoder"].unique(), numbers["target"].unique()
    theirs = theirs.loc[encoders, targets].map("{:.3f}".format)
    plain = results[(results["reference"] == "") & (results["subgroup"] == "") & (results["metric"] == "R2")]
    plain = plain[(plain["mode"] == mode) & (plain["labels"] == labels)]
    arms = numbers.drop_duplicates("encoder").set_index("encoder")["arm"]
    ours = pivot(plain, [arm for arm in arms if arm], targets, digits=3)
    ours = ours.reindex(arms).fillna(MISSING_CELL).set_index(arms.index)
    named = {f"{numbers['cohort'][0]}, patients (published)": theirs, f"{cohort} (ours)": ours}
    return pd.concat(named, axis=1)


def largest_gains(results: pd.DataFrame, reference: str = "scratch") -> pd.DataFrame:
    """Our counterpart of the paper's headlines: the largest relative improvement on `reference`, by metric.

    Columns `metric`, `target`, `mode`, `labels`, `relative`, `relative_low`, `relative_high` in per cent, `p_holm`;
    over AUROC of diseases and r and R2 of phenotypes and groups. "Up to" picks the best of many, of which the interval
    knows nothing.
    """
    columns = ["metric", "target", "mode", "labels", "relative", "relative_low", "relative_high", "p_holm"]
    rows = results[(results["reference"] == reference) & (results["subgroup"] == "") & results["relative"].notna()]
    rows = rows[rows["metric"].isin(["AUROC", "r", "R2"])]
    return rows.loc[rows.groupby("metric")["relative"].idxmax(), columns].reset_index(drop=True)
