"""Paths through the latent space: one property of a simulated heart moved in steps, all else as it was.

Subjects are new ones of the run's own cohort, which no training and no probe has seen. Their ECGs take the same way as
stored ones. What a path is worth is told by how a probe, fitted on the cohort as it is, follows it, and by how far it
leads beside two things that say nothing of the heart: where the electrodes were put, and the noise of the recording.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr

from mmcl.data.ecg_preprocessing import preprocess_ecg, reduce_sampling_rate
from mmcl.data.store import Store
from mmcl.interpretation.decodability import fit_on_store
from mmcl.interpretation.hearts import read_hearts, unwrapped
from mmcl.setting import Setting
from mmcl.simulation.cohort import SimulatedCohort, simulate_cohort
from mmcl.simulation.infarct import TERRITORIES
from mmcl.simulation.intervention import Change
from mmcl.training.features import ecg_encoder, ecg_features, stored_features

Function = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Property:
    """What is moved: `name` and `unit` of what is read, its column `target`, and the `steps`, label -> change."""

    name: str
    unit: str
    target: str
    steps: dict[str, Change]


def _times(factor: float) -> Function:
    return lambda value: value * factor


def _plus(term: float) -> Function:
    return lambda value: value + term


def _anterior_scar(depth: float) -> Function:
    """Scar of one `depth` in the territory of the LAD, none elsewhere."""

    def scarred(value: torch.Tensor) -> torch.Tensor:
        scar = torch.zeros_like(value)
        scar[:, [k - 1 for k in TERRITORIES[0]]] = depth
        return scar

    return scarred


PROPERTIES = (
    Property("LV mass", "g", "LVM", {f"x {f:g}": {"lv_mass": _times(f)} for f in (0.7, 0.85, 1.0, 1.25, 1.5)}),
    Property(
        "Scar, LAD",
        "share of wall",
        "scar",
        {f"depth {d:g}": {"transmurality": _anterior_scar(d)} for d in (0.0, 0.25, 0.5, 0.75, 1.0)},
    ),
    Property(
        "QRS axis",
        "degrees",
        "axis",
        {f"tilt {a:+d}": {"elevation": _plus(-math.radians(a))} for a in (-30, -15, 0, 15, 30)},
    ),
)
"""Mass of the wall; an infarct in one territory; and the tilt of the long axis, which turns the electrical one."""

NUISANCES = {
    "electrodes": {"parameters": {f"conductor.placement_{name}": 0.0 for name in ("common", "single", "limb")}},
    "noise": {"noise": False},
}
"""What is taken away, the heart as it is: misplacement of electrodes, and noise of the recording."""


@dataclass(frozen=True)
class Path:
    """A property moved in m steps in n subjects, seen by one encoder.

    `true` and `predicted` (n, m) in the unit of `moved`, `features` (n, m, width); `nuisances` name -> (n, width)
    displacement of the features by it. `scale` (width,) is the features' standard deviation over training subjects.
    """

    moved: Property
    true: np.ndarray
    predicted: np.ndarray
    features: np.ndarray
    nuisances: dict[str, np.ndarray]
    scale: np.ndarray


@dataclass(frozen=True)
class Recordings:
    """Preprocessed ECGs of the same subjects: `as_it_is` and, by nuisance, `without` it (n, 12, record); by property
    name, the ECGs of its `steps` (m, n, 12, record) and what is `true` of them (n, m)."""

    as_it_is: np.ndarray
    without: dict[str, np.ndarray]
    steps: dict[str, np.ndarray]
    true: dict[str, np.ndarray]


def simulate_paths(setting: Setting) -> Recordings | None:
    """ECGs of `counterfactual_subjects` hearts, moved along PROPERTIES; None where the cohort is not simulated."""
    if not (setting.run.raw / "truth.tsv").is_file():
        return None

    def simulate(**options) -> SimulatedCohort:
        cohort = setting.profile.cohort
        chosen = {"first": cohort.size, "odds": cohort.odds, "images": False, "device": setting.device}
        return simulate_cohort(setting.profile.counterfactual_subjects, setting.run.seed, **chosen, **options)

    def prepared(cohort: SimulatedCohort) -> np.ndarray:
        ecg = preprocess_ecg(cohort.ecg, threads=setting.workers)
        return reduce_sampling_rate(ecg, setting.profile.ecg.sampling_rate)

    steps, true = {}, {}
    for moved in PROPERTIES:
        cohorts = [simulate(change=change) for change in moved.steps.values()]
        steps[moved.name] = np.stack([prepared(cohort) for cohort in cohorts])
        told = np.stack([_target(cohort, moved.target) for cohort in cohorts], axis=1)
        # An axis that passes -90 degrees on its way goes on, in place of a jump by 360.
        true[moved.name] = np.unwrap(told, period=360) if moved.target == "axis" else told
    without = {name: prepared(simulate(**options)) for name, options in NUISANCES.items()}
    return Recordings(prepared(simulate()), without, steps, true)


def follow(arm: str, recordings: Recordings, setting: Setting, store: Store) -> list[Path]:
    """The path of each of PROPERTIES through the features of `arm`, and what probes fitted on the store predict."""
    encoder = ecg_encoder(arm, setting)

    def embed(records: np.ndarray) -> np.ndarray:
        return ecg_features(encoder, records, setting.profile.ecg.window, setting.preset, setting.device)

    stored = stored_features(arm, setting)
    hearts = read_hearts(setting.run.raw, store.subjects["subject"])
    targets = hearts[["scar", "axis"]].assign(LVM=store.subjects["LVM"])
    probe = fit_on_store(stored, targets, store)
    scale = stored[store.indices("train")].std(axis=0)
    origin = embed(recordings.as_it_is)
    nuisances = {name: embed(records) - origin for name, records in recordings.without.items()}
    paths = []
    for moved in PROPERTIES:
        features = np.stack([embed(records) for records in recordings.steps[moved.name]], axis=1)
        column = probe.names.index(moved.target)
        predicted = probe.predict(features.reshape(-1, features.shape[2]))[:, column].reshape(features.shape[:2])
        paths.append(Path(moved, recordings.true[moved.name], predicted, features, nuisances, scale))
    return paths


def path_table(paths: dict[str, list[Path]], setting: Setting) -> pd.DataFrame:
    """Numbers over subjects by arm, property and measure: value, low, high (95 % bootstrap over subjects), n.

    `spearman`: mean of the rank correlation, within a subject, of the truth along the path with the probe's prediction,
    1 where it rises at every step. `gain`: median slope of prediction on truth within a subject, 1 where the probe
    follows in full. `size over <nuisance>`: median of how far the path leads from first to last step, in features
    divided by their standard deviation, over how far the nuisance does.
    """
    rows = []
    for arm, own in paths.items():
        for path in own:
            length = np.linalg.norm((path.features[:, -1] - path.features[:, 0]) / path.scale, axis=1)
            told = {"spearman": (_spearman(path), np.mean), "gain": (_gain(path), np.median)}
            for name, moved in path.nuisances.items():
                told[f"size over {name}"] = length / np.linalg.norm(moved / path.scale, axis=1), np.median
            for measure, (values, middle) in told.items():
                given = values[np.isfinite(values)]
                random = np.random.default_rng(setting.run.seed)
                places = random.integers(len(given), size=(setting.profile.downstream.bootstrap, len(given)))
                low, high = np.quantile(middle(given[places], axis=1), [0.025, 0.975])
                cell = {"value": middle(given), "low": low, "high": high, "n": len(given)}
                rows.append({"arm": arm, "property": path.moved.name, "measure": measure, **cell})
    return pd.DataFrame(rows).set_index(["arm", "property", "measure"])


def _target(cohort: SimulatedCohort, target: str) -> np.ndarray:
    """What is true of `target` (n,) in a changed cohort, as in the table that the probe learnt from."""
    if target == "axis":
        return unwrapped(cohort.subjects["axis"].to_numpy())
    return (cohort.phenotypes if target in cohort.phenotypes else cohort.subjects)[target].to_numpy(np.float64)


def _spearman(path: Path) -> np.ndarray:
    """(n,); a prediction that does not move at all counts as 0."""
    pairs = zip(path.true, path.predicted, strict=True)
    return np.array([spearmanr(true, told).statistic if np.ptp(told) > 0 else 0.0 for true, told in pairs])


def _gain(path: Path) -> np.ndarray:
    true = path.true - path.true.mean(axis=1, keepdims=True)
    return (true * path.predicted).sum(axis=1) / (true**2).sum(axis=1)
