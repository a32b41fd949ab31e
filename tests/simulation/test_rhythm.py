"""RR intervals in sinus rhythm and in atrial fibrillation."""

import torch

from mmcl.config import RECORD_SECONDS
from mmcl.simulation.parameters import override, parameters
from mmcl.simulation.rhythm import HISTORY, sample_rhythm

SUBJECT = torch.arange(300)
AGE = torch.full((300,), 62.0, dtype=torch.float64)


NO, ALWAYS = (-99.0, 0.0), (99.0, 0.0)


def _rhythm(rate: float, in_af: bool, atrial: tuple = NO, ventricular: tuple = NO):
    rates = torch.full((300,), rate, dtype=torch.float64)
    with override({"rhythm.atrial_premature": atrial, "rhythm.ventricular_premature": ventricular}):
        return sample_rhythm(5, SUBJECT, rates, AGE, torch.full((300,), in_af))


def test_beats_cover_the_recording_at_every_rate():
    for rate, in_af in ((40, False), (65, False), (125, False), (125, True), (45, True)):
        onset = _rhythm(rate, in_af).onset
        assert (onset[:, 0] < 0.2 - HISTORY + 60 / rate * 2.5).all()
        assert (onset[:, -1] > RECORD_SECONDS).all()


def test_mean_interval_is_that_of_the_heart_rate():
    for in_af in (False, True):
        assert abs(_rhythm(70, in_af).interval[:, :14].mean() - 60 / 70) < 0.01


def test_fibrillation_is_irregular_and_sinus_rhythm_is_not():
    sinus, fibrillating = (_rhythm(70, in_af).interval[:, :14] for in_af in (False, True))
    variation = [(x.std(dim=1) / x.mean(dim=1)) for x in (sinus, fibrillating)]
    assert 0.01 < variation[0].median() < 0.06
    assert variation[1].median() > 0.15
    # Neighbouring intervals are independent in fibrillation.
    centred = fibrillating - fibrillating.mean(dim=1, keepdim=True)
    assert abs((centred[:, 1:] * centred[:, :-1]).mean() / centred.square().mean()) < 0.15


def test_premature_beats_come_early_and_only_a_ventricular_one_is_made_up_for():
    usual = _rhythm(70, False)
    for kind, rhythm in ((1, _rhythm(70, False, atrial=ALWAYS)), (2, _rhythm(70, False, ventricular=ALWAYS))):
        assert (rhythm.ectopic == kind).any(dim=1).all() and ((rhythm.ectopic == 0) | (rhythm.ectopic == kind)).all()
        subject, beat = (rhythm.ectopic == kind).nonzero().unbind(1)
        subject, beat = subject[beat < 20], beat[beat < 20]
        low, high = parameters("rhythm").ectopic_coupling
        early = rhythm.interval[subject, beat] / usual.interval[subject, beat]
        assert early.min() > 0.9 * low and early.max() < 1.1 * high
        both = rhythm.interval[subject, beat] + rhythm.interval[subject, beat + 1]
        two = both / usual.interval[subject, beat]
        assert (abs(two.mean() - 2) < 0.05) == (kind == 2)
        assert not ((rhythm.ectopic[:, 1:] > 0) & (rhythm.ectopic[:, :-1] > 0)).any()


def test_fibrillating_atria_make_no_premature_beats_of_their_own():
    assert not (_rhythm(70, True, atrial=ALWAYS).ectopic == 1).any()


def test_share_of_recordings_with_premature_beats_grows_with_age():
    subject = torch.arange(20000)
    rate, well = torch.full((20000,), 65.0, dtype=torch.float64), torch.zeros(20000, dtype=torch.bool)
    shares = []
    for age in (45.0, 60.0, 75.0):
        rhythm = sample_rhythm(5, subject, rate, torch.full_like(rate, age), well)
        inside = (rhythm.onset > 0) & (rhythm.onset < RECORD_SECONDS)
        shares.append([((rhythm.ectopic == kind) & inside).any(dim=1).double().mean() for kind in (1, 2)])
    atrial, ventricular = torch.tensor(shares).T
    assert (atrial.diff() > 0).all() and (ventricular.diff() > 0).all()
    # Third National Health and Nutrition Examination Survey: 1.2 and 1.5 % at 60 +- 14 years.
    assert 0.006 < atrial[1] < 0.02 and 0.008 < ventricular[1] < 0.022
