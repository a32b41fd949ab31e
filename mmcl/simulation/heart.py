"""One heart per subject, from which ECG, CMR and phenotypes all follow, and where its parts lie in the torso.

Volumes and strains stored here are measured from the geometry. Torso coordinates: x left, y up, z anterior, metres.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from mmcl.simulation import physiology
from mmcl.simulation.anatomy import (
    BAND_EDGES,
    SEGMENT_ANGLE,
    SEGMENT_LEVEL,
    cavity_volumes,
    contours,
    free_wall,
    height_of,
    interpolate,
    profile,
    rv_depth,
    segment_of,
    wall_volume,
)
from mmcl.simulation.aorta import aortic_areas
from mmcl.simulation.infarct import diseased_wall
from mmcl.simulation.intervention import Change, changed, check_names
from mmcl.simulation.measurement import longitudinal_strain, segment_strain
from mmcl.simulation.motion import Beating, least_cavity
from mmcl.simulation.parameters import parameters
from mmcl.simulation.population import People
from mmcl.simulation.pose import frame, sample_pose
from mmcl.simulation.random import normal, power

P = parameters("heart")
ANATOMY = parameters("anatomy")
PHYSIOLOGY = parameters("physiology")

__all__ = [
    "SEGMENT_ANGLE",
    "SEGMENT_LEVEL",
    "Hearts",
    "atria_centres",
    "build_hearts",
    "rv_point",
    "segment_area",
    "wall_point",
]

SPHERE = 0.62  # radius of the sphere of 1 m3 of blood, (3 / 4 pi)^(1/3)


@dataclass(frozen=True)
class Hearts(Beating):
    """Hearts of a batch; tensors (n,) float64 unless said.

    `people`; `shape` the geometry; `heart_rate` /min; `segment_delay` (n, 16) ms by which endocardial activation is
    late; `conduction` velocity factor about 1; volumes `lv_edv` .. `ra_min` ml; `aorta_max`, `aorta_min` (n, 2) mm2 of
    the ascending and descending aorta; `lv_mass` g; `wall_thickness` (n, 16) mm at end-diastole; `ecc`, `err` (n, 16),
    `ell` (n, 6) signed fractions at end-systole; `transmurality` (n, 16) depth of scar from the endocardium, `border`
    (n, 16) share of patchy scar beside it, `viability` (n, 16) what of a segment works, all 0-1; `centre` (n, 3) m,
    middle of the cavity's long axis in torso coordinates (see `pose`); `axis` (n, 3) unit vector base to apex; `roll`
    rad about it.
    """

    conduction: torch.Tensor
    lv_edv: torch.Tensor
    lv_esv: torch.Tensor
    lv_mass: torch.Tensor
    rv_edv: torch.Tensor
    rv_esv: torch.Tensor
    la_max: torch.Tensor
    la_min: torch.Tensor
    ra_max: torch.Tensor
    ra_min: torch.Tensor
    aorta_max: torch.Tensor
    aorta_min: torch.Tensor
    wall_thickness: torch.Tensor
    ecc: torch.Tensor
    err: torch.Tensor
    ell: torch.Tensor
    transmurality: torch.Tensor
    border: torch.Tensor
    viability: torch.Tensor
    centre: torch.Tensor
    axis: torch.Tensor
    roll: torch.Tensor


def build_hearts(seed: int, people: People, change: Change | None = None) -> Hearts:
    """The hearts of `people` in cohort `seed`, float64 on their device.

    `change` replaces properties named in `intervention.HEART`; names of `intervention.PEOPLE` are left to
    `sample_people`. ValueError for a name in neither.
    """
    check_names(change)
    disease = diseased_wall(seed, people, change)
    score = normal(seed, people.subject, "heart size", 9).clamp(-3, 3)
    body, volume, mass = physiology.size_scores(people, score[:, 0:2])
    edv = changed(change, "lv_edv", physiology.filling_volume(people, volume, disease))
    mass = changed(change, "lv_mass", physiology.muscle_mass(people, mass))
    slender = changed(change, "length", physiology.slenderness(score[:, 2]))
    shape = physiology.relaxed_shape(seed, people, edv, mass, slender, disease)
    usual = physiology.ejection_fraction(people, score[:, 3])
    fraction = usual * torch.where(people.in_af, PHYSIOLOGY.in_af_ef, 1.0)
    fraction = changed(change, "ejection_fraction", fraction)
    shape = physiology.contracting_shape(seed, people, shape, fraction, usual, score[:, 3:5], disease)
    together = 1 - cavity_volumes(shape, 1.0)[0] * 1e6 / edv
    beating = Beating(
        people=people,
        shape=shape,
        heart_rate=changed(change, "heart_rate", physiology.heart_rate(people, together, score[:, 7])),
        segment_delay=changed(change, "segment_delay", physiology.activation_delay(seed, people, disease)),
    )

    phase, segments = least_cavity(beating)
    esv = cavity_volumes(shape, phase, segments)[0] * 1e6
    stroke = usual * edv / physiology.scar_dilatation(disease)
    rv_edv, rv_esv = physiology.right_ventricle(people, stroke, edv - esv, score[:, 5:7])
    relaxed, least = rv_depth(shape, 0.0, rv_edv * 1e-6), rv_depth(shape, phase, rv_esv * 1e-6, segments)
    shape = replace(shape, rv_relaxed=relaxed, rv_contracted=relaxed + (least - relaxed) / phase)
    la_max, la_min, ra_max, ra_min = physiology.atrial_volumes(seed, people, volume, body, change)
    aorta_max, aorta_min = aortic_areas(seed, people)
    wall, ecc, err = segment_strain(shape, phase, segments)
    centre, axis, roll = sample_pose(seed, people, change)
    return Hearts(
        people=people,
        shape=shape,
        heart_rate=beating.heart_rate,
        segment_delay=beating.segment_delay,
        conduction=changed(change, "conduction", physiology.conduction_velocity(people, edv, score[:, 8])),
        lv_edv=edv,
        lv_esv=esv,
        lv_mass=wall_volume(shape.length, shape.radius, shape.thickness) * 1e6 * PHYSIOLOGY.density,
        rv_edv=rv_edv,
        rv_esv=rv_esv,
        la_max=la_max,
        la_min=la_min,
        ra_max=ra_max,
        ra_min=ra_min,
        aorta_max=aorta_max,
        aorta_min=aorta_min,
        wall_thickness=wall * 1e3,
        ecc=ecc,
        err=err,
        ell=longitudinal_strain(shape, phase, segments),
        transmurality=disease.transmurality,
        border=disease.border,
        viability=disease.viability,
        centre=centre,
        axis=axis,
        roll=roll,
    )


def wall_point(hearts: Hearts, level: torch.Tensor, angle: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
    """Points (n, points, 3) of the relaxed left ventricular wall at `level`, `angle`, `depth`, each (points,).

    `level` 0 at the base plane to 1 at the apex, `angle` rad as in `anatomy`, `depth` 0 endocardium to 1 epicardium.
    """
    shape = hearts.shape
    height = level * (shape.length[:, None] + depth * shape.apex[:, None])
    radius = (shape.radius[:, None] + depth * interpolate(shape.thickness, level, angle)) * profile(level)
    return _place(hearts, height, radius, angle)


def rv_point(hearts: Hearts, level: torch.Tensor, fraction: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
    """Points (n, points, 3) of the relaxed right ventricular free wall.

    `level` 0 at the base plane to 1 at the right ventricle's apex, `fraction` 0 at the anterior to 1 at the inferior
    insertion, `depth` 0 endocardium to 1 epicardium; each (points,).
    """
    shape = hearts.shape
    width = ANATOMY.rv_half_width[0] + (ANATOMY.rv_half_width[1] - ANATOMY.rv_half_width[0]) * level
    angle = ANATOMY.rv_centre + width * (2 * fraction - 1)
    level = level * ANATOMY.rv_tip
    height = height_of(shape, level, 0.0)
    points = len(level)
    cut = contours(shape, height, torch.zeros_like(height), angle)
    radius = torch.diagonal(free_wall(shape, cut, torch.zeros_like(height), angle), dim1=1, dim2=2)
    return _place(hearts, height, radius.reshape(-1, points) + depth * P.rv_wall, angle)


def atria_centres(hearts: Hearts) -> torch.Tensor:
    """Centres (n, 2, 3) of left and right atrium, spheres of their greatest volume behind the base plane."""
    places = []
    for volume, (lateral, anterior) in ((hearts.la_max, P.left_atrium), (hearts.ra_max, P.right_atrium)):
        radius = atrial_radius(volume)
        reach = radius + hearts.shape.radius
        local = (lateral * reach, anterior * radius, -0.9 * radius - hearts.shape.length / 2)
        basis = frame(hearts.axis, hearts.roll)
        places.append(hearts.centre + sum(part[:, None] * basis[:, k] for k, part in enumerate(local)))
    return torch.stack(places, 1)


def atrial_radius(volume: torch.Tensor) -> torch.Tensor:
    """Radius in m of a sphere of `volume` ml."""
    return SPHERE * power(volume * 1e-6, 1 / 3)


def segment_area(hearts: Hearts, levels: int = 60, angles: int = 72) -> torch.Tensor:
    """Mid-wall area (n, 16) in m2 of each segment at end-diastole; the apical cap beyond the last band is left out."""
    shape = hearts.shape
    edge = torch.linspace(0, BAND_EDGES[3], levels + 1, dtype=torch.float64, device=shape.length.device)
    angle = (torch.arange(angles, dtype=torch.float64, device=edge.device) + 0.5) * (2 * torch.pi / angles)
    thickness = interpolate(shape.thickness, edge.repeat_interleave(angles), angle.repeat(len(edge))).reshape(
        -1, len(edge), angles
    )
    radius = (shape.radius[:, None, None] + thickness / 2) * profile(edge)[:, None]
    height = (edge * (shape.length + shape.apex / 2)[:, None])[..., None]
    slant = (radius.diff(dim=1) ** 2 + height.diff(dim=1) ** 2).sqrt()
    area = slant * (radius[:, 1:] + radius[:, :-1]) / 2 * (2 * torch.pi / angles)
    segment = segment_of((edge[1:, None] + edge[:-1, None]) / 2, angle[None, :]).flatten()
    member = (segment[:, None] == torch.arange(16, device=edge.device)).double()
    return area.flatten(1) @ member


def _place(hearts: Hearts, height: torch.Tensor, radius: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Torso coordinates (n, points, 3) of cylinder coordinates, `height` below the base plane."""
    along = (height - hearts.shape.length[:, None] / 2).expand_as(radius)
    local = (radius * torch.cos(angle), radius * torch.sin(angle), along)
    basis = frame(hearts.axis, hearts.roll)
    # Added one by one: a matrix product's rounding depends on the batch.
    return hearts.centre[:, None, :] + sum(part[..., None] * basis[:, None, k] for k, part in enumerate(local))
