"""Do maps depend on what they claim to explain? Sanity checks of maps of a pair's similarity.

Cascading randomisation and permuted labels after Adebayo et al. (2018, NeurIPS); invariance to a shift of the input
that the first layer undoes after Kindermans et al. (2019, in Explainable AI, Springer).
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch

from mmcl.data.store import Store
from mmcl.evaluation.probe import fit_ridge
from mmcl.interpretation.attribution import (
    gradient,
    input_times_gradient,
    integrated_gradients,
    probe_score,
    similarity,
)
from mmcl.interpretation.ecg_maps import STEPS
from mmcl.interpretation.image_maps import image_maps
from mmcl.interpretation.localisation import ecg_segments, project
from mmcl.interpretation.measures import enlarge, rank_correlation
from mmcl.interpretation.models import contrastive_model, untrained_model
from mmcl.interpretation.occlusion import occlude_leads
from mmcl.interpretation.rollout import attention_rollout
from mmcl.interpretation.sample import Sample
from mmcl.interpretation.scores import summarise
from mmcl.models.contrastive import ContrastiveModel
from mmcl.setting import Setting
from mmcl.training.features import ecg_encoder, stored_features
from mmcl.training.tasks import open_task

OTHER_SEED = 1_000_003
"""Added to the run's seed for random weights that no training of it started from."""

SSIM_KERNEL = 7
"""Pixels of the window in which structural similarity is compared (Wang et al. 2004, IEEE TIP)."""


def ecg_side(model: ContrastiveModel, sample: Sample, setting: Setting, cmr: torch.Tensor) -> dict[str, np.ndarray]:
    """Maps of the similarity over the ECG, with projections `cmr` (n, projection): (n, 12, times) or (n, 12, 1)."""
    output = similarity(model.project_ecg)
    projected = project(model, sample.ecg, sample.cmr, setting.preset.norm_local_tokens)._replace(cmr=cmr)
    return {
        "localisation": ecg_segments(projected).cpu().numpy(),
        "integrated gradients": integrated_gradients(output, sample.ecg, cmr, STEPS).values.cpu().numpy(),
        "occlusion": occlude_leads(output, sample.ecg, cmr).cpu().numpy()[:, :, None],
        "rollout": attention_rollout(model.encoder_ecg, sample.ecg).cpu().numpy(),
    }


def image_side(model: ContrastiveModel, sample: Sample, setting: Setting) -> dict[str, np.ndarray]:
    """Maps of the similarity over the image, with the sample's own ECGs, at its resolution: (n, crop, crop)."""
    shape = sample.images.shape[1:]
    return {name: enlarge(maps.own, shape) for name, maps in image_maps(model, sample, setting).items()}


def cascade(model: ContrastiveModel, other: ContrastiveModel, side: str) -> Iterator[tuple[str, ContrastiveModel]]:
    """`model` with the weights of one `side`, "ecg" or "cmr", taken from `other`, from the head down to the input.

    Yields the name of the layer randomised last, and the model, which is changed further at the next step.
    """
    if side == "ecg":
        blocks = [f"encoder_ecg.blocks.{k}." for k in reversed(range(len(model.encoder_ecg.blocks)))]
        embedding = ("encoder_ecg.patch_embed.", "encoder_ecg.pos_embed", "encoder_ecg.cls_token")
        prefixes = [("projection_head_ecg.", "encoder_ecg.fc_norm."), *((block,) for block in blocks), embedding]
        names = ["head", *(f"block {k + 1}" for k in reversed(range(len(blocks)))), "embedding"]
    else:
        layers = [f"layer{k}" for k in (4, 3, 2, 1)]
        stem = ("encoder_imaging.conv1.", "encoder_imaging.bn1.")
        prefixes = [("projection_head_imaging.",), *((f"encoder_imaging.{layer}.",) for layer in layers), stem]
        names = ["head", *(layer.replace("layer", "layer ") for layer in layers), "stem"]
    model, fresh = copy.deepcopy(model), other.state_dict()
    for name, chosen in zip(names, prefixes, strict=True):
        model.load_state_dict({key: fresh[key] for key in fresh if key.startswith(chosen)}, strict=False)
        yield name, model


def map_similarity(one: np.ndarray, other: np.ndarray) -> dict[str, np.ndarray]:
    """Spearman correlation and structural similarity (n,) of maps (n, rows, columns), each scaled to 0 to 1 for the
    latter; NaN for the correlation with a constant map. Maps smaller than the window have no structural similarity.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure as ssim

    found = {"Spearman": rank_correlation(*(values.reshape(len(values), -1) for values in (one, other)))}
    if min(one.shape[1:]) >= SSIM_KERNEL:
        window = {"gaussian_kernel": False, "kernel_size": SSIM_KERNEL, "reduction": "none", "data_range": 1.0}
        found["SSIM"] = ssim(*(torch.as_tensor(_scaled(values))[:, None] for values in (one, other)), **window).numpy()
    return found


def _scaled(maps: np.ndarray) -> np.ndarray:
    low, high = (getattr(maps, most)(axis=(1, 2), keepdims=True).astype(np.float64) for most in ("min", "max"))
    return (maps - low) / np.maximum(high - low, 1e-30)


def sanity_table(arm: str, sample: Sample, setting: Setting, store: Store, other_arm: str = "") -> pd.DataFrame:
    """Checks of the maps of `arm`: check, side, map, step, measure, value, low, high (95 % over subjects), n.

    `random weights`: likeness of a map to that of the model with more and more layers at random, down to the input.
    `other training`: to that of `other_arm`, trained from another start. `permuted labels`: of a head's integrated
    gradients to those of a head fitted on permuted labels. `shifted input`: how much a map changes, as a share of
    itself, when a constant is added to the ECG and taken off again by the first layer, which leaves the output as it
    is; on the CMR side padding makes that impossible.
    """
    model, fresh = contrastive_model(arm, setting), untrained_model(setting, setting.run.seed + OTHER_SEED)
    cmr, rows = model.project_cmr(sample.cmr), []
    own = {"ecg": ecg_side(model, sample, setting, cmr), "cmr": image_side(model, sample, setting)}

    def add(check: str, side: str, step: str, found: dict[str, dict[str, np.ndarray]]) -> None:
        for name, measures in found.items():
            for measure, values in measures.items():
                told = summarise(values, None, np.nan, setting.profile.downstream.bootstrap, setting.run.seed)
                numbers = {key: told[key] for key in ("value", "low", "high", "n")}
                place = {"check": check, "side": side, "map": name, "step": step, "measure": measure}
                rows.append(place | numbers)

    def compare(check: str, side: str, step: str, maps: dict[str, np.ndarray]) -> None:
        add(check, side, step, {name: map_similarity(own[side][name], values) for name, values in maps.items()})

    for step, changed in cascade(model, fresh, "ecg"):
        compare("random weights", "ecg", step, ecg_side(changed, sample, setting, cmr))
    for step, changed in cascade(model, fresh, "cmr"):
        compare("random weights", "cmr", step, image_side(changed, sample, setting))
    if other_arm:
        other = contrastive_model(other_arm, setting)
        compare("other training", "ecg", other_arm, ecg_side(other, sample, setting, other.project_cmr(sample.cmr)))
        compare("other training", "cmr", other_arm, image_side(other, sample, setting))
    add("permuted labels", "ecg", "all labels", permuted_labels(arm, sample, setting, store))
    add("shifted input", "ecg", "1 SD", shifted_input(model, sample, setting, cmr))
    return pd.DataFrame(rows)


def permuted_labels(
    arm: str, sample: Sample, setting: Setting, store: Store, target: str = "LVM"
) -> dict[str, dict[str, np.ndarray]]:
    """Likeness of the integrated gradients of the head of `target` to those of one fitted on permuted labels, by map.

    Empty where nobody has a label.
    """
    task, features = open_task("phenotypes", store), stored_features(arm, setting)
    if not np.isfinite(task.labels[task.train, task.targets.index(target)]).any():
        return {}
    encoder = ecg_encoder(arm, setting).requires_grad_(False)
    random = np.random.default_rng(setting.run.seed)
    labels = task.labels[:, [task.targets.index(target)]]
    maps = []
    for permute in (False, True):
        parts = []
        for rows in (task.train, task.validation):
            order = random.permutation(rows) if permute else rows
            parts += [features[rows], labels[order]]
        fitted = fit_ridge(*parts, (target,))
        output = probe_score(encoder, fitted, target)
        maps.append(integrated_gradients(output, sample.ecg, steps=STEPS).values.cpu().numpy())
    return {f"integrated gradients, {target}": map_similarity(*maps)}


def shifted_input(
    model: ContrastiveModel, sample: Sample, setting: Setting, cmr: torch.Tensor, shift: float = 1.0
) -> dict[str, dict[str, np.ndarray]]:
    """By how much each map over the ECG changes, (n,), as a share of its size, when `shift` is added to every sample of
    the ECG and the bias of the patch embedding takes it off again."""
    shifted = copy.deepcopy(model)
    embedding = shifted.encoder_ecg.patch_embed.proj
    embedding.bias -= shift * embedding.weight.sum(dim=(1, 2, 3))
    moved = dataclasses.replace(sample, ecg=sample.ecg + shift)
    found = []
    for one, subjects in ((model, sample), (shifted, moved)):
        output = similarity(one.project_ecg)
        maps = ecg_side(one, subjects, setting, cmr)
        maps["gradient"] = gradient(output, subjects.ecg, cmr).cpu().numpy()
        maps["input x gradient"] = input_times_gradient(output, subjects.ecg, cmr).cpu().numpy()
        found.append(maps)
    changes = {}
    for name, values in found[0].items():
        size = np.maximum(np.linalg.norm(values, axis=(1, 2)), 1e-30)
        changes[name] = {"relative change": np.linalg.norm(found[1][name] - values, axis=(1, 2)) / size}
    return changes
