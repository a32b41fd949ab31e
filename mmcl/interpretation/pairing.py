"""How well a contrastive model pairs the ECGs and CMRs of subjects that it never saw, and which it takes for which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from mmcl.data.augmentation import first_crop, resize
from mmcl.data.store import Store
from mmcl.evaluation.intervals import bootstrap
from mmcl.evaluation.retrieval import chance_scores, retrieval_interval, retrieval_ranks, retrieval_scores
from mmcl.interpretation.decodability import fit_on_store
from mmcl.interpretation.hearts import read_hearts
from mmcl.interpretation.models import contrastive_model
from mmcl.phenotypes import TARGETS
from mmcl.setting import Setting
from mmcl.training.features import stored_features

ORACLE, PREDICTED = "phenotypes, read twice", "phenotypes, predicted"
"""References of retrieval, see `phenotype_retrieval`."""

READING_ERROR = 1.0
"""Errors of the oracle's reading of phenotypes, in those of a published image analysis."""


@dataclass(frozen=True)
class Pairs:
    """Projections of n test subjects, (n, projection) each, their `rows` in the store, and the `ranks` (n,), from 1, of
    each subject's own CMR among all by similarity to its ECG."""

    rows: np.ndarray
    ecg: np.ndarray
    cmr: np.ndarray

    @property
    def ranks(self) -> np.ndarray:
        return retrieval_ranks(self.ecg, self.cmr)

    def nearest(self, position: int, count: int = 3) -> np.ndarray:
        """Positions of the `count` CMRs most similar to the ECG at `position`, the most similar first."""
        unit = self.cmr / np.maximum(np.linalg.norm(self.cmr, axis=1, keepdims=True), 1e-12)
        return np.argsort(-(unit @ self.ecg[position]), kind="stable")[:count]


@torch.no_grad()
def pair(arm: str, setting: Setting, store: Store, batch: int = 256) -> Pairs:
    """Projections of the ECG (first window) and CMR of every test subject by the contrastive model of `arm`."""
    model, device = contrastive_model(arm, setting), setting.device
    rows = store.indices("test", one_each=True)
    parts = []
    for some in np.split(rows, range(batch, len(rows), batch)):
        ecg = first_crop(torch.from_numpy(store.ecg[some]).to(device), setting.profile.ecg.window)
        cmr = resize(torch.from_numpy(store.cmr[some]).to(device), setting.profile.cmr.image_size)
        parts.append([projected.cpu().numpy() for projected in model(ecg, cmr)])
    return Pairs(rows, *(np.concatenate(side) for side in zip(*parts, strict=True)))


def retrieval_table(arms: list[str], setting: Setting, store: Store) -> pd.DataFrame:
    """ECG -> CMR retrieval among all test subjects: arm, score, value, low, high (95 % bootstrap), chance, n.

    `random` among `arms` stands for untrained encoders and heads.
    """
    return _scored({arm: pair(arm, setting, store).ranks for arm in arms}, setting)


def phenotype_retrieval(arm: str, setting: Setting, store: Store) -> pd.DataFrame:
    """The same scores of retrieval by phenotypes instead of projections, as references.

    CMRs are then known by the phenotypes that the method regresses, standardised, a missing one at its mean. The ECG
    tells either what linear probes predict from the frozen features of `arm` (PREDICTED, any cohort with phenotypes),
    or everything: phenotypes of the heart read a second time, with the errors of a published image analysis (ORACLE,
    the simulated cohort alone). Similarity is the cosine, as of projections.
    """
    rows = store.indices("test", one_each=True)
    targets = _targets(store)
    if targets.empty:
        return _scored({}, setting)
    known = targets.iloc[store.indices("train")]
    mean, std = known.mean().to_numpy(), known.std(ddof=0).to_numpy()

    def standardised(values: np.ndarray) -> np.ndarray:
        return np.nan_to_num((values - mean) / std)

    gallery = standardised(targets.to_numpy(dtype=np.float64)[rows])
    features = stored_features(arm, setting)
    told = {PREDICTED: fit_on_store(features, targets, store).predict(features[rows])}
    if (read := _second_reading(setting, store.subjects["subject"].iloc[rows], list(targets))) is not None:
        told[ORACLE] = read
    return _scored({name: retrieval_ranks(standardised(values), gallery) for name, values in told.items()}, setting)


def neighbour_agreement(pairs: Pairs, setting: Setting, store: Store, count: int = 3) -> pd.DataFrame:
    """Whether the CMRs found are of similar hearts: Pearson's r of each phenotype of the subject with its mean over the
    `count` nearest CMRs, the subject's own left out: value, low, high (95 % bootstrap over subjects), n, by phenotype.
    """
    targets = _targets(store)
    values = targets.to_numpy(dtype=np.float64)[pairs.rows]
    near = [[k for k in pairs.nearest(own, count + 1) if k != own][:count] for own in range(len(pairs.rows))]
    given = np.isfinite(values)[near]
    total, known = np.where(given, values[near], 0.0).sum(axis=1), given.sum(axis=1)
    mean = np.divide(total, known, out=np.full(values.shape, np.nan), where=known > 0)
    random = np.random.default_rng(setting.run.seed)
    truth = np.where(np.isfinite(mean), values, np.nan)
    scored = bootstrap("r", truth, np.nan_to_num(mean), setting.profile.downstream.bootstrap, random).interval()
    columns = {"value": scored.value, "low": scored.low, "high": scored.high, "n": scored.n}
    return pd.DataFrame(columns, index=pd.Index(list(targets), name="phenotype"))


def _targets(store: Store) -> pd.DataFrame:
    """Phenotypes of the method's regression that somebody in the cohort has."""
    return store.subjects.reindex(columns=TARGETS).dropna(axis=1, how="all")


def _second_reading(setting: Setting, subjects: pd.Series, names: list[str]) -> np.ndarray | None:
    """Phenotypes `names` (n, k) of simulated `subjects`, with errors of reading; None for other cohorts."""
    hearts = read_hearts(setting.run.raw, subjects)
    if hearts is None:
        return None
    from mmcl.simulation.heart import build_hearts
    from mmcl.simulation.phenotypes import measure
    from mmcl.simulation.population import sample_people

    seed = setting.run.seed
    people = sample_people(seed, torch.from_numpy(hearts["number"].to_numpy()), setting.profile.cohort.odds)
    # Another seed for the errors alone: those of the stored phenotypes, where they have any, are not drawn again.
    read = measure(build_hearts(seed, people), seed + 1, READING_ERROR)
    return np.stack([read[name] for name in names], axis=1)


def _scored(ranks: dict[str, np.ndarray], setting: Setting) -> pd.DataFrame:
    table = []
    for arm, own in ranks.items():
        chance = chance_scores(len(own))
        random = np.random.default_rng(setting.run.seed)
        intervals = retrieval_interval(own, setting.profile.downstream.bootstrap, random)
        for name, value in retrieval_scores(own).items():
            low, high = intervals[name]
            cell = {"arm": arm, "score": name, "value": value, "low": low, "high": high}
            table.append({**cell, "chance": chance[name], "n": len(own)})
    columns = ["arm", "score", "value", "low", "high", "chance", "n"]
    return pd.DataFrame(table, columns=columns).set_index(columns[:2])
