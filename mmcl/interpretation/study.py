"""The whole study: maps of the same subjects by every arm, measured, and by how long an arm was trained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mmcl.config import LEADS
from mmcl.interpretation.ecg_maps import EcgMaps, convergence_table, ecg_maps, ecg_table
from mmcl.interpretation.image_maps import Maps, head_maps, image_maps, image_table
from mmcl.interpretation.localisation import pairwise, project
from mmcl.interpretation.measures import positive_share
from mmcl.interpretation.models import ECG_ARMS, PAIR_ARMS, contrastive_model
from mmcl.interpretation.sample import Sample
from mmcl.setting import Setting
from mmcl.training.kept_epochs import kept_epochs
from mmcl.training.pretraining import pretrain


def study_images(sample: Sample, setting: Setting) -> tuple[dict[str, dict[str, Maps]], pd.DataFrame]:
    """Maps of the images by arm, and where they lie, see `image_table`; column `epochs` is 0 for the final weights.

    Epochs whose weights the recipe of MMCL keeps (`keep_epochs`) are rows of their arm. Arm `cmr` is the phenotype head
    on the CMR encoder.
    """
    maps, tables = {}, []
    for arm in PAIR_ARMS:
        maps[arm] = image_maps(contrastive_model(arm, setting), sample, setting)
        tables.append(image_table(maps[arm], sample, setting, arm).assign(epochs=0))
        kept = {} if arm == "random" else kept_epochs(pretrain(arm, setting))
        for epoch, weights in kept.items():
            early = image_maps(contrastive_model(arm, setting, weights), sample, setting)
            tables.append(image_table(early, sample, setting, arm).assign(epochs=epoch))
    maps["cmr"] = head_maps(sample, setting)
    tables.append(image_table(maps["cmr"], sample, setting, "cmr").assign(epochs=0))
    return maps, pd.concat(tables, ignore_index=True)


def study_ecg(
    sample: Sample, setting: Setting
) -> tuple[dict[str, dict[str, tuple[EcgMaps, EcgMaps]]], pd.DataFrame, pd.DataFrame]:
    """Maps of the ECGs by arm; what they rest on, see `ecg_table`; and how well integrated gradients converged."""
    maps = {arm: ecg_maps(arm, sample, setting) for arm in ECG_ARMS}
    tables = [ecg_table(found, sample, setting, arm) for arm, found in maps.items()]
    converged = [convergence_table(found, arm) for arm, found in maps.items()]
    return maps, pd.concat(tables, ignore_index=True), pd.concat(converged, ignore_index=True)


def left_out(sample: Sample) -> list[str]:
    """What is not measured, and why."""
    told = [
        f"Similarity maps of {', '.join(arm for arm in ECG_ARMS if arm not in PAIR_ARMS)} are not defined: without "
        "contrastive training there is no CMR encoder and no projection head."
    ]
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
