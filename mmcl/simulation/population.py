"""People of the simulated cohort: body, blood pressure, diseases and bundle branch block.

Diseases follow a liability model: log odds are a sum of risk factors, and a subject is ill when a fixed uniform number
falls below the resulting probability. Multiplying the odds therefore only adds patients and never exchanges them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mmcl.simulation.intervention import Change, changed, check_names
from mmcl.simulation.parameters import parameters
from mmcl.simulation.random import normal, power, uniform

P = parameters("population")

FACTORS = {
    "cad": ("age", "male", "hypertension", "dm"),
    "unrecognised": ("age", "male", "hypertension", "bmi"),
    "af": ("age", "male", "hypertension", "cad", "bmi"),
    "dm": ("age", "male", "hypertension", "bmi"),
    "lbbb": ("age", "cad", "hypertension"),
    "rbbb": ("age", "male", "cad"),
}
"""What raises the risk of each condition; the log odds are the section `<condition>_risk` of the parameters."""

RISK = {condition: parameters(f"{condition}_risk") for condition in FACTORS}


@dataclass(frozen=True)
class People:
    """Subjects of a batch; every field is a tensor (n,) unless said.

    `subject` indices; `female`; `age` years; `height` m; `weight` kg; `bsa` m2 (Du Bois); `systolic`, `diastolic` mmHg;
    `hypertension`, `cad`, `af`, `dm`, `lbbb`, `rbbb` truth; `unrecognised` CAD known only by an old infarct that nobody
    noticed; `in_af` fibrillating at the recording; `culprit` artery of CAD (-1 none, 0 LAD, 1 RCA, 2 LCX); `silent`
    (n, 3) disease that no hospital record shows, in the order of DISEASES.
    """

    subject: torch.Tensor
    female: torch.Tensor
    age: torch.Tensor
    height: torch.Tensor
    weight: torch.Tensor
    bsa: torch.Tensor
    systolic: torch.Tensor
    diastolic: torch.Tensor
    hypertension: torch.Tensor
    cad: torch.Tensor
    unrecognised: torch.Tensor
    af: torch.Tensor
    dm: torch.Tensor
    in_af: torch.Tensor
    lbbb: torch.Tensor
    rbbb: torch.Tensor
    culprit: torch.Tensor
    silent: torch.Tensor

    @property
    def bmi(self) -> torch.Tensor:
        """Body mass index, kg/m2."""
        return self.weight / self.height**2

    @property
    def healthy(self) -> torch.Tensor:
        """Free of every disease and block, and of obesity, as the reference group of Petersen (2017)."""
        ill = self.hypertension | self.cad | self.af | self.dm | self.lbbb | self.rbbb
        return ~ill & (self.bmi < 30)


def by_sex(female: torch.Tensor, pair: tuple[float, float]) -> torch.Tensor:
    """The constant of each subject's sex, float64 (n,), from a pair (men, women)."""
    return torch.where(female, pair[1], pair[0]).double()


def log_normal(mean: torch.Tensor, sd: torch.Tensor, score: torch.Tensor) -> torch.Tensor:
    """Positive variable with the given mean and standard deviation at a standard normal `score`; shapes broadcast."""
    variance = torch.log1p((sd / mean) ** 2)
    return mean * torch.exp(variance.sqrt() * score - variance / 2)


def sample_people(
    seed: int, subject: torch.Tensor, odds: tuple[float, float, float] = (1.0, 1.0, 1.0), change: Change | None = None
) -> People:
    """Draw the subjects `subject` (int64, (n,)) of cohort `seed`.

    `odds` multiplies the odds of CAD, AF and DM; body and blood pressure do not depend on it. `change` then replaces
    properties named in `intervention.PEOPLE`: what was drawn given the old value stays. ValueError when an odds factor
    is negative or a name unknown.
    """
    check_names(change)
    if min(odds) < 0:
        raise ValueError(f"odds {odds}: expected three factors of at least 0 for CAD, AF and DM")
    female = uniform(seed, subject, "sex")[:, 0] < P.female_share
    age = _truncated_normal(uniform(seed, subject, "age")[:, 0], P.age_mean, P.age_sd, P.age_range)
    body = normal(seed, subject, "body", 2).clamp(-3.2, 3.2)
    height = (
        by_sex(female, P.height_mean)
        + P.height_per_year * (age - P.age_mean)
        + by_sex(female, P.height_sd) * body[:, 0]
    )
    bmi = log_normal(by_sex(female, P.bmi_mean), by_sex(female, P.bmi_sd), body[:, 1])
    weight = bmi * height**2

    pressure = normal(seed, subject, "blood pressure", 3)
    usual = by_sex(female, P.systolic_mean) + P.systolic_per_year * (age - 60) + P.systolic_per_bmi * (bmi - 26)
    usual = usual + P.systolic_sd * pressure[:, 0]
    hypertension = usual > P.hypertension_threshold
    systolic = (usual - P.treatment_effect * hypertension + P.systolic_noise * pressure[:, 1]).clamp(85, 220)
    diastolic = (P.diastolic[0] + P.diastolic[1] * systolic + P.diastolic[2] * pressure[:, 2]).clamp(45, 125)

    factors = {"age": (age - 60) / 10, "male": ~female, "hypertension": hypertension, "bmi": (bmi - 26) / 5}
    chance = uniform(seed, subject, "disease", 5)
    dm = chance[:, 2] < _risk("dm", factors, odds[2])
    factors["dm"] = dm
    known = chance[:, 0] < _risk("cad", factors, odds[0])
    unnoticed = uniform(seed, subject, "unrecognised infarct")[:, 0] < _risk("unrecognised", factors, odds[0])
    cad, unrecognised = known | unnoticed, unnoticed & ~known
    factors["cad"] = cad
    af = chance[:, 1] < _risk("af", factors, odds[1])
    lbbb = chance[:, 3] < _risk("lbbb", factors)
    rbbb = (chance[:, 4] < _risk("rbbb", factors)) & ~lbbb

    artery = uniform(seed, subject, "culprit")[:, 0]
    culprit = (artery > P.culprit_share[0]).long() + (artery > P.culprit_share[0] + P.culprit_share[1]).long()
    hidden = uniform(seed, subject, "silent", 3) < P.silent_share
    fibrillating = uniform(seed, subject, "rhythm at recording")[:, 0] < P.in_af_share

    # What belongs to a disease follows it; nothing else does.
    cad, af, dm = changed(change, "cad", cad), changed(change, "af", af), changed(change, "dm", dm)
    in_af = changed(change, "in_af", af & fibrillating)
    af = af | in_af  # who fibrillates has it
    lbbb = changed(change, "lbbb", lbbb)
    unrecognised = changed(change, "unrecognised", unrecognised) & cad
    hidden[:, 0] |= unrecognised
    height, weight = changed(change, "height", height), changed(change, "weight", weight)
    return People(
        subject=subject,
        female=changed(change, "female", female),
        age=changed(change, "age", age),
        height=height,
        weight=weight,
        bsa=0.007184 * power(weight, 0.425) * power(100 * height, 0.725),
        systolic=changed(change, "systolic", systolic),
        diastolic=changed(change, "diastolic", diastolic),
        hypertension=changed(change, "hypertension", hypertension),
        cad=cad,
        unrecognised=unrecognised,
        af=af,
        dm=dm,
        in_af=in_af,
        lbbb=lbbb,
        rbbb=changed(change, "rbbb", rbbb) & ~lbbb,
        culprit=torch.where(cad, changed(change, "culprit", culprit), -1),
        silent=changed(change, "silent", hidden & torch.stack((cad, af, dm), 1)),
    )


def _risk(condition: str, factors: dict[str, torch.Tensor], odds: float = 1.0) -> torch.Tensor:
    """Probability (n,) of `condition` from its log odds, times `odds`."""
    risk = RISK[condition]
    score = risk.intercept + sum(getattr(risk, name) * factors[name].double() for name in FACTORS[condition])
    ratio = odds * torch.exp(score)
    return ratio / (1 + ratio)


def _truncated_normal(chance: torch.Tensor, mean: float, sd: float, limits: tuple[float, float]) -> torch.Tensor:
    low, high = (torch.special.ndtr(torch.tensor((x - mean) / sd, dtype=torch.float64)).item() for x in limits)
    return mean + sd * torch.special.ndtri(low + (high - low) * chance)
