"""Size, wall and function of the heart given the person: the draws that the reference ranges and the diseases govern.

Sizes are drawn so that healthy men and women match Petersen et al. (2017, JCMR 19:18); diseases then act on the heart.
A `score` is a tensor of standard normal numbers, one column per independent draw.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from mmcl.simulation.anatomy import SEGMENT_ANGLE, Shape, cavity_volumes, profile_area, wall_volume
from mmcl.simulation.infarct import WallDisease
from mmcl.simulation.intervention import Change, changed
from mmcl.simulation.parameters import parameters
from mmcl.simulation.population import People, by_sex, log_normal
from mmcl.simulation.random import normal, power

P = parameters("physiology")
ANATOMY = parameters("anatomy")

SEPTUM = [1, 2, 7, 8, 13]
"""Segments, counted from 0, that part the ventricles."""


def size_scores(people: People, score: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Standard scores (n,) of body surface, end-diastolic volume and mass within a sex, from `score` (n, 2)."""
    body = (people.bsa - by_sex(people.female, P.bsa_mean)) / by_sex(people.female, P.bsa_sd)
    age = (people.age - P.age_centre) / P.age_scale
    volume = P.edv_on_bsa * body + P.edv_on_age * age + _rest(P.edv_on_bsa, P.edv_on_age) * score[:, 0]
    # Mass shares with volume the part that body size does not explain, so that body size is not counted twice.
    mass = P.mass_on_bsa * body + P.mass_on_age * age + P.mass_on_edv * score[:, 0]
    return body, volume, mass + _rest(P.mass_on_bsa, P.mass_on_age, P.mass_on_edv) * score[:, 1]


def filling_volume(people: People, standard: torch.Tensor, disease: WallDisease) -> torch.Tensor:
    """Left ventricular end-diastolic volume in ml at the standard score `standard`."""
    volume = _drawn(people, P.lv_edv, standard) * torch.where(people.dm, P.diabetes_edv, 1.0)
    return volume * scar_dilatation(disease)


def scar_dilatation(disease: WallDisease) -> torch.Tensor:
    """Factor (n,) by which scar has widened the left ventricle."""
    return 1 + P.scar_dilatation * disease.burden


def muscle_mass(people: People, standard: torch.Tensor) -> torch.Tensor:
    """Left ventricular mass in g, before scars thin the wall, at the standard score `standard`."""
    load = P.hypertension_mass * (1 + P.pressure_mass * (people.systolic - P.pressure_usual).clamp(0, 50))
    mass = _drawn(people, P.lv_mass, standard) * torch.where(people.hypertension, load, 1.0)
    return mass * torch.where(people.dm, P.diabetes_mass, 1.0)


def ejection_fraction(people: People, score: torch.Tensor) -> torch.Tensor:
    """Ejection fraction of the healthy wall in sinus rhythm, 0-1."""
    fraction = by_sex(people.female, P.lv_ef[0]) + by_sex(people.female, P.lv_ef[1]) * score
    return fraction.clamp(*P.fraction_range)


def heart_rate(people: People, fraction: torch.Tensor, score: torch.Tensor) -> torch.Tensor:
    """Rate at rest, /min; a weak heart (ejection `fraction`) beats faster."""
    rate = by_sex(people.female, P.heart_rate[0]) + P.heart_rate[1] * score
    rate = rate + P.diabetes_rate * people.dm + P.af_rate * people.in_af
    rate = rate + P.failure_rate * (P.failure_limit - fraction).clamp(min=0)
    return rate.clamp(*P.rate_range)


def conduction_velocity(people: People, edv: torch.Tensor, score: torch.Tensor) -> torch.Tensor:
    """Velocity factor about 1, lower in a dilated heart of `edv` ml."""
    dilated = (edv / by_sex(people.female, P.lv_edv[0]) - P.conduction_limit).clamp(min=0)
    return (1 + P.conduction_sd * score.clamp(-2.5, 2.5)) * (1 - P.conduction_dilated * dilated)


def relaxed_shape(
    seed: int, people: People, edv: torch.Tensor, mass: torch.Tensor, slender: torch.Tensor, disease: WallDisease
) -> Shape:
    """End-diastolic geometry with cavity `edv` ml and, before thinning, `mass` g; still without motion.

    `slender` (n,) is the cavity's length over its diameter.
    """
    ratio = 2 * slender
    radius = power(edv * 1e-6 / (torch.pi * profile_area() * ratio), 1 / 3)
    length = ratio * radius
    pattern = torch.tensor(P.thickness, dtype=edv.dtype, device=edv.device)
    pattern = pattern * (1 + P.thickness_sd * normal(seed, people.subject, "wall pattern", 16).clamp(-3, 3))
    scale = torch.full_like(edv, 6e-3)
    for _ in range(5):  # Newton: the volume is nearly linear in thickness, with a known slope at the origin
        volume = wall_volume(length, radius, scale[:, None] * pattern)
        slope = (wall_volume(length, radius, scale[:, None] * pattern * 1.001) - volume) / (0.001 * scale)
        scale = scale - (volume - mass * 1e-6 / P.density) / slope
    thickness = scale[:, None] * pattern * disease.thinning
    still = torch.zeros_like(edv)
    return Shape(
        length,
        radius,
        thickness,
        ANATOMY.apex_share * thickness.mean(1),
        torch.zeros_like(thickness),
        still,
        still,
        still,
    )


def slenderness(score: torch.Tensor) -> torch.Tensor:
    """Length of the cavity over its equatorial diameter."""
    return P.length_shape[0] + P.length_shape[1] * score


def contracting_shape(
    seed: int,
    people: People,
    shape: Shape,
    fraction: torch.Tensor,
    usual: torch.Tensor,
    score: torch.Tensor,
    disease: WallDisease,
) -> Shape:
    """Add motion: contraction that gives ejection `fraction` in a healthy wall, lost where it is not viable.

    Below the person's `usual` fraction the base descends less, as the wall contracts less. ValueError for a fraction
    that no contraction of this heart gives.
    """
    vigour = P.shortening_on_ef * score[:, 0] + _rest(P.shortening_on_ef) * score[:, 1]
    shortening = by_sex(people.female, P.shortening[0]) - P.shortening[1] * vigour
    shortening = shortening * torch.where(people.hypertension, P.hypertension_shortening, 1.0)
    shortening = (shortening * torch.where(people.dm, P.diabetes_strain, 1.0)).clamp(*P.shortening_range)
    shortening = shortening * (fraction / usual).clamp(max=1)
    pattern = torch.tensor(P.contraction, dtype=fraction.dtype, device=fraction.device)
    pattern = pattern * (1 + P.contraction_sd * normal(seed, people.subject, "contraction pattern", 16).clamp(-3, 3))
    edv = cavity_volumes(shape, 0.0)[0]

    def ejection(strength: torch.Tensor) -> torch.Tensor:
        moving = replace(shape, contraction=-strength[:, None] * pattern, shortening=shortening)
        return 1 - cavity_volumes(moving, 1.0, planes=12, angles=18)[0] / edv

    before, strength = torch.full_like(fraction, 0.16), torch.full_like(fraction, 0.22)
    result = ejection(before)
    for _ in range(5):  # secant method on a smooth, nearly straight curve
        now = ejection(strength)
        step = (fraction - now) * (strength - before) / torch.where(now == result, 1.0, now - result)
        before, result, strength = strength, now, (strength + step.clamp(-0.1, 0.1)).clamp(*P.strength_range)
    unmet = (ejection(strength) - fraction).abs() > 0.02
    if unmet.any():
        got = ejection(strength)[unmet][0].item()
        raise ValueError(f"ejection fraction {fraction[unmet][0].item():.2f}: this heart's limit is {got:.2f}")
    moving = 1 - P.scar_stillness * (1 - disease.viability)
    # Early activated and then stretched by the lateral wall, the septum works in vain.
    moving[:, SEPTUM] *= torch.where(people.lbbb, P.lbbb_septum, 1.0)[:, None]
    return replace(shape, contraction=-strength[:, None] * pattern * moving, shortening=shortening * moving.mean(1))


def right_ventricle(
    people: People, stroke: torch.Tensor, pumped: torch.Tensor, score: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """End-diastolic and end-systolic volume in ml.

    The ventricle is as large as the `stroke` asks that the left one would have with a healthy wall; both pump the same
    blood, so that when the left `pumped` less the right one empties less and keeps its size.
    """
    usual = by_sex(people.female, P.lv_edv[0]) * by_sex(people.female, P.lv_ef[0])
    relative = ((stroke / usual - 1) / P.stroke_sd).clamp(-3, 3)
    standard = P.rv_ef_on_sv * relative + _rest(P.rv_ef_on_sv) * score[:, 0]
    fraction = by_sex(people.female, P.rv_ef[0]) + by_sex(people.female, P.rv_ef[1]) * standard
    fraction = fraction.clamp(*P.rv_fraction_range)
    ratio = P.rv_stroke_ratio[0] + P.rv_stroke_ratio[1] * score[:, 1]
    filled = torch.maximum(stroke * ratio / fraction, pumped * ratio / P.rv_fraction_range[1])
    return filled, filled - pumped * ratio


def atrial_volumes(
    seed: int, people: People, size: torch.Tensor, body: torch.Tensor, change: Change | None
) -> tuple[torch.Tensor, ...]:
    """Greatest and least volumes in ml of left, then right atrium."""
    draw = normal(seed, people.subject, "atria", 4).clamp(-3, 3)
    common = P.atrium_on_edv * size + P.atrium_on_bsa * body
    rest = _rest(P.atrium_on_edv, P.atrium_on_bsa)
    left = _drawn(people, P.la_max, common + rest * draw[:, 0]) * torch.where(people.af, P.af_la, 1.0)
    other = P.atria_together * draw[:, 0] + _rest(P.atria_together) * draw[:, 1]
    right = _drawn(people, P.ra_max, common + rest * other)
    right = right * torch.where(people.af, P.af_ra, 1.0)
    left, right = changed(change, "la_max", left), changed(change, "ra_max", right)
    weak = torch.where(people.in_af, P.in_af_atrial_ef, torch.where(people.af, P.paroxysmal_atrial_ef, 1.0))
    left_fraction = (weak * (P.la_ef[0] + P.la_ef[1] * draw[:, 2])).clamp(*P.atrial_range)
    right_fraction = (weak * (P.ra_ef[0] + P.ra_ef[1] * draw[:, 3])).clamp(*P.atrial_range)
    return left, left * (1 - left_fraction), right, right * (1 - right_fraction)


def activation_delay(seed: int, people: People, disease: WallDisease) -> torch.Tensor:
    """Lateness (n, 16) in ms: scars conduct slowly; left bundle branch block reaches the lateral wall last."""
    delay = P.scar_delay * disease.transmurality + block_delay(people)
    return delay + P.delay_sd * normal(seed, people.subject, "activation", 16).clamp(-3, 3)


def block_delay(people: People) -> torch.Tensor:
    """Lateness (n, 16) in ms that a blocked left bundle adds; 0 without."""
    angle = torch.tensor(SEGMENT_ANGLE, dtype=torch.float64, device=people.age.device)
    block = P.lbbb_delay + P.lbbb_lateral * torch.cos(angle)
    return torch.where(people.lbbb[:, None], block, 0.0)


def _rest(*weights: float) -> float:
    """Weight of the independent part that keeps unit variance."""
    return (1 - sum(w * w for w in weights)) ** 0.5


def _drawn(people: People, reference: tuple, score: torch.Tensor) -> torch.Tensor:
    return log_normal(by_sex(people.female, reference[0]), by_sex(people.female, reference[1]), score)
