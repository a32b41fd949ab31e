"""RR intervals in sinus rhythm and in atrial fibrillation."""

import torch

from mmcl.config import RECORD_SECONDS
from mmcl.simulation.rhythm import HISTORY, sample_rhythm

SUBJECT = torch.arange(300)
AGE = torch.full((300,), 62.0, dtype=torch.float64)


def _rhythm(rate: float, in_af: bool):
    rates = torch.full((300,), rate, dtype=torch.float64)
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
