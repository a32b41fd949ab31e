"""Calibration: the search that chose the parameters marked `search` in `parameters.yaml`.

An evolution strategy (CMA-ES: Hansen 2016, arXiv:1604.00772) moves those parameters within their ranges until the ECGs
of healthy hearts (some of them once more with a blocked right bundle branch) have the published means and spreads of
the targets marked `calibrate` in `targets.yaml`. Nothing else takes part: no patient, no learned model, no result of
the method. The result is checked on hearts that the search never saw, written into `parameters.yaml`, and recorded in
`data_manifests/simulated_calibration.json`.

`python -m mmcl.simulation.calibration` runs it again.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml

from mmcl.paths import ROOT
from mmcl.provenance import read_json, write_json, write_text
from mmcl.simulation import parameters, targets
from mmcl.simulation.population import sample_people

RECORD = ROOT / "data_manifests" / "simulated_calibration.json"
HEARTS = 90
"""Healthy men and as many women whose ECGs one candidate is judged by."""
SEARCHED, CHECKED = 75, 72
"""Cohort seeds of the hearts of the search and of those that check its result."""
FIRST_STEP = 0.06
"""Standard deviation of the first generation, as a share of each range."""
FAR = 3.0
"""Error in tolerances from which on a target counts less than its square: what cannot be met must not rule the rest."""


def searched(only: str = "") -> dict[str, tuple[float, float]]:
    """Parameters that calibration may change, each with its range, in the order of the file; names from `only` on."""
    return {name: entry.search for name, entry in parameters.table().items() if entry.search and name.startswith(only)}


def healthy_subjects(seed: int, hearts: int = HEARTS) -> torch.Tensor:
    """The first `hearts` healthy men and as many healthy women of cohort `seed`: int64 (2 hearts,)."""
    people = sample_people(seed, torch.arange(40 * hearts))
    chosen = [people.subject[people.healthy & (people.female == sex)][:hearts] for sex in (False, True)]
    return torch.cat(chosen).sort().values


def misfit(values: Mapping[str, float], seed: int, subjects: torch.Tensor) -> pd.DataFrame:
    """The calibrated targets with what hearts simulated with `values` give: `targets.evaluate`, and `error` in
    tolerances. Every fourth heart is simulated a second time with its right bundle branch blocked.
    """
    with parameters.override(values):
        healthy = targets.population_table(seed, subjects)
        blocked = targets.population_table(seed, subjects[::4], change={"rbbb": True})
    table = pd.concat([healthy, blocked], ignore_index=True)
    found = targets.evaluate(table, [target for target in targets.TARGETS if target.calibrate])
    return found.assign(error=(found["got"] - found["target"]) / found["tolerance"])


def cost(found: pd.DataFrame) -> float:
    """Weighted mean over the targets of F^2 log(1 + e^2 / F^2): e the error in tolerances, F = `FAR`.

    A kind of target (means, spreads, correlations, shares) counts by the root of its number, so that few correlations
    are not lost among many means; inf where a target could not be measured.
    """
    loss = FAR**2 * np.log1p((found["error"] / FAR) ** 2)
    kind = found.groupby("measure")["name"].transform("size")
    return float(np.average(loss.fillna(np.inf), weights=kind**-0.5))


def search(
    generations: int, size: int, seed: int, workers: int, hearts: int = HEARTS, only: str = ""
) -> dict[str, float]:
    """Best values found from those in the file, rounded to three figures.

    `size` candidates a generation; `seed` of the search; `only` parameters whose names begin so. The same arguments
    give the same result. ValueError when no parameter is left to search.
    """
    import cma
    from joblib import Parallel, delayed

    ranges = searched(only)
    if not ranges:
        raise ValueError(f"no parameter that begins {only!r} has a range to search in {parameters.FILE.name}")
    low, high = (np.array(side) for side in zip(*ranges.values(), strict=True))
    start = (np.array([parameters.table()[name].value for name in ranges]) - low) / (high - low)
    subjects = healthy_subjects(SEARCHED, hearts)
    options = {"bounds": [0, 1], "popsize": size, "seed": seed, "maxiter": generations, "verbose": -9}
    strategy = cma.CMAEvolutionStrategy(start, FIRST_STEP, options)
    with Parallel(n_jobs=workers) as parallel:
        while not strategy.stop():
            candidates = strategy.ask()
            values = [_named(ranges, low + (high - low) * x) for x in candidates]
            costs = parallel(delayed(_cost)(value, subjects) for value in values)
            strategy.tell(candidates, costs)
            print(
                f"generation {strategy.countiter:4d}  best {min(costs):.3f}  so far {strategy.best.f:.3f}", flush=True
            )
    return _named(ranges, low + (high - low) * strategy.best.x)


def write_values(values: Mapping[str, float]) -> None:
    """Replace the values of scalar parameters in `parameters.yaml`; everything else in the file stays as it is."""
    text = parameters.FILE.read_text(encoding="utf-8")
    for name, value in values.items():
        section, entry = name.split(".")
        pattern = rf"(^{section}:\n(?:(?!^\w).*\n)*?^  {entry}:(?: {{|\n    )value: )([-+.\deE]+)"
        # YAML reads 3.0e-06 as a number, and Python's own 3e-06 as a word.
        number = yaml.safe_dump(float(value)).split()[0]
        text, count = re.subn(pattern, rf"\g<1>{number}", text, flags=re.MULTILINE)
        if count != 1:
            raise ValueError(
                f"{parameters.FILE.name}: found {count} values of {name}; expected one, first in its entry"
            )
    write_text(parameters.FILE, text)


def calibrate(generations: int, size: int, seed: int, workers: int, only: str = "", record: Path = RECORD) -> None:
    """Search, check on other hearts, write the values and a stage of the record; nothing where the check is worse."""
    before = {name: parameters.table()[name].value for name in searched(only)}
    after = search(generations, size, seed, workers, only=only)
    others = healthy_subjects(CHECKED)
    checks = {name: misfit(values, CHECKED, others) for name, values in (("before", before), ("after", after))}
    costs = {name: cost(found) for name, found in checks.items()}
    print(f"on other hearts: {costs['before']:.3f} before, {costs['after']:.3f} after")
    if costs["after"] >= costs["before"]:
        print("no better on hearts that the search did not see: nothing is written")
        return
    write_values(after)
    stage = {
        "search": {"generations": generations, "size": size, "seed": seed, "hearts a sex": HEARTS, "cohort": SEARCHED},
        "cost on other hearts": costs,
        "parameters": {name: {"before": before[name], "after": after[name]} for name in after},
    }
    stages = read_json(record)["stages"] if record.exists() else []
    columns = ["name", "unit", "target", "tolerance", "got"]
    write_json(
        record,
        {
            "method": "CMA-ES",
            "stages": [*stages, stage],
            "targets on other hearts": checks["after"][columns].to_dict("records"),
        },
    )


def _named(ranges: Mapping[str, tuple], values: np.ndarray) -> dict[str, float]:
    return {name: float(f"{value:.3g}") for name, value in zip(ranges, values, strict=True)}


def _cost(values: Mapping[str, float], subjects: torch.Tensor) -> float:
    torch.set_num_threads(1)
    return cost(misfit(values, SEARCHED, subjects))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--generations", type=int, default=120)
    parser.add_argument("--size", type=int, default=20, help="candidates a generation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="parameters whose names begin so, such as atria.")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    calibrate(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
