"""ECG page: true scale, leads in their places, calibration, attribution."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from mmcl.config import LEADS
from mmcl.plotting.electrocardiogram import (
    LEFT,
    MARKED,
    ROW,
    draw_effects,
    draw_electrocardiogram,
    draw_page,
    draw_preprocessing,
    draw_sheet,
    fitting_pulse,
    page_size,
)

SIGNAL = np.sin(np.arange(5000) / 40) * np.linspace(0.2, 1.3, 12)[:, None]


def lines(axes, gid):
    return [line for line in axes.get_lines() if line.get_gid() == gid]


def test_page_has_true_size_on_paper():
    figure = draw_electrocardiogram(SIGNAL, "simulated")
    axes = figure.axes[0]
    box = axes.get_position()
    width, height = figure.get_size_inches() * 25.4
    assert (box.width * width, box.height * height) == pytest.approx(page_size(), rel=1e-6)
    assert (axes.get_xlim()[1], axes.get_ylim()[1]) == page_size() and axes.get_aspect() == 1


def test_traces_are_25_mm_a_second_and_10_mm_a_millivolt():
    axes = Figure().subplots()
    draw_page(axes, SIGNAL)
    (trace,) = lines(axes, "lead V2")
    x, y = trace.get_data()
    assert x[0] == pytest.approx(LEFT + 25 * 5.0) and x[-1] - x[0] == pytest.approx(25 * (2.5 - 1 / 500))
    assert np.ptp(y) == pytest.approx(10 * np.ptp(SIGNAL[LEADS.index("V2"), 2500:3750]))
    strip = max(lines(axes, "lead II"), key=lambda line: line.get_xdata().size)
    assert strip.get_xdata().size == 5000 and np.ptp(strip.get_xdata()) == pytest.approx(250, abs=0.1)
    for pulse in lines(axes, "calibration"):
        assert np.ptp(pulse.get_ydata()) == 10 and pulse.get_xdata()[3] - pulse.get_xdata()[1] == 5


def test_every_lead_is_labelled_in_clinical_order():
    axes = Figure().subplots()
    draw_page(axes, SIGNAL)
    labels = [text.get_text() for text in axes.texts]
    assert labels == ["I", "aVR", "V1", "V4", "II", "aVL", "V2", "V5", "III", "aVF", "V3", "V6", "II"]


def test_other_sampling_rates_and_gaps():
    axes = Figure().subplots()
    signal = SIGNAL[:, ::4].copy()
    signal[3, 400:500] = np.nan
    draw_page(axes, signal, sampling_rate=125)
    (trace,) = lines(axes, "lead aVR")
    assert np.isnan(trace.get_ydata()).sum() == 100 and np.ptp(trace.get_xdata()) == pytest.approx(62.5, abs=0.3)


def test_attribution_shades_the_same_time_and_names_its_scale():
    attribution = np.zeros((12, 20))
    attribution[LEADS.index("V2"), 13] = 1.0  # 6.5 to 7 s
    figure = draw_electrocardiogram(SIGNAL, "simulated", attribution=attribution, attribution_label="Share of gradient")
    shaded = [image for image in figure.axes[0].get_images() if image.get_array().max() > 0]
    (image,) = shaded
    left, right = image.get_extent()[:2]
    places = np.flatnonzero(image.get_array()[0]) / image.get_array().shape[1] * (right - left) + left
    assert (places.min(), places.max()) == pytest.approx((LEFT + 25 * 6.5, LEFT + 25 * 7.0), abs=0.2)
    assert figure.axes[1].get_title("left") == "Share of gradient"


def test_attribution_of_either_sign_has_a_scale_about_zero():
    attribution = np.zeros((12, 20))
    attribution[0, 0], attribution[1, 0] = 1.0, -3.0
    figure = draw_electrocardiogram(SIGNAL, "simulated", attribution=attribution)
    image = figure.axes[0].get_images()[0]
    assert image.get_clim() == (-3, 3)
    clear, against, supporting = (image.cmap(image.norm(value)) for value in (0.0, -3.0, 1.0))
    assert clear[3] < 0.01 and against[2] > against[0] and supporting[0] > supporting[2]


def test_a_short_window_shows_all_leads_at_the_same_time():
    attribution = np.zeros((12, 6))
    attribution[LEADS.index("V2"), 3] = 1.0  # 1.2 to 1.6 s of 2.4 s
    figure = draw_electrocardiogram(
        SIGNAL[:, :1200], "simulated", attribution=attribution, simultaneous=True, unit="SD", note="MMCL."
    )
    (trace,) = lines(figure.axes[0], "lead V2")
    left = LEFT + 25 * 5.0
    assert trace.get_xdata()[0] == pytest.approx(left) and trace.get_xdata().size == 1200
    pulse = fitting_pulse(SIGNAL[:, :1200])
    assert np.ptp(trace.get_ydata()) == pytest.approx(10 / pulse * np.ptp(SIGNAL[LEADS.index("V2"), :1200]))
    (image,) = (image for image in figure.axes[0].get_images() if image.get_array().max() > 0)
    places = np.flatnonzero(image.get_array()[0]) / image.get_array().shape[1]
    start, stop = image.get_extent()[:2]
    found = start + (stop - start) * places
    assert (found.min(), found.max()) == pytest.approx((left + 25 * 1.2, left + 25 * 1.6), abs=0.2)
    told = figure.texts[0].get_text().replace("\n", " ")
    assert f"10 mm for {pulse} SD: a small square is 0.04 s x {pulse / 10} SD" in told
    assert "All leads at the same time. MMCL." in told


def test_standardised_traces_keep_to_their_rows():
    signal = 7 * SIGNAL[:, :1200]
    axes = draw_electrocardiogram(signal, "simulated", simultaneous=True, unit="SD").axes[0]
    for lead in LEADS:
        for trace in lines(axes, f"lead {lead}"):
            middle = np.median(trace.get_ydata())
            assert np.abs(trace.get_ydata() - middle).max() <= ROW / 2
    pulse = fitting_pulse(signal)
    assert fitting_pulse(signal / pulse) == 1 and fitting_pulse(signal / (pulse - 1)) == 2


def test_preprocessing_shows_units_of_both_sides():
    figure = draw_preprocessing(SIGNAL, SIGNAL[:, ::4], "simulated", preprocessed_rate=125, leads=("II", "V5"))
    assert [axes.get_ylabel() for axes in figure.axes] == ["II (mV)", "II (SD)", "V5 (mV)", "V5 (SD)"]
    assert figure.axes[2].get_xlabel() == "Time (s)"


def test_effects_lie_over_the_heart_as_it_is():
    beat = SIGNAL[:, :400]
    beats = {"LV mass": {"as it is": beat, "x 2": 2 * beat}, "Scar": {"as it is": beat, "LAD": -beat, "RCA": 0 * beat}}
    figure = draw_effects(beats, "simulated", leads=("I", "V2"), before=100)
    assert [axes.get_title("left") for axes in figure.axes[:2]] == ["I", "V2"]
    as_it_is, doubled = figure.axes[1].get_lines()
    assert as_it_is.get_ydata() == pytest.approx(beat[LEADS.index("V2")])
    assert doubled.get_ydata() == pytest.approx(2 * as_it_is.get_ydata())
    assert (as_it_is.get_xdata()[0], as_it_is.get_xdata()[50]) == (-100, 0)
    assert [text.get_text() for text in figure.axes[5].get_legend().get_texts()] == ["as it is", "LAD", "RCA"]


def test_sheet_names_recordings_and_marks_the_real_ones():
    figure = draw_sheet([SIGNAL] * 3, ["1", "2 real", "3"], "both", marked=[False, True, False])
    assert [axes.get_title("left") for axes in figure.axes if axes.axison] == ["1", "2 real", "3"]
    titles = [text for axes in figure.axes for text in axes.findobj(Text) if text.get_text() in ("1", "2 real", "3")]
    assert [title.get_color() == MARKED for title in titles] == [False, True, False]


def test_bad_records_are_refused():
    with pytest.raises(ValueError, match=r"expected \(12, time\)"):
        draw_electrocardiogram(SIGNAL[:3], "simulated")
    with pytest.raises(ValueError, match="5.00 s; the page needs 10 s"):
        draw_electrocardiogram(SIGNAL[:, :2500], "simulated")
