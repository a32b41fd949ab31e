import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcl.config import LEADS
from mmcl.data.ecg_preprocessing import preprocess_ecg
from mmcl.data.quarantine import Unusable
from mmcl.data.signals import Recording, canonical_lead, harmonise, noise


def beats(rate=500.0, seconds=10.0):
    """Twelve leads (12, samples) in millivolt that obey Einthoven and Goldberger, all below 40 Hz."""
    time = np.arange(round(rate * seconds)) / rate
    beat = np.exp(-0.5 * (((time % 0.8) - 0.3) / 0.02) ** 2) + 0.2 * np.sin(2 * np.pi * 1.25 * time)
    one, two = 0.6 * beat, 1.1 * beat + 0.1 * np.sin(2 * np.pi * 2.5 * time)
    chest = [scale * beat for scale in (-0.5, 0.4, 0.9, 1.4, 1.2, 0.8)]
    return np.stack([one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2, *chest])


def recording(signal=None, names=LEADS, units=None, rate=500.0):
    signal = beats() if signal is None else signal
    return Recording(signal, tuple(names), units or ("mV",) * len(names), rate, "0012", "0012.hea")


def reason(found):
    with pytest.raises(Unusable) as caught:
        harmonise(found)
    assert caught.value.rejection.subject == "0012" and caught.value.rejection.file == "0012.hea"
    return caught.value.rejection.reason


def test_a_good_record_passes_unchanged():
    ecg = harmonise(recording())
    assert ecg.flags == () and ecg.signal.dtype == np.float32
    np.testing.assert_allclose(ecg.signal, beats(), atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    st.permutations(range(12)),
    st.sampled_from([str.lower, str.upper, str, "lead {}".format, "ECG_{}".format]),
    st.lists(st.sampled_from(["mV", "mv", "uV", "µV", "μV", "V", " mV "]), min_size=12, max_size=12),
)
def test_names_orders_and_units(order, spell, units):
    factor = {"m": 1.0, "u": 1e3, "µ": 1e3, "μ": 1e3, "v": 1e-3}
    rows = [beats()[k] * factor[unit.strip()[0].lower()] for k, unit in zip(order, units, strict=True)]
    ecg = harmonise(recording(np.stack(rows), [spell(LEADS[k]) for k in order], tuple(units)))
    np.testing.assert_allclose(ecg.signal, beats(), atol=1e-6)
    assert ecg.flags == ()


@pytest.mark.parametrize("rate", [100, 125, 250, 257, 360, 1000, 499.5])
def test_sampling_rates(rate):
    ecg = harmonise(recording(beats(rate), rate=rate))
    assert ecg.signal.shape == (12, 5000)
    np.testing.assert_allclose(ecg.signal[:, 100:-100], beats()[:, 100:-100], atol=0.02)


def test_signals_beyond_the_twelve_are_ignored():
    signal = np.concatenate([np.full((1, 5000), 9.0), beats(), np.ones((2, 5000))])
    ecg = harmonise(recording(signal, ["resp", *LEADS, "VX", "V7"], ("l",) + ("mV",) * 12 + ("?", "?")))
    np.testing.assert_allclose(ecg.signal, beats(), atol=1e-6)


@pytest.mark.parametrize("kept", [("I", "II"), ("I", "III"), ("II", "III")])
def test_limb_leads_follow_from_two(kept):
    rows = [k for k, name in enumerate(LEADS) if name in kept or name.startswith("V")]
    ecg = harmonise(recording(beats()[rows], [LEADS[k] for k in rows]))
    np.testing.assert_allclose(ecg.signal, beats(), atol=1e-6)
    assert {f"computed:{name}" for name in LEADS[:6] if name not in kept} == set(ecg.flags)


def test_length():
    long = harmonise(recording(beats(seconds=30)))
    np.testing.assert_allclose(long.signal, beats(), atol=1e-6)
    assert long.flags == ("long:30.00s",)
    short = harmonise(recording(beats(seconds=8.2)))
    assert short.flags == ("short:8.20s",) and short.signal.shape == (12, 5000)
    np.testing.assert_array_equal(short.signal[:, 4100:], np.repeat(short.signal[:, 4099:4100], 900, axis=1))
    assert reason(recording(beats(seconds=4.9))) == "too short"


def test_bad_leads_are_flagged_and_kept():
    signal = beats()
    signal[8] = 0.3
    signal[7, 10:40] = np.nan
    signal[10] = np.minimum(signal[10], 0.8)
    signal[11] += np.random.default_rng(0).normal(0, 0.15, 5000)
    ecg = harmonise(recording(signal))
    assert ecg.flags == ("nan:V2", "flat:V3", "clipped:V5", "noisy:V6")
    assert np.isfinite(ecg.signal).all() and not ecg.signal[7, 10:40].any()


def test_missing_chest_lead_is_zero():
    ecg = harmonise(recording(np.delete(beats(), 9, axis=0), [name for name in LEADS if name != "V4"]))
    assert ecg.flags == ("missing:V4",) and not ecg.signal[9].any()


def test_wrong_unit_is_suspected():
    assert any(flag.startswith("amplitude") for flag in harmonise(recording(beats() * 40)).flags)


def test_unusable():
    assert reason(recording(np.zeros((12, 5000)))) == "flat"
    assert reason(recording(beats()[:2], ["V1", "V2"])) == "flat"
    empty = beats()
    empty[:, :800] = np.nan
    assert reason(recording(empty)) == "too many NaN"
    assert reason(recording(beats()[0])) == "wrong shape"
    assert reason(recording(beats()[:11])) == "wrong shape"
    assert reason(recording(names=[*LEADS[:11], "v1"])) == "lead twice"
    assert reason(recording(units=("mmHg",) * 12)) == "unknown unit"
    for rate in (0, -500, float("nan"), None, "fast", 1e6):
        assert reason(recording(rate=rate)) == "unknown sampling rate"


def test_the_reason_crosses_process_borders():
    with pytest.raises(Unusable) as caught:
        harmonise(recording(rate=0))
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.rejection == caught.value.rejection
    assert str(again) == "0012.hea: subject 0012: unknown sampling rate: 0, expected 50 to 20000 Hz"


def test_names():
    assert [canonical_lead(name) for name in ("avr", "MDC_ECG_LEAD_V1", "Lead II", "aVF ", "i")] == [
        "aVR", "V1", "II", "aVF", "I",
    ]  # fmt: skip
    assert [canonical_lead(name) for name in ("lead_v1", "ECG_V1", "MDC_ECG_LEAD_AVR", "AVR ", "EKG aVL", "-aVR")] == [
        "V1", "V1", "aVR", "aVR", "aVL", "aVR",
    ]  # fmt: skip
    assert [canonical_lead(name) for name in ("DI", "D2", "Lead 3", "lead1", "MDC_ECG_LEAD_III", "aVRneg")] == [
        "I", "II", "III", "I", "III", "aVR",
    ]  # fmt: skip
    for name in ("VR", "C1", "V3R", "1", "ECG 1", "II+III", "I-aVR", "aV", "MDC", "lead", None, 7):
        assert canonical_lead(name) is None, name
    assert canonical_lead("V7") is None and canonical_lead("VII") is None and canonical_lead("") is None


def test_noise_is_its_standard_deviation():
    white = np.random.default_rng(0).normal(0, 0.05, 5000)
    assert noise(white) == pytest.approx(0.05, rel=0.1)
    assert noise(beats()[1] + white) == pytest.approx(0.05, rel=0.15)
    assert noise(beats()[1]) < 0.005


@pytest.mark.parametrize(
    "unit, factor",
    [("mV", 1), ("mv", 1), ("MV", 1), ("uV", 1e3), ("µV", 1e3), ("μV", 1e3), ("nV", 1e6), ("V", 1e-3),
     ("millivolts", 1), ("Microvolt", 1e3), ("Volts", 1e-3), (" uV ", 1e3)],
)  # fmt: skip
def test_units(unit, factor):
    np.testing.assert_allclose(harmonise(recording(beats() * factor, units=(unit,) * 12)).signal, beats(), atol=1e-5)


@pytest.mark.parametrize("unit", ["", "mV/LSB", "adu", "counts", "s", "vs", "NU", None, 5, "mmHg"])
def test_units_that_say_nothing(unit):
    assert reason(recording(units=(unit,) * 12)) == "unknown unit"


@pytest.mark.parametrize("name", ["-aVR", "\u2212aVR", "MDC_ECG_LEAD_AVRneg"])
def test_inverted_leads_are_read_with_their_sign(name):
    signal = beats()
    signal[3] *= -1
    ecg = harmonise(recording(signal, [*LEADS[:3], name, *LEADS[4:]]))
    np.testing.assert_allclose(ecg.signal, beats(), atol=1e-6)
    assert reason(recording(np.vstack([beats(), signal[3:4]]), [*LEADS, name])) == "lead twice"


def test_short_records_are_standardised_with_what_continues_them():
    short = preprocess_ecg(harmonise(recording(beats(seconds=5))).signal[None])[0]
    np.testing.assert_allclose(short[:3].std(), 1, atol=1e-3)
    assert 1.2 < short[:3, :2500].std() < 1.5, "the square root of 10 s over 5 s"
    assert np.abs(short[:, 3000:]).max() < 0.5


_NUMBERS = st.one_of(st.floats(allow_nan=True), st.integers(-(2**70), 2**70), st.text(max_size=4), st.none())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([*LEADS, "-aVR", "lead 1", "", "x"]), min_size=1, max_size=13),
    st.sampled_from([0, 1, 3, 900, 2500, 5001]),
    _NUMBERS | st.sampled_from([50.0, 100.0, 499.9, 500, 20_000]),
    st.sampled_from(["mV", "uV", "V", "", "?"]),
    st.sampled_from([0.0, 1.0, -3.0, 1e6, 1e300, np.inf, np.nan]),
    st.integers(0, 9),
)
def test_any_recording_ends_in_an_ecg_or_a_reason(names, samples, rate, unit, size, seed):
    random = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        signal = random.normal(size=(len(names), samples)) * size
    try:
        ecg = harmonise(recording(signal, names, (unit,) * len(names), rate))
    except Unusable as unusable:
        assert unusable.rejection.reason
    else:
        assert ecg.signal.shape == (12, 5000) and np.isfinite(ecg.signal).all()
