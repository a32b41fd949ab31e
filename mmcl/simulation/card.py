"""The simulated cohort's card, `data_manifests/simulated.md`: its table of targets and its known misses, kept true.

`python -m mmcl.simulation.card` simulates the reference population, writes the parts of the card that stand between
markers, and says which missed targets still lack a reason in `targets.yaml` and which reasons are no longer needed.
"""

from __future__ import annotations

import re
from functools import cache
from string import ascii_lowercase

import pandas as pd
import torch

from mmcl.paths import ROOT
from mmcl.provenance import write_text
from mmcl.simulation import parameters
from mmcl.simulation.targets import FILE, TARGETS, evaluate, population_table

CARD = ROOT / "data_manifests" / "simulated.md"
SEED, HEARTS, RECORDINGS = 2017, 3000, 1500
"""Cohort seed of the reference population, its subjects, and how many of them have an ECG."""
NO_REASON = "not explained yet"


@cache
def reference_table() -> pd.DataFrame:
    """The reference population, of which subjects from `RECORDINGS` on have no ECG (NaN)."""
    subjects = torch.arange(HEARTS)
    recorded = population_table(SEED, subjects[:RECORDINGS])
    return pd.concat([recorded, population_table(SEED, subjects[RECORDINGS:], batch=500, ecg=False)])


def known_misses(text: str) -> set[str]:
    """Names of the targets that the card `text` lists as missed."""
    return set(re.findall(r"^- \*\*(.+?)\*\*", _part(text, "misses"), flags=re.MULTILINE))


def stated_parameters(text: str) -> str:
    """Digest of the parameters that the card `text` was written from."""
    return re.search(r"parameters `([0-9a-f]+)`", _part(text, "version")).group(1)


def render(text: str, found: pd.DataFrame) -> str:
    """The card `text` with its marked parts made anew from `found`, what `evaluate` returned. ValueError: no marker."""
    for name, part in (("version", _version(found)), ("targets", _table(found)), ("misses", _misses(found))):
        start, end = _limits(text, name)
        text = f"{text[:start]}\n{part}\n{text[end:]}"
    return text


def check_reasons(found: pd.DataFrame) -> list[str]:
    """Sentences about missed targets without a reason and reasons of targets that are met; empty when all is well."""
    told = found["miss"].notna()
    lacking = [f"{name}: missed, and {FILE.name} gives no reason" for name in found.loc[~found["met"] & ~told, "name"]]
    return lacking + [f"{name}: met; take it off the misses" for name in found.loc[found["met"] & told, "name"]]


def _part(text: str, name: str) -> str:
    return text[slice(*_limits(text, name))]


def _limits(text: str, name: str) -> tuple[int, int]:
    """Where the part between the markers `name` begins and ends."""
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    if text.count(start) != 1 or text.count(end) != 1:
        raise ValueError(f"the card has no part between {start} and {end}")
    return text.index(start) + len(start), text.index(end)


def _version(found: pd.DataFrame) -> str:
    recalled = found["source"].str.contains("recalled")
    cited, remembered = (f"{int(found.loc[rows, 'met'].sum())} of {int(rows.sum())}" for rows in (~recalled, recalled))
    sources = pd.Series([entry.source for entry in parameters.table().values()])
    assumed = int(sources.str.startswith("assumed").sum())
    unverified = int(sources.str.contains("not verified").sum())
    return (
        f"Cohort v{parameters.version()}, parameters `{parameters.digest()}`. In {HEARTS:,} subjects of seed {SEED}, "
        f"{RECORDINGS:,} of them with an ECG, {cited} targets with a source that was seen are met, and {remembered} "
        f"that are recalled. Of {len(sources)} parameters {assumed} are assumed and {unverified} cite a source not "
        f"seen again."
    )


def _table(found: pd.DataFrame) -> str:
    """Markdown: the targets with what was got, then the numbered sources and the reasons of the tolerances."""
    sources = {text: k + 1 for k, text in enumerate(found["source"].unique())}
    tolerances = dict(zip(found["tolerance_from"].unique(), ascii_lowercase, strict=False))
    lines = ["| target | group | unit | published | simulated | n | | source |", "|---|---|---|---|---|---|---|---|"]
    for row in found.itertuples():
        cells = (
            row.name + (" \\*" if row.calibrate else ""),
            row.group,
            row.unit,
            f"{row.target:g} ± {row.tolerance:g}",
            f"{row.got:.3g} ({found.at[row.Index, 'standard error']:.2g})",
            str(row.n),
            "met" if row.met else "**missed**",
            f"{sources[row.source]}{tolerances[row.tolerance_from]}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Sources:", ""] + [f"{number}. {text}" for text, number in sources.items()]
    return "\n".join(lines + ["", "Tolerances:", ""] + [f"- {letter}: {text}" for text, letter in tolerances.items()])


def _misses(found: pd.DataFrame) -> str:
    missed = found[~found["met"]]
    return "\n".join(
        f"- **{row.name}**: {row.got:.3g} for {row.target:g} ± {row.tolerance:g}; {row.miss or NO_REASON}"
        for row in missed.itertuples()
    )


def main() -> None:
    found = evaluate(reference_table(), TARGETS)
    write_text(CARD, render(CARD.read_text(encoding="utf-8"), found))
    print(f"{CARD.name}: {int(found['met'].sum())} of {len(found)} targets met")
    for sentence in check_reasons(found):
        print(sentence)


if __name__ == "__main__":
    main()
