"""Short-axis cine of a heart: the protocol of planes, the phases of the beat, and the rendering of both.

Images are seen from the apex: right ventricle to the left, anterior wall up. All slices share one geometry with the
phenotypes (`anatomy`), cut at the moment of each frame, so that masks agree with volumes by construction.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from mmcl.config import CohortConfig
from mmcl.simulation.anatomy import Shape, profile
from mmcl.simulation.heart import Hearts
from mmcl.simulation.motion import beat_phase, end_systole, segment_phase
from mmcl.simulation.parameters import parameters
from mmcl.simulation.population import People
from mmcl.simulation.random import normal, uniform
from mmcl.simulation.receiver import receive
from mmcl.simulation.scene import render_scene
from mmcl.simulation.short_axis import draw_heart, heart_window, trace_borders
from mmcl.simulation.texture import windows

P = parameters("cine")


@dataclass(frozen=True)
class Cine:
    """Cines of a batch.

    `images`, `labels` (n, slices, frames, rows, columns) uint8, base to apex; labels 0 background, 1 right ventricle,
    2 myocardium, 3 left ventricular cavity (with papillary muscles), 4 scar; `ed_frame` 0; `es_frame` (n,) int64, index
    in the full cine; `slice_distance` mm between slices.
    """

    images: torch.Tensor
    labels: torch.Tensor
    ed_frame: int
    es_frame: torch.Tensor
    slice_distance: float


@dataclass(frozen=True)
class Stack:
    """What does not change from frame to frame: `hearts` and their `shape` in single precision; `index` (slices,) of
    the slices in the full stack; `scene` and `texture` (n, slices, rows, columns); `height` (n, slices * frames) m of
    the planes; `x` (n, slices, columns) mm to image right and `y` (n, slices, rows) mm up from the ventricle's axis.
    """

    hearts: Hearts
    shape: Shape
    index: torch.Tensor
    scene: torch.Tensor
    texture: torch.Tensor
    height: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor


def render_cine(seed: int, hearts: Hearts, cohort: CohortConfig, middle_only: bool = False) -> Cine:
    """Render the cine of each heart with the slices, frames, matrix and pixel spacing of `cohort`.

    With `middle_only`, slice `slices // 2` alone in three frames (end-diastole, halfway, end-systole; halfway is frame
    `es_frame // 2`), equal to those of the full cine: images are (n, 1, 3, rows, columns).
    """
    if cohort.slices < 1 or cohort.frames < 2:
        raise ValueError(f"{cohort.slices} slices and {cohort.frames} frames: expected at least 1 and 2")
    es_frame = end_systole(hearts, cohort.frames)
    every = torch.arange(cohort.frames, device=es_frame.device).expand(len(es_frame), -1)
    chosen = torch.stack((torch.zeros_like(es_frame), es_frame // 2, es_frame), 1) if middle_only else every
    slices = [cohort.slices // 2] if middle_only else list(range(cohort.slices))
    size = len(slices) * chosen.shape[1] * cohort.matrix**2
    step = max(1, (400_000 if es_frame.device.type == "cpu" else 60_000_000) // size)  # fits a cache, or a GPU
    parts = [
        _render(seed, _take(hearts, slice(k, k + step)), cohort, slices, chosen[k : k + step])
        for k in range(0, len(es_frame), step)
    ]
    images, labels = (torch.cat(part) for part in zip(*parts, strict=True))
    return Cine(images, labels, 0, es_frame, slice_distance(cohort.slices))


def slice_distance(slices: int) -> float:
    """Distance of slices in mm: the protocol's, or more where few slices must cover the ventricle."""
    return max(P.slice_distance, P.stack / slices)


def _render(
    seed: int, hearts: Hearts, cohort: CohortConfig, slices: list[int], frames: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    people, device = hearts.people, frames.device
    shape = Shape(*(getattr(hearts.shape, f.name).float() for f in fields(Shape)))
    index = torch.tensor(slices, device=device)
    n, planes, count = len(frames), len(slices), frames.shape[1]

    x, y, jitter = _pixel_grid(seed, people, cohort, index)
    depth = (index - cohort.slices // 2).float() * slice_distance(cohort.slices)
    plan = P.planning_sd * normal(seed, people.subject, "planning").clamp(-2.5, 2.5).float()
    height = (shape.length + shape.apex)[:, None] / 2 + (depth + plan + jitter) / 1000
    height = height[:, :, None].expand(n, planes, count).reshape(n, -1)
    phase, segments = _phases(hearts, cohort.frames, frames, planes)
    offset = uniform(seed, people.subject, "tissue texture", cohort.slices)[:, index]
    texture = windows("fine", offset, cohort.matrix, cohort.matrix)
    size = 1000 * (shape.radius + shape.thickness.mean(1))
    level = height[:, ::count] / (shape.length + shape.apex)[:, None]
    local = size[:, None] * profile(level.clamp(0, 0.95))
    scene = render_scene(seed, people, texture, local, size + 700 * shape.rv_relaxed, x, y, depth)
    still = Stack(hearts, shape, index, scene, texture, height, x, y)
    signal, labels = _paint(seed, still, phase, segments)
    irregular = people.in_af
    if irregular.any():
        # A cine is put together from several beats; those of unequal length disagree about the size of the heart.
        share = uniform(seed, people.subject, "mixed beats")[irregular].float()
        mixed = P.mixing[0] + (P.mixing[1] - P.mixing[0]) * share
        other = mixed + (1 - 2 * mixed) * phase[irregular]
        parts = mixed[..., None] + (1 - 2 * mixed[..., None]) * segments[irregular]
        signal[irregular] = (signal[irregular] + _paint(seed, _take(still, irregular), other, parts)[0]) / 2

    offsets = uniform(seed, people.subject, "noise", 2 * cohort.slices * cohort.frames)
    offsets = offsets.reshape(n, cohort.slices, cohort.frames, 2)
    offsets = offsets[torch.arange(n, device=device)[:, None, None], index[None, :, None], frames[:, None, :]]
    return receive(seed, people, signal, offsets, x, y, cohort.spacing), labels


def _paint(seed: int, stack: Stack, phase: torch.Tensor, segments: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Signal and labels (n, slices, frames, rows, columns) with the hearts in their scene.

    `phase` (n, slices * frames) and `segments` (.., 16) of contraction.
    """
    borders = trace_borders(seed, stack.hearts, stack.shape, stack.height, phase, segments, stack.index)
    rows, columns = heart_window(borders, stack.x, stack.y)
    frames = phase.shape[1] // len(stack.index)
    signal = stack.scene[:, :, None].repeat(1, 1, frames, 1, 1)
    labels = torch.zeros(signal.shape, dtype=torch.uint8, device=signal.device)
    part = (..., rows, columns)
    x, y = stack.x[..., columns], stack.y[..., rows]
    signal[part], labels[part] = draw_heart(
        seed, stack.hearts, borders, signal[part], stack.texture[part], stack.index, x, y
    )
    return signal, labels


def _phases(hearts: Hearts, total: int, frames: torch.Tensor, planes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Contraction of the heart (n, planes * frames) and of each segment (.., 16) in the chosen `frames` of `total`."""
    phase = beat_phase(hearts, total).float().gather(1, frames)
    segments = segment_phase(hearts, total).float().gather(1, frames[..., None].expand(-1, -1, 16))
    return phase.repeat(1, planes), segments.repeat(1, planes, 1)


def _pixel_grid(
    seed: int, people: People, cohort: CohortConfig, index: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mm right (n, slices, columns) and up (n, slices, rows) of the ventricle's centre; depth errors (n, slices)."""
    place = P.heart_sd * normal(seed, people.subject, "place in image", 2).clamp(-2.5, 2.5)
    breath = normal(seed, people.subject, "breath hold", 3 * cohort.slices).clamp(-2.5, 2.5)
    breath = breath.reshape(-1, cohort.slices, 3)[:, index]
    right = P.heart_right + place[:, :1] + P.breath_sd * breath[..., 0]
    up = P.heart_up * cohort.spacing * max(0, cohort.matrix - 100) + place[:, 1:] + P.breath_sd * breath[..., 1]
    pixel = (torch.arange(cohort.matrix, device=index.device) - (cohort.matrix - 1) / 2) * cohort.spacing
    depth = P.breath_depth_sd * breath[..., 2]
    return (pixel - right[..., None]).float(), (-pixel - up[..., None]).float(), depth.float()


def _take(group: Any, part: slice | torch.Tensor) -> Any:
    """The subjects in `part` of a data class of tensors whose first axis is the subject, as all but `index` have."""
    values = {f.name: getattr(group, f.name) for f in fields(group) if f.name != "index"}
    return replace(group, **{k: v[part] if torch.is_tensor(v) else _take(v, part) for k, v in values.items()})
