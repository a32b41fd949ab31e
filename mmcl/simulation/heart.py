"""One heart per subject: size, wall, function, disease and pose, from which ECG, CMR and phenotypes all follow.

Sizes are drawn so that healthy men and women match the reference ranges of Petersen et al. (2017, JCMR 19:18), then
diseases act on the heart. Volumes and strains stored here are measured from the resulting geometry.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from mmcl.simulation.anatomy import (
    APEX_SHARE,
    PROFILE_AREA,
    RING,
    SEGMENT_ANGLE,
    Shape,
    cavity_volumes,
    rv_depth,
    wall_volume,
)
from mmcl.simulation.infarct import WallDisease, diseased_wall
from mmcl.simulation.measurement import longitudinal_strain, segment_strain
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
EDV_ON_BSA, EDV_ON_AGE = 0.36, -0.12
MASS_ON_BSA, MASS_ON_AGE, MASS_ON_EDV = 0.32, -0.04, 0.38
BSA_MEAN, BSA_SD = (1.97, 1.73), (0.15, 0.16)  # m2, healthy subjects of the population model
RV_EF_ON_SV = 0.40
ATRIUM_ON_EDV, ATRIUM_ON_BSA = 0.40, 0.15

HEART_RATE = (61.0, 63.0), 9.5  # /min: mean by sex and SD, UK Biobank at rest, rounded
SHORTENING = (-0.170, -0.178), 0.016  # longitudinal strain, mean by sex and SD; UK Biobank, Bai 2020, rounded
LENGTH_SHAPE = 1.72, 0.07  # cavity length over equatorial diameter, mean and SD; effective
CONDUCTION_SD, CONDUCTION_DILATED = 0.12, 0.25  # spread of velocity; slowing per unit of relative dilatation over 1.3; assumed

# Relative thickness and contraction of segments 1-16: septum thick, lateral wall and apex contract most (Bai 2020, effective).
THICKNESS = (1.00, 1.14, 1.14, 1.02, 0.95, 0.93, 0.96, 1.06, 1.08, 1.00, 0.92, 0.90, 0.95, 1.00, 0.95, 0.91)
CONTRACTION = (0.98, 0.88, 0.86, 0.98, 1.05, 1.05, 1.00, 0.92, 0.92, 1.01, 1.08, 1.08, 1.02, 0.97, 1.03, 1.06)
THICKNESS_SD, CONTRACTION_SD = 0.05, 0.07  # individual variation of a segment, effective

# Effects of disease on the heart (directions from the clinical literature, sizes effective).
HYPERTENSION_MASS, PRESSURE_MASS, HYPERTENSION_SHORTENING = 1.06, 0.004, 0.96  # factor; per mmHg over 130; factor
DIABETES_MASS, DIABETES_EDV, DIABETES_STRAIN, DIABETES_RATE = 1.04, 0.95, 0.97, 4.0
SCAR_DILATATION, SCAR_STILLNESS = 0.9, 1.0  # relative EDV per scarred share of the wall; loss of contraction per lost viability
AF_LA, AF_RA, AF_RATE, IN_AF_ATRIAL_EF, PAROXYSMAL_ATRIAL_EF = 1.40, 1.30, 16.0, 0.50, 0.85
IN_AF_EF = 0.93  # ejection fraction factor without atrial contribution
SCAR_DELAY, LBBB_DELAY, LBBB_LATERAL, DELAY_SD = 15.0, 40.0, 35.0, 2.0  # ms: full scar; septum; further to the lateral wall

# Pose in the torso (x left, y up, z anterior). Means: calibrated prototype; spreads assumed, 1.4 times the expected.
CENTRE, CENTRE_SD = (0.045, -0.040, 0.050), (0.012, 0.015, 0.010)  # m, at a body surface of 1.85 m2
AXIS = (0.605, -0.369, 0.796)  # base to apex, normalised below
AZIMUTH_SD, ELEVATION_SD, ROLL_MEAN, ROLL_SD = 0.22, 0.22, 0.115, 0.20  # rad
HORIZONTAL_PER_HABITUS, RAISED_PER_HABITUS = 0.09, 0.006  # rad, m per unit of habitus: a stocky body lays the heart flat


@dataclass(frozen=True)
class Hearts:
    """Hearts of a batch; tensors (n,) float64 unless said.

    `heart_rate` /min; `conduction` velocity factor about 1; volumes `lv_edv` .. `ra_min` ml; `lv_mass` g;
    `wall_thickness` (n, 16) mm at end-diastole; `ecc`, `err` (n, 16), `ell` (n, 6) signed fractions at end-systole;
    `transmurality` (n, 16) depth of scar from the endocardium, `viability` (n, 16), both 0-1; `segment_delay` (n, 16) ms
    by which endocardial activation is late; `centre` (n, 3) m, middle of the cavity's long axis in torso coordinates
    (x left, y up, z anterior); `axis` (n, 3) unit vector base to apex; `roll` rad about it; `shape` the geometry.
    """

    people: People
    shape: Shape
    heart_rate: torch.Tensor
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
    wall_thickness: torch.Tensor
    ecc: torch.Tensor
    err: torch.Tensor
    ell: torch.Tensor
    transmurality: torch.Tensor
    viability: torch.Tensor
    segment_delay: torch.Tensor
    centre: torch.Tensor
    axis: torch.Tensor
    roll: torch.Tensor


def build_hearts(seed: int, people: People) -> Hearts:
    """The hearts of `people` in cohort `seed`, float64 on their device."""
    disease = diseased_wall(seed, people)
    score = normal(seed, people.subject, "heart size", 10).clamp(-3, 3)
    body = (people.bsa - by_sex(people.female, BSA_MEAN)) / by_sex(people.female, BSA_SD)
    age = (people.age - 62) / 8

    size = EDV_ON_BSA * body + EDV_ON_AGE * age + _rest(EDV_ON_BSA, EDV_ON_AGE) * score[:, 0]
    edv = _drawn(people, LV_EDV, size) * torch.where(people.dm, DIABETES_EDV, 1.0)
    edv = edv * (1 + SCAR_DILATATION * disease.burden)
    shape = _relaxed_shape(seed, people, edv, _mass(people, body, age, score), score[:, 2], disease)
    fraction = by_sex(people.female, LV_EF[0]) + by_sex(people.female, LV_EF[1]) * score[:, 3]
    fraction = torch.where(people.in_af, IN_AF_EF, 1.0) * fraction.clamp(0.42, 0.76)
    shape = _contracting_shape(seed, people, shape, fraction, score[:, 3:5], disease)

    esv = cavity_volumes(shape, 1.0)[0] * 1e6
    stroke = edv - esv
    rv_edv, rv_esv = _right_ventricle(people, stroke, score[:, 5:7])
    shape = replace(shape, rv_relaxed=rv_depth(shape, 0.0, rv_edv * 1e-6))
    shape = replace(shape, rv_contracted=rv_depth(shape, 1.0, rv_esv * 1e-6))
    atria = _atria(seed, people, size, body)
    wall, ecc, err = segment_strain(shape)
    centre, axis, roll = _pose(seed, people)

    rate = by_sex(people.female, HEART_RATE[0]) + HEART_RATE[1] * score[:, 7]
    rate = rate + DIABETES_RATE * people.dm + AF_RATE * people.in_af + 40 * (0.55 - stroke / edv).clamp(min=0)
    dilated = (edv / by_sex(people.female, LV_EDV[0]) - 1.3).clamp(min=0)
    conduction = (1 + CONDUCTION_SD * score[:, 8].clamp(-2.5, 2.5)) * (1 - CONDUCTION_DILATED * dilated)
    return Hearts(
        people=people,
        shape=shape,
        heart_rate=rate.clamp(40, 125),
        conduction=conduction,
        lv_edv=edv,
        lv_esv=esv,
        lv_mass=wall_volume(shape.length, shape.radius, shape.thickness) * 1e6 * DENSITY,
        rv_edv=rv_edv,
        rv_esv=rv_esv,
        la_max=atria[0],
        la_min=atria[1],
        ra_max=atria[2],
        ra_min=atria[3],
        wall_thickness=wall * 1e3,
        ecc=ecc,
        err=err,
        ell=longitudinal_strain(shape),
        transmurality=disease.transmurality,
        viability=disease.viability,
        segment_delay=_delay(seed, people, disease),
        centre=centre,
        axis=axis,
        roll=roll,
    )


def _rest(*weights: float) -> float:
    """Weight of the independent part that keeps unit variance."""
    return (1 - sum(w * w for w in weights)) ** 0.5


def _drawn(people: People, reference: tuple, score: torch.Tensor) -> torch.Tensor:
    return log_normal(by_sex(people.female, reference[0]), by_sex(people.female, reference[1]), score)


def _mass(people: People, body: torch.Tensor, age: torch.Tensor, score: torch.Tensor) -> torch.Tensor:
    """Left ventricular mass in g before scars thin the wall."""
    # The part shared with volume is its body-independent score, so that body size is not counted twice.
    standard = MASS_ON_BSA * body + MASS_ON_AGE * age + MASS_ON_EDV * score[:, 0]
    mass = _drawn(people, LV_MASS, standard + _rest(MASS_ON_BSA, MASS_ON_AGE, MASS_ON_EDV) * score[:, 1])
    load = HYPERTENSION_MASS * (1 + PRESSURE_MASS * (people.systolic - 130).clamp(0, 50))
    return mass * torch.where(people.hypertension, load, 1.0) * torch.where(people.dm, DIABETES_MASS, 1.0)


def _relaxed_shape(
    seed: int, people: People, edv: torch.Tensor, mass: torch.Tensor, score: torch.Tensor, disease: WallDisease
) -> Shape:
    """End-diastolic geometry with cavity `edv` ml and, before thinning, `mass` g; still without motion."""
    ratio = 2 * (LENGTH_SHAPE[0] + LENGTH_SHAPE[1] * score)
    radius = (edv * 1e-6 / (torch.pi * PROFILE_AREA * ratio)) ** (1 / 3)
    length = ratio * radius
    pattern = torch.tensor(THICKNESS, dtype=edv.dtype, device=edv.device)
    pattern = pattern * (1 + THICKNESS_SD * normal(seed, people.subject, "wall pattern", 16).clamp(-3, 3))
    scale = torch.full_like(edv, 6e-3)
    for _ in range(8):  # secant-free Newton: the volume is nearly linear in thickness, with a known slope at the origin
        volume = wall_volume(length, radius, scale[:, None] * pattern)
        slope = (wall_volume(length, radius, scale[:, None] * pattern * 1.001) - volume) / (0.001 * scale)
        scale = scale - (volume - mass * 1e-6 / DENSITY) / slope
    thickness = scale[:, None] * pattern * disease.thinning
    still = torch.zeros_like(edv)
    return Shape(length, radius, thickness, APEX_SHARE * thickness.mean(1), torch.zeros_like(thickness), still, still, still)


def _contracting_shape(
    seed: int, people: People, shape: Shape, fraction: torch.Tensor, score: torch.Tensor, disease: WallDisease
) -> Shape:
    """Add motion: contraction that gives ejection `fraction` in a healthy wall, then lost where the wall is not viable."""
    vigour = 0.5 * score[:, 0] + _rest(0.5) * score[:, 1]
    shortening = by_sex(people.female, SHORTENING[0]) - SHORTENING[1] * vigour
    shortening = shortening * torch.where(people.hypertension, HYPERTENSION_SHORTENING, 1.0)
    shortening = (shortening * torch.where(people.dm, DIABETES_STRAIN, 1.0)).clamp(-0.25, -0.09)
    pattern = torch.tensor(CONTRACTION, dtype=fraction.dtype, device=fraction.device)
    pattern = pattern * (1 + CONTRACTION_SD * normal(seed, people.subject, "contraction pattern", 16).clamp(-3, 3))
    edv = cavity_volumes(shape, 0.0)[0]

    def ejection(strength: torch.Tensor) -> torch.Tensor:
        moving = replace(shape, contraction=-strength[:, None] * pattern, shortening=shortening)
        return 1 - cavity_volumes(moving, 1.0, planes=24, angles=24)[0] / edv

    before, strength = torch.full_like(fraction, 0.16), torch.full_like(fraction, 0.22)
    result = ejection(before)
    for _ in range(5):  # secant method on a smooth, nearly straight curve
        now = ejection(strength)
        step = (fraction - now) * (strength - before) / torch.where(now == result, 1.0, now - result)
        before, result, strength = strength, now, (strength + step.clamp(-0.1, 0.1)).clamp(0.05, 0.38)
    moving = 1 - SCAR_STILLNESS * (1 - disease.viability)
    return replace(shape, contraction=-strength[:, None] * pattern * moving, shortening=shortening * moving.mean(1))


def _right_ventricle(people: People, stroke: torch.Tensor, score: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """End-diastolic and end-systolic volume in ml: both ventricles pump the same blood."""
    usual = by_sex(people.female, LV_EDV[0]) * by_sex(people.female, LV_EF[0])
    relative = ((stroke / usual - 1) / 0.2).clamp(-3, 3)
    standard = RV_EF_ON_SV * relative + _rest(RV_EF_ON_SV) * score[:, 0]
    fraction = (by_sex(people.female, RV_EF[0]) + by_sex(people.female, RV_EF[1]) * standard).clamp(0.30, 0.78)
    pumped = stroke * (RV_STROKE_RATIO[0] + RV_STROKE_RATIO[1] * score[:, 1])
    return pumped / fraction, pumped / fraction - pumped


def _atria(seed: int, people: People, size: torch.Tensor, body: torch.Tensor) -> tuple[torch.Tensor, ...]:
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


def _delay(seed: int, people: People, disease: WallDisease) -> torch.Tensor:
    """Lateness (n, 16) in ms: scars conduct slowly; left bundle branch block runs from the septum to the lateral wall."""
    angle = torch.tensor(SEGMENT_ANGLE, dtype=torch.float64, device=people.age.device)
    block = LBBB_DELAY + LBBB_LATERAL * torch.cos(angle)
    delay = SCAR_DELAY * disease.transmurality + torch.where(people.lbbb[:, None], block, 0.0)
    return delay + DELAY_SD * normal(seed, people.subject, "activation", len(RING)).clamp(-3, 3)


def _pose(seed: int, people: People) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Centre (n, 3), axis (n, 3) and roll (n,) in the torso; a short, heavy body has a higher, more horizontal heart."""
    draw = normal(seed, people.subject, "pose", 6).clamp(-2.5, 2.5)
    tallness = (people.height - by_sex(people.female, (1.765, 1.630))) / 0.065
    habitus = (((people.bmi - 26.5) / 4.3 - 0.5 * tallness) / 1.1).clamp(-2.5, 2.5)
    mean = torch.tensor(CENTRE, dtype=torch.float64, device=draw.device)
    spread = torch.tensor(CENTRE_SD, dtype=torch.float64, device=draw.device)
    centre = (mean + spread * draw[:, :3]) * (people.bsa / 1.85).sqrt()[:, None]
    centre[:, 1] += RAISED_PER_HABITUS * habitus
    x, y, z = AXIS
    azimuth = torch.atan2(torch.tensor(z), torch.tensor(x)).item() + AZIMUTH_SD * draw[:, 3]
    norm = (x * x + y * y + z * z) ** 0.5
    elevation = torch.asin(torch.tensor(y / norm)).item() + ELEVATION_SD * draw[:, 4] + HORIZONTAL_PER_HABITUS * habitus
    flat = torch.cos(elevation)
    axis = torch.stack((flat * torch.cos(azimuth), torch.sin(elevation), flat * torch.sin(azimuth)), 1)
    return centre, axis, ROLL_MEAN + ROLL_SD * draw[:, 5]
