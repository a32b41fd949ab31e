"""Size, wall and function of the heart given the person: the draws that the reference ranges and the diseases govern.

Sizes are drawn so that healthy men and women match Petersen et al. (2017, JCMR 19:18); diseases then act on the heart.
A `score` is a tensor of standard normal numbers, one column per independent draw.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from mmcl.simulation.anatomy import APEX_SHARE, PROFILE_AREA, SEGMENT_ANGLE, Shape, cavity_volumes, wall_volume
from mmcl.simulation.infarct import WallDisease
from mmcl.simulation.population import People, by_sex, log_normal
from mmcl.simulation.random import normal

# Every constant of this module. Pairs hold (men, women). P17: Petersen et al. 2017, JCMR 19:18, Tables 2-5.
LV_EDV = ((166.0, 124.0), (32.0, 21.0))  # ml, mean and SD, P17
LV_EF = ((0.58, 0.61), (0.05, 0.05))  # P17; gives LV ESV 69 +- 16 and 49 +- 11 ml
LV_MASS = ((103.0, 70.0), (21.0, 13.0))  # g, P17
RV_EF = ((0.54, 0.58), (0.06, 0.06))  # P17; RV EDV follows from equal stroke volumes
RV_STROKE_RATIO = 1.01, 0.03  # RV over LV stroke volume by CMR, mean and SD, effective
LA_MAX = ((70.0, 63.0), (18.0, 15.0))  # ml, P17 rounded
RA_MAX = ((90.0, 70.0), (24.0, 17.0))  # ml, P17 rounded
LA_EF, RA_EF = (0.60, 0.07), (0.48, 0.08)  # mean and SD, P17 rounded
DENSITY = 1.05  # g/ml, myocardium

# Correlations of standard scores within a sex (effective; they give pooled EDV-BSA 0.6, mass-volume 0.65).
EDV_ON_BSA, EDV_ON_AGE = 0.34, -0.12
MASS_ON_BSA, MASS_ON_AGE, MASS_ON_EDV = 0.27, -0.04, 0.38
BSA_MEAN, BSA_SD = (1.957, 1.694), (0.150, 0.145)  # m2, healthy subjects of the population model
RV_EF_ON_SV = 0.40
ATRIUM_ON_EDV, ATRIUM_ON_BSA = 0.40, 0.15

HEART_RATE = (61.0, 63.0), 9.5  # /min: mean by sex and SD, UK Biobank at rest, rounded
SHORTENING = (-0.170, -0.178), 0.016  # longitudinal strain, mean by sex and SD; UK Biobank, Bai 2020, rounded
LENGTH_SHAPE = 1.66, 0.07  # cavity length over equatorial diameter, mean and SD; effective
CONDUCTION_SD, CONDUCTION_DILATED = (
    0.12,
    0.25,
)  # spread of velocity; slowing per unit of relative dilatation over 1.3; assumed

# Relative thickness and contraction of segments 1-16: septum thick, lateral wall and apex contract most; effective.
THICKNESS = (1.00, 1.14, 1.14, 1.02, 0.95, 0.93, 0.96, 1.06, 1.08, 1.00, 0.92, 0.90, 0.95, 1.00, 0.95, 0.91)
CONTRACTION = (0.98, 0.88, 0.86, 0.98, 1.05, 1.05, 1.00, 0.92, 0.92, 1.01, 1.08, 1.08, 1.02, 0.97, 1.03, 1.06)
THICKNESS_SD, CONTRACTION_SD = 0.05, 0.07  # individual variation of a segment, effective

# Effects of disease on the heart (directions from the clinical literature, sizes effective).
HYPERTENSION_MASS, PRESSURE_MASS, HYPERTENSION_SHORTENING = 1.06, 0.004, 0.96  # factor; per mmHg over 130; factor
DIABETES_MASS, DIABETES_EDV, DIABETES_STRAIN, DIABETES_RATE = 1.04, 0.95, 0.97, 4.0
SCAR_DILATATION, SCAR_STILLNESS = (
    0.9,
    1.0,
)  # relative EDV per scarred share of the wall; loss of contraction per lost viability
FAILURE_RATE = 40.0  # /min per unit of ejection fraction below 0.55
AF_LA, AF_RA, AF_RATE, IN_AF_ATRIAL_EF, PAROXYSMAL_ATRIAL_EF = 1.40, 1.30, 16.0, 0.50, 0.85
IN_AF_EF = 0.93  # ejection fraction factor without atrial contribution
SCAR_DELAY, LBBB_DELAY, LBBB_LATERAL, DELAY_SD = (
    15.0,
    40.0,
    35.0,
    2.0,
)  # ms: full scar; septum; further to the lateral wall


def size_scores(people: People, score: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Standard scores (n,) of body surface, end-diastolic volume and mass within a sex, from `score` (n, 2)."""
    body = (people.bsa - by_sex(people.female, BSA_MEAN)) / by_sex(people.female, BSA_SD)
    age = (people.age - 62) / 8
    volume = EDV_ON_BSA * body + EDV_ON_AGE * age + _rest(EDV_ON_BSA, EDV_ON_AGE) * score[:, 0]
    # Mass shares with volume the part that body size does not explain, so that body size is not counted twice.
    mass = MASS_ON_BSA * body + MASS_ON_AGE * age + MASS_ON_EDV * score[:, 0]
    return body, volume, mass + _rest(MASS_ON_BSA, MASS_ON_AGE, MASS_ON_EDV) * score[:, 1]


def filling_volume(people: People, standard: torch.Tensor, disease: WallDisease) -> torch.Tensor:
    """Left ventricular end-diastolic volume in ml at the standard score `standard`."""
    volume = _drawn(people, LV_EDV, standard) * torch.where(people.dm, DIABETES_EDV, 1.0)
    return volume * (1 + SCAR_DILATATION * disease.burden)


def muscle_mass(people: People, standard: torch.Tensor) -> torch.Tensor:
    """Left ventricular mass in g, before scars thin the wall, at the standard score `standard`."""
    load = HYPERTENSION_MASS * (1 + PRESSURE_MASS * (people.systolic - 130).clamp(0, 50))
    mass = _drawn(people, LV_MASS, standard) * torch.where(people.hypertension, load, 1.0)
    return mass * torch.where(people.dm, DIABETES_MASS, 1.0)


def ejection_fraction(people: People, score: torch.Tensor) -> torch.Tensor:
    """Ejection fraction of the healthy wall, 0-1."""
    fraction = by_sex(people.female, LV_EF[0]) + by_sex(people.female, LV_EF[1]) * score
    return torch.where(people.in_af, IN_AF_EF, 1.0) * fraction.clamp(0.42, 0.76)


def heart_rate(people: People, fraction: torch.Tensor, score: torch.Tensor) -> torch.Tensor:
    """Rate at rest, /min; a weak heart (ejection `fraction`) beats faster."""
    rate = by_sex(people.female, HEART_RATE[0]) + HEART_RATE[1] * score
    rate = rate + DIABETES_RATE * people.dm + AF_RATE * people.in_af + FAILURE_RATE * (0.55 - fraction).clamp(min=0)
    return rate.clamp(40, 125)


def conduction_velocity(people: People, edv: torch.Tensor, score: torch.Tensor) -> torch.Tensor:
    """Velocity factor about 1, lower in a dilated heart of `edv` ml."""
    dilated = (edv / by_sex(people.female, LV_EDV[0]) - 1.3).clamp(min=0)
    return (1 + CONDUCTION_SD * score.clamp(-2.5, 2.5)) * (1 - CONDUCTION_DILATED * dilated)


def relaxed_shape(
    seed: int, people: People, edv: torch.Tensor, mass: torch.Tensor, score: torch.Tensor, disease: WallDisease
) -> Shape:
    """End-diastolic geometry with cavity `edv` ml and, before thinning, `mass` g; still without motion."""
    ratio = 2 * (LENGTH_SHAPE[0] + LENGTH_SHAPE[1] * score)
    radius = (edv * 1e-6 / (torch.pi * PROFILE_AREA * ratio)) ** (1 / 3)
    length = ratio * radius
    pattern = torch.tensor(THICKNESS, dtype=edv.dtype, device=edv.device)
    pattern = pattern * (1 + THICKNESS_SD * normal(seed, people.subject, "wall pattern", 16).clamp(-3, 3))
    scale = torch.full_like(edv, 6e-3)
    for _ in range(5):  # Newton: the volume is nearly linear in thickness, with a known slope at the origin
        volume = wall_volume(length, radius, scale[:, None] * pattern)
        slope = (wall_volume(length, radius, scale[:, None] * pattern * 1.001) - volume) / (0.001 * scale)
        scale = scale - (volume - mass * 1e-6 / DENSITY) / slope
    thickness = scale[:, None] * pattern * disease.thinning
    still = torch.zeros_like(edv)
    return Shape(
        length, radius, thickness, APEX_SHARE * thickness.mean(1), torch.zeros_like(thickness), still, still, still
    )


def contracting_shape(
    seed: int, people: People, shape: Shape, fraction: torch.Tensor, score: torch.Tensor, disease: WallDisease
) -> Shape:
    """Add motion: contraction that gives ejection `fraction` in a healthy wall, lost where it is not viable."""
    vigour = 0.5 * score[:, 0] + _rest(0.5) * score[:, 1]
    shortening = by_sex(people.female, SHORTENING[0]) - SHORTENING[1] * vigour
    shortening = shortening * torch.where(people.hypertension, HYPERTENSION_SHORTENING, 1.0)
    shortening = (shortening * torch.where(people.dm, DIABETES_STRAIN, 1.0)).clamp(-0.25, -0.09)
    pattern = torch.tensor(CONTRACTION, dtype=fraction.dtype, device=fraction.device)
    pattern = pattern * (1 + CONTRACTION_SD * normal(seed, people.subject, "contraction pattern", 16).clamp(-3, 3))
    edv = cavity_volumes(shape, 0.0)[0]

    def ejection(strength: torch.Tensor) -> torch.Tensor:
        moving = replace(shape, contraction=-strength[:, None] * pattern, shortening=shortening)
        return 1 - cavity_volumes(moving, 1.0, planes=12, angles=18)[0] / edv

    before, strength = torch.full_like(fraction, 0.16), torch.full_like(fraction, 0.22)
    result = ejection(before)
    for _ in range(4):  # secant method on a smooth, nearly straight curve
        now = ejection(strength)
        step = (fraction - now) * (strength - before) / torch.where(now == result, 1.0, now - result)
        before, result, strength = strength, now, (strength + step.clamp(-0.1, 0.1)).clamp(0.05, 0.38)
    moving = 1 - SCAR_STILLNESS * (1 - disease.viability)
    return replace(shape, contraction=-strength[:, None] * pattern * moving, shortening=shortening * moving.mean(1))


def right_ventricle(people: People, stroke: torch.Tensor, score: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """End-diastolic and end-systolic volume in ml: both ventricles pump the same blood."""
    usual = by_sex(people.female, LV_EDV[0]) * by_sex(people.female, LV_EF[0])
    relative = ((stroke / usual - 1) / 0.2).clamp(-3, 3)
    standard = RV_EF_ON_SV * relative + _rest(RV_EF_ON_SV) * score[:, 0]
    fraction = (by_sex(people.female, RV_EF[0]) + by_sex(people.female, RV_EF[1]) * standard).clamp(0.30, 0.78)
    pumped = stroke * (RV_STROKE_RATIO[0] + RV_STROKE_RATIO[1] * score[:, 1])
    return pumped / fraction, pumped / fraction - pumped


def atrial_volumes(seed: int, people: People, size: torch.Tensor, body: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Greatest and least volumes in ml of left, then right atrium."""
    draw = normal(seed, people.subject, "atria", 4).clamp(-3, 3)
    common = ATRIUM_ON_EDV * size + ATRIUM_ON_BSA * body
    rest = _rest(ATRIUM_ON_EDV, ATRIUM_ON_BSA)
    left = _drawn(people, LA_MAX, common + rest * draw[:, 0]) * torch.where(people.af, AF_LA, 1.0)
    right = _drawn(people, RA_MAX, common + rest * (0.4 * draw[:, 0] + _rest(0.4) * draw[:, 1]))
    right = right * torch.where(people.af, AF_RA, 1.0)
    weak = torch.where(people.in_af, IN_AF_ATRIAL_EF, torch.where(people.af, PAROXYSMAL_ATRIAL_EF, 1.0))
    left_fraction = (weak * (LA_EF[0] + LA_EF[1] * draw[:, 2])).clamp(0.1, 0.8)
    right_fraction = (weak * (RA_EF[0] + RA_EF[1] * draw[:, 3])).clamp(0.1, 0.75)
    return left, left * (1 - left_fraction), right, right * (1 - right_fraction)


def activation_delay(seed: int, people: People, disease: WallDisease) -> torch.Tensor:
    """Lateness (n, 16) in ms: scars conduct slowly; left bundle branch block reaches the lateral wall last."""
    angle = torch.tensor(SEGMENT_ANGLE, dtype=torch.float64, device=people.age.device)
    block = LBBB_DELAY + LBBB_LATERAL * torch.cos(angle)
    delay = SCAR_DELAY * disease.transmurality + torch.where(people.lbbb[:, None], block, 0.0)
    return delay + DELAY_SD * normal(seed, people.subject, "activation", 16).clamp(-3, 3)


def _rest(*weights: float) -> float:
    """Weight of the independent part that keeps unit variance."""
    return (1 - sum(w * w for w in weights)) ** 0.5


def _drawn(people: People, reference: tuple, score: torch.Tensor) -> torch.Tensor:
    return log_normal(by_sex(people.female, reference[0]), by_sex(people.female, reference[1]), score)
