"""Which leads and times an output rests on: the pair's similarity, a disease head, a phenotype head."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from mmcl.config import LEADS
from mmcl.interpretation.attribution import Output, integrated_gradients, similarity
from mmcl.interpretation.heads import TASKS, head
from mmcl.interpretation.localisation import ecg_segments, project
from mmcl.interpretation.measures import activation_rate, lead_auroc, time_correlation, wave_shares
from mmcl.interpretation.models import contrastive_model, pair_arms
from mmcl.interpretation.occlusion import occlude_leads, occlude_waves
from mmcl.interpretation.rollout import attention_rollout
from mmcl.interpretation.sample import Sample
from mmcl.interpretation.scores import Scores
from mmcl.interpretation.waves import VENTRICULAR, WAVES
from mmcl.models.contrastive import ContrastiveModel
from mmcl.setting import Setting
from mmcl.training.features import ecg_encoder

SIMILARITY = "similarity"

PLACE = ("output", "map", "measure", "region")
"""What tells one of `ecg_scores` from the others."""

STEPS, MOST_STEPS, TOLERANCE = 16, 256, 0.02
"""Integrated gradients take STEPS points, and twice as many until what the median subject lacks to completeness is
below TOLERANCE or MOST_STEPS are taken.
"""


@dataclass(frozen=True)
class EcgMaps:
    """What one output of n ECGs rests on.

    `gradients` (n, 12, window) integrated gradients and their `delta` (n,); `leads` (n, 12) and `waves` (n, 5) drops by
    occlusion, as `occlude_leads` and `occlude_waves` give them; `localisation` (n, 12, times), cosine with the CMR,
    None but for the similarity. In units of the output.
    """

    gradients: np.ndarray
    delta: np.ndarray
    leads: np.ndarray
    waves: np.ndarray
    localisation: np.ndarray | None = None

    def of(self, order: np.ndarray) -> EcgMaps:
        """The same maps of the subjects in another `order` (n,)."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return EcgMaps(**{name: None if values is None else values[order] for name, values in fields.items()})

    def over_time(self) -> dict[str, np.ndarray]:
        """Importance, at least 0, (n, 12, window), by map."""
        found = {"integrated gradients": np.abs(self.gradients)}
        if self.localisation is not None:
            found["localisation"] = stretch(np.maximum(self.localisation, 0), self.gradients.shape[2])
        return found


def stretch(values: np.ndarray, window: int) -> np.ndarray:
    """(n, 12, times) -> (n, 12, window), each value held for as long as it stands for."""
    return np.repeat(values, window // values.shape[2], axis=2)


def attribute(output: Output, sample: Sample, target: torch.Tensor | None = None) -> EcgMaps:
    """Gradients and occlusion of `output` for the sample's ECGs."""
    steps, integrated = STEPS, integrated_gradients(output, sample.ecg, target, STEPS)
    while integrated.delta.abs().median() > TOLERANCE and steps < MOST_STEPS:
        steps *= 2
        integrated = integrated_gradients(output, sample.ecg, target, steps)
    extra = () if target is None else (target,)
    leads = occlude_leads(output, sample.ecg, *extra)
    waves = occlude_waves(output, sample.ecg, sample.waves, *extra)
    return EcgMaps(*(values.cpu().numpy() for values in (integrated.values, integrated.delta, leads, waves)))


def similarity_maps(model: ContrastiveModel, sample: Sample, setting: Setting, shuffled: bool = False) -> EcgMaps:
    """Maps of the similarity of each ECG with its own CMR, or `shuffled` with somebody else's."""
    projected = project(model, sample.ecg, sample.cmr, setting.preset.norm_local_tokens)
    if shuffled:
        partner = torch.as_tensor(sample.partner, device=projected.cmr.device)
        projected = projected._replace(cmr=projected.cmr[partner])
    maps = attribute(similarity(model.project_ecg), sample, projected.cmr)
    return dataclasses.replace(maps, localisation=ecg_segments(projected).cpu().numpy())


def ecg_maps(arm: str, sample: Sample, setting: Setting) -> dict[str, tuple[EcgMaps, EcgMaps]]:
    """Output -> its maps, and those of a baseline: the maps of shuffled pairs, or for a head somebody else's maps.

    Of an arm that is not among `pair_arms` no similarity is defined.
    """
    found = {}
    if arm in pair_arms(setting):
        model = contrastive_model(arm, setting)
        found[SIMILARITY] = tuple(similarity_maps(model, sample, setting, shuffled) for shuffled in (False, True))
    encoder = ecg_encoder(arm, setting).requires_grad_(False)
    for target in TASKS:
        if (output := head(arm, target, encoder, setting)) is not None:
            maps = attribute(output, sample)
            found[target] = maps, maps.of(sample.partner)
    return found


def ecg_scores(
    maps: dict[str, tuple[EcgMaps, EcgMaps]], sample: Sample, setting: Setting, arm: str
) -> dict[tuple[str, str, str, str], Scores]:
    """What the maps rest on, by PLACE.

    Measures: `share` of the importance in each wave, against its share of the time, and of the drops by occlusion in
    each lead and wave; with the truth `lead AUROC`, whether leads that face the scar matter more than the others, and
    `time correlation` of the importance with the rate at which muscle activates. Output `any output`, map `rollout`
    belongs to the encoder, whatever is read from it; its shuffled maps are somebody else's.
    """
    scores = {}

    def add_over_time(output: str, name: str, own: np.ndarray, other: np.ndarray) -> None:
        shares, others = (wave_shares(values, sample.waves) for values in (own, other))
        for wave, (share, time) in shares.items():
            scores[output, name, "share", wave] = Scores(share, others[wave][0], time)
        if sample.truth is not None:
            density = muscle_activation(sample, setting)
            pair = (time_correlation(values, density) for values in (own, other))
            scores[output, name, "time correlation", "activation"] = Scores(*pair, 0.0)
            pair = (lead_auroc(values.sum(axis=2), sample.truth.facing) for values in (own, other))
            scores[output, name, "lead AUROC", "facing the scar"] = Scores(*pair, 0.5)

    for output, (own, other) in maps.items():
        for name, values in own.over_time().items():
            add_over_time(output, name, values, other.over_time()[name])
        drops = [np.abs(one.leads) for one in (own, other)]
        for k, lead in enumerate(LEADS):
            scores[output, "occlusion", "share", lead] = Scores(*_shares(drops, k, output), 1 / len(LEADS))
        if sample.truth is not None:
            pair = (lead_auroc(values, sample.truth.facing) for values in drops)
            scores[output, "occlusion", "lead AUROC", "facing the scar"] = Scores(*pair, 0.5)
        drops = [np.abs(one.waves) for one in (own, other)]
        for k, wave in enumerate(WAVES):
            time = (sample.waves == k + 1).mean(axis=1)
            scores[output, "occlusion", "share", wave] = Scores(*_shares(drops, k, output), time)
    rollout = attention_rollout(ecg_encoder(arm, setting), sample.ecg).cpu().numpy()
    rollout = stretch(rollout, sample.ecg.shape[2])
    add_over_time("any output", "rollout", rollout, rollout[sample.partner])
    return scores


def _shares(drops: list[np.ndarray], k: int, output: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Share of part `k` in all drops (n, parts), own and shuffled; somebody else's are no baseline of a mean."""
    own, other = (values[:, k] / np.maximum(np.nansum(values, axis=1), 1e-30) for values in drops)
    return own, other if output == SIMILARITY else None


def convergence_table(maps: dict[str, tuple[EcgMaps, EcgMaps]], arm: str) -> pd.DataFrame:
    """What integrated gradients lack to completeness, as a share of the output's change: arm, output, median, worst."""
    return pd.DataFrame(
        [
            {"arm": arm, "output": output, "median": np.median(size), "worst": size.max(), "n": len(size)}
            for output, (own, _) in maps.items()
            for size in [np.abs(own.delta)]
        ]
    )


def muscle_activation(sample: Sample, setting: Setting) -> np.ndarray:
    """Share of the muscle that activates in each sample of the window, (n, window), from the truth."""
    r = np.where(sample.fiducials.ectopic == VENTRICULAR, np.nan, sample.fiducials.r)
    rate = setting.profile.ecg.sampling_rate
    return activation_rate(sample.truth.activation, sample.onsets, r, rate, sample.ecg.shape[2])
