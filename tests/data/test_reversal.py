"""Limb electrodes exchanged by algebra in simulated hearts, and real recordings as they are."""

import numpy as np
import pytest

import mmcl
from mmcl.config import LEADS
from mmcl.data.readers import read_wfdb
from mmcl.data.reversal import limb_reversal
from mmcl.data.signals import Recording, harmonise


def exchange(signal, pair):
    """`signal` (12, samples) as it would be with two limb electrodes exchanged; chest leads stay."""
    one, two, three, right, left, foot = signal[:6]
    limbs = {
        "none": (one, two, three, right, left, foot),
        "RA-LA": (-one, three, two, left, right, foot),
        "RA-LL": (-three, -two, -one, foot, left, right),
        "LA-LL": (two, one, -three, right, foot, left),
    }
    return np.concatenate([np.stack(limbs[pair]), signal[6:]])


def test_exchanges_obey_einthoven():
    potentials = np.random.default_rng(0).normal(size=(3, 50))

    def leads(right, left, foot):
        centre = (right + left + foot) / 3
        limbs = [left - right, foot - right, foot - left, *(1.5 * (p - centre) for p in (right, left, foot))]
        return np.stack([*limbs, *np.zeros((6, 50))])

    right, left, foot = potentials
    np.testing.assert_allclose(exchange(leads(right, left, foot), "RA-LA"), leads(left, right, foot), atol=1e-12)
    np.testing.assert_allclose(exchange(leads(right, left, foot), "RA-LL"), leads(foot, left, right), atol=1e-12)
    np.testing.assert_allclose(exchange(leads(right, left, foot), "LA-LL"), leads(right, foot, left), atol=1e-12)


@pytest.fixture(scope="module")
def ecgs():
    return mmcl.simulate_cohort(200, seed=3, images=False).ecg.astype(np.float64)


@pytest.mark.parametrize("pair, least", [("RA-LA", 0.90), ("RA-LL", 0.85)])
def test_exchanges_are_found(ecgs, pair, least):
    found = [limb_reversal(exchange(signal, pair), 500) for signal in ecgs]
    assert np.mean([name == pair for name in found]) > least
    assert np.mean([name not in (pair, None) for name in found]) < 0.02


@pytest.mark.parametrize("pair", ["none", "LA-LL"])
def test_few_false_alarms(ecgs, pair):
    assert sum(limb_reversal(exchange(signal, pair), 500) is not None for signal in ecgs) <= 1


def test_it_is_flagged_and_not_corrected(ecgs):
    signal = exchange(ecgs[0], "RA-LA")
    ecg = harmonise(Recording(signal, LEADS, ("mV",) * 12, 500, "s", "f"))
    assert ecg.flags == ("swapped:RA-LA",)
    np.testing.assert_allclose(ecg.signal, signal, atol=1e-6)
    slow = harmonise(Recording(signal[:2, ::2], ("I", "II"), ("mV",) * 2, 250, "s", "f"), needed=("I", "II"))
    assert not any(flag.startswith("swapped") for flag in slow.flags), "no chest lead to judge by"


def test_without_leads_or_beats_nothing_is_told(ecgs):
    signal = exchange(ecgs[0], "RA-LA")
    usable = np.ones(12, dtype=bool)
    usable[11] = False
    assert limb_reversal(signal, 500, usable) == "RA-LA", "V5 judges in place of V6"
    usable[10] = False
    assert limb_reversal(signal, 500, usable) is None
    assert limb_reversal(np.zeros((12, 5000)), 500) is None
    assert limb_reversal(np.random.default_rng(0).normal(size=(12, 5000)), 500) in (None, "RA-LA", "RA-LL")
    assert limb_reversal(signal[:, :700], 500) is None


def test_real_recordings(shared):
    paths = sorted((shared / "real" / "ecg").glob("*.hea"))
    signals = {path.stem: harmonise(read_wfdb(path, path.stem)).signal.astype(np.float64) for path in paths}
    flat = signals.pop("JS20004")  # without V2, V4 and V6
    assert len(signals) == 7 and all(limb_reversal(signal, 500) is None for signal in [*signals.values(), flat])
    found = [limb_reversal(exchange(signal, "RA-LA"), 500) for signal in signals.values()]
    assert found.count("RA-LA") >= 6 and "RA-LL" not in found
    found = [limb_reversal(exchange(signal, "RA-LL"), 500) for signal in signals.values()]
    assert found.count("RA-LL") >= 6
