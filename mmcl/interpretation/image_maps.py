"""ECG -> CMR: which parts of an image a pair's similarity rests on, by several maps, and where they lie."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from mmcl.interpretation.attribution import grad_cam, similarity
from mmcl.interpretation.heads import PHENOTYPE, head
from mmcl.interpretation.localisation import project
from mmcl.interpretation.measures import pixel_auroc, pointing_game, positive_share, territories, territory_hit
from mmcl.interpretation.models import contrastive_model
from mmcl.interpretation.occlusion import occluded_projections
from mmcl.interpretation.sample import REGIONS, Sample
from mmcl.interpretation.scores import Scores
from mmcl.models.contrastive import ContrastiveModel
from mmcl.setting import Setting
from mmcl.simulation.truth import ARTERIES
from mmcl.training.features import CMR_ARM

PATCH, STRIDE = 4, 8
"""An image's side over the side of the square that is greyed (35 mm of 140), and over the step between squares."""

LAYERS = {"Grad-CAM": "layer4", "Grad-CAM, layer 2": "layer2"}
"""Name of a map -> the layer whose feature map it weighs: the last, and one with cells of an eighth of a side."""

MEASURES = {"positive share": positive_share, "pointing game": pointing_game, "pixel AUROC": pixel_auroc}

PLACE = ("map", "measure", "region")
"""What tells one of `image_scores` from the others."""


class Maps(NamedTuple):
    """Maps (n, rows, columns) of each subject's image with the subject's `own` ECG and with somebody else's."""

    own: np.ndarray
    shuffled: np.ndarray


def image_maps(model: ContrastiveModel, sample: Sample, setting: Setting) -> dict[str, Maps]:
    """Every map of every subject.

    `localisation`, as published; `occlusion`, the drop of the similarity when a square is greyed; both also `less
    others`, what the ECG adds to the mean of all others' maps; `Grad-CAM` on the last and on the second layer.
    """
    projected = project(model, sample.ecg, sample.cmr, setting.preset.norm_local_tokens)
    ecg, partner = projected.ecg, torch.as_tensor(sample.partner, device=projected.ecg.device)
    side = sample.cmr.shape[2]
    occluded = occluded_projections(model, sample.cmr, side // PATCH, max(1, side // STRIDE))
    vectors = {
        "localisation": projected.cmr_local,
        "occlusion": projected.cmr[:, None, None] - F.normalize(occluded, dim=-1),
    }
    maps = {}
    others = (ecg.sum(dim=0) - ecg) / (len(ecg) - 1)
    for name, local in vectors.items():
        # Linear in the ECG's unit vector, so that the mean of the others' maps is the map of their mean.
        for label, part in ((name, 0.0), (f"{name}, less others", others)):
            own, shuffled = (torch.einsum("nrcw,nw->nrc", local, chosen - part) for chosen in (ecg, ecg[partner]))
            maps[label] = Maps(own.cpu().numpy(), shuffled.cpu().numpy())
    output = similarity(model.project_cmr)
    for label, layer in LAYERS.items():
        pair = (grad_cam(output, model.encoder_imaging, sample.cmr, z, layer) for z in (ecg, ecg[partner]))
        maps[label] = Maps(*(values.cpu().numpy() for values in pair))
    return maps


def head_maps(sample: Sample, setting: Setting) -> dict[str, Maps]:
    """Grad-CAM of the phenotype head on the frozen CMR encoder, an upper reference; `shuffled` is somebody else's map.

    Empty without labels, and where the head was fitted on whole frames (not `crop_in_evaluation`).
    """
    encoder = contrastive_model(CMR_ARM, setting).encoder_imaging
    output = head("cmr", PHENOTYPE, encoder, setting) if setting.preset.crop_in_evaluation else None
    maps = {}
    for label, layer in LAYERS.items() if output is not None else ():
        own = grad_cam(output, encoder, sample.cmr, layer=layer).cpu().numpy()
        maps[f"{label} of {PHENOTYPE}"] = Maps(own, own[sample.partner])
    return maps


def image_scores(maps: dict[str, Maps], sample: Sample) -> dict[tuple[str, str, str], Scores]:
    """Where the maps lie, by PLACE.

    Regions: heart, myocardium and scar, against the region's share of the area (0.5 for an AUROC); `territory` of each
    artery in subjects whose scar it caused, and of all. Without a segmentation, or without the truth of the arteries,
    their scores are left out.
    """
    scores = {}
    for region in REGIONS if sample.labels is not None else ():
        mask = sample.mask(region)
        area = mask.mean(axis=(1, 2))
        for name, pair in maps.items():
            for measure, function in MEASURES.items():
                found = (function(values, mask) for values in pair)
                scores[name, measure, region] = Scores(*found, 0.5 if measure == "pixel AUROC" else area)
    if sample.labels is not None and sample.truth is not None:
        territory, culprit = territories(sample.labels, sample.truth.supply), culprits(sample)
        for name, pair in maps.items():
            (own, chance), (shuffled, _) = (territory_hit(values, territory, culprit) for values in pair)
            for region, chosen in (("all", culprit >= 0), *((a, culprit == k) for k, a in enumerate(ARTERIES))):
                hits = (np.where(chosen, values, np.nan) for values in (own, shuffled))
                scores[name, "territory of the scar", region] = Scores(*hits, chance)
    return scores


def culprits(sample: Sample) -> np.ndarray:
    """Artery (n,) that supplies most of each subject's scar; -1 without one in the image."""
    depth, supply = sample.truth.transmurality, sample.truth.supply
    burden = np.stack([(depth * (supply == k)).sum(axis=1) for k in range(len(ARTERIES))], axis=1)
    return np.where(sample.mask("scar").any(axis=(1, 2)), burden.argmax(axis=1), -1)
