"""The whole study: maps of the same subjects by every arm, measured, and by how long an arm was trained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mmcl.config import LEADS
from mmcl.interpretation.ecg_maps import PLACE as ECG_PLACE
from mmcl.interpretation.ecg_maps import EcgMaps, convergence_table, ecg_maps, ecg_scores
from mmcl.interpretation.image_maps import PLACE as IMAGE_PLACE
from mmcl.interpretation.image_maps import Maps, head_maps, image_maps, image_scores
from mmcl.interpretation.localisation import pairwise, project
from mmcl.interpretation.measures import positive_share
from mmcl.interpretation.models import contrastive_model, ecg_arms, pair_arms
from mmcl.interpretation.sample import Sample
from mmcl.interpretation.scores import score_table
from mmcl.setting import Setting
from mmcl.training.kept_epochs import kept_epochs
from mmcl.training.pretraining import pretrain


def study_images(sample: Sample, setting: Setting) -> tuple[dict[str, dict[str, Maps]], pd.DataFrame]:
    """Maps of the images by arm, and where they lie, see `image_scores`; column `epochs` is 0 for the final weights.

    Epochs whose weights the recipe of MMCL keeps (`keep_epochs`) are rows of their arm. Arm `cmr` is the phenotype head
    on the CMR encoder, for which there is none with random weights.
    """
    arms = pair_arms(setting)
    maps = {arm: image_maps(contrastive_model(arm, setting), sample, setting) for arm in arms}
    maps["cmr"] = head_maps(sample, setting)
    scores = {(arm, 0): image_scores(found, sample) for arm, found in maps.items()}
    for arm in arms[1:]:  # those that were trained
        for epoch, weights in kept_epochs(pretrain(arm, setting)).items():
            early = image_maps(contrastive_model(arm, setting, weights), sample, setting)
            scores[arm, epoch] = image_scores(early, sample)
    tables = [
        score_table(found, IMAGE_PLACE, setting, arm, scores["random", 0]).assign(epochs=epoch)
        for (arm, epoch), found in scores.items()
    ]
    return maps, pd.concat(tables, ignore_index=True)


def study_ecg(
    sample: Sample, setting: Setting
) -> tuple[dict[str, dict[str, tuple[EcgMaps, EcgMaps]]], pd.DataFrame, pd.DataFrame]:
    """Maps of the ECGs by arm; what they rest on, see `ecg_scores`; and how well integrated gradients converged."""
    maps = {arm: ecg_maps(arm, sample, setting) for arm in ecg_arms(setting)}
    scores = {arm: ecg_scores(found, sample, setting, arm) for arm, found in maps.items()}
    tables = [score_table(found, ECG_PLACE, setting, arm, scores["random"]) for arm, found in scores.items()]
    converged = [convergence_table(found, arm) for arm, found in maps.items()]
    return maps, pd.concat(tables, ignore_index=True), pd.concat(converged, ignore_index=True)


def left_out(sample: Sample, setting: Setting) -> list[str]:
    """What is not measured, and why."""
    told, pairs = [], pair_arms(setting)
    if alone := [arm for arm in ecg_arms(setting) if arm not in pairs]:
        told.append(
            f"Similarity maps of {', '.join(alone)} are not defined: without contrastive training of pairs there is no "
            "CMR encoder and no projection head."
        )
    if sample.labels is None:
        told.append("Regions of the image are not measured: the cohort has no segmentation.")
    elif not sample.mask("scar").any():
        told.append("Scar is not measured: no segmentation of the sample has one.")
    if sample.truth is None:
        told.append("Territories, facing leads and activation are not measured: the cohort does not know them.")
        told.append("Waves are those that the delineator found.")
    return told


@dataclass(frozen=True)
class Beat:
    """One subject over its window of `seconds`: `maps` (times, rows, columns), cosine of each ECG time with each cell
    of the CMR; `image` (side, side), its `labels` or None; `trace` (samples,) of lead II, standardised."""

    maps: np.ndarray
    image: np.ndarray
    labels: np.ndarray | None
    trace: np.ndarray
    seconds: float


def beat_map(arm: str, sample: Sample, position: int, setting: Setting) -> Beat:
    """Pairwise maps of the subject at `position`, by `arm`."""
    model, one, ecg = contrastive_model(arm, setting), slice(position, position + 1), setting.profile.ecg
    projected = project(model, sample.ecg[one], sample.cmr[one], setting.preset.norm_local_tokens)
    return Beat(
        pairwise(projected)[0].cpu().numpy(),
        sample.images[position],
        None if sample.labels is None else sample.labels[position],
        sample.ecg[position, LEADS.index("II")].cpu().numpy(),
        ecg.window / ecg.sampling_rate,
    )


def heart_share(maps: np.ndarray, sample: Sample) -> np.ndarray:
    """Share (n,) of each map's positive part in the heart, by which examples are chosen; without a segmentation its
    mean."""
    if sample.labels is None:
        return maps.mean(axis=(1, 2))
    return positive_share(maps, sample.mask("heart"))
