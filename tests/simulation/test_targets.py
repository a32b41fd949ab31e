"""The published targets: measured right, met by the population or missed for a stated reason, and told in the card."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from mmcl.config import LEADS
from mmcl.simulation import card, parameters
from mmcl.simulation.electrocardiogram import BEFORE, STEP, Electrocardiogram
from mmcl.simulation.infarct import TERRITORIES
from mmcl.simulation.table import population_table
from mmcl.simulation.targets import TARGETS, Target, evaluate, members, read_targets
from mmcl.simulation.waves import measure_waves, pathological_q, qrs_onset


@pytest.fixture(scope="module")
def found() -> pd.DataFrame:
    return evaluate(card.reference_table())


def test_every_target_is_met_or_explained(found):
    assert card.check_reasons(found) == []


def test_the_card_lists_exactly_what_is_missed(found):
    text = card.CARD.read_text(encoding="utf-8")
    assert card.known_misses(text) == set(found.loc[~found["met"], "name"])
    assert card.NO_REASON not in text
    assert card.stated_parameters(text) == parameters.digest(), "run python -m mmcl.simulation.card"


def test_there_are_enough_targets_of_every_kind():
    assert len(TARGETS) >= 60
    assert {target.measure for target in TARGETS} == {"mean", "sd", "correlation", "share", "auroc", "ratio"}
    assert all(target.source and target.tolerance_from for target in TARGETS)


def test_the_calibration_sees_healthy_hearts_and_right_bundle_branch_block_only():
    assert {target.group.split()[0] for target in TARGETS if target.calibrate} == {"healthy", "rbbb"}


def test_reasons_and_misses_must_agree(found):
    changed = found.head(2).assign(name=["a", "b"], met=[True, False], miss=["because", None])
    assert card.check_reasons(changed) == [
        "b: missed, and targets.yaml gives no reason",
        "a: met; take it off the misses",
    ]
    assert card.check_reasons(changed.assign(met=[False, True], miss=["because", None])) == []


def test_a_row_does_not_depend_on_the_batch():
    subjects = torch.tensor([5, 2, 9])
    together = population_table(3, subjects)
    alone = population_table(3, subjects[1:2])
    pd.testing.assert_frame_equal(together.loc[[2]], alone, atol=1e-5)


def test_the_card_is_written_between_its_markers(found):
    text = card.CARD.read_text(encoding="utf-8")
    once = card.render(text, found)
    assert card.render(once, found) == once
    assert all(f"| {target.name}" in once and target.source in once for target in TARGETS)
    before, after = (part.split("<!-- targets -->")[0].split("<!-- end of version -->")[1] for part in (text, once))
    assert before == after
    with pytest.raises(ValueError, match="no part between"):
        card.render(text.replace("<!-- end of misses -->", ""), found)


def test_large_scars_of_the_front_and_of_the_diaphragm_give_q_waves_and_those_of_the_side_wall_seldom():
    """As in people, where lateral infarcts are those that an ECG misses."""
    shares = []
    for artery, territory in enumerate(TERRITORIES):
        scarred = [segment - 1 for segment in territory]
        change = {
            "cad": True,
            "culprit": artery,
            "transmurality": lambda depth, scarred=scarred: torch.zeros_like(depth).index_fill(
                1, torch.tensor(scarred), 0.9
            ),
        }
        shares.append(population_table(72, torch.arange(24), change=change)["pathological_q"].mean())
    anterior, inferior, lateral = shares
    assert min(anterior, inferior) > 0.6
    assert lateral < min(anterior, inferior) - 0.2


def _target(measure: str, of, group: str = "all") -> Target:
    return dataclasses.replace(TARGETS[0], measure=measure, of=of, group=group)


def test_estimates_against_their_definitions():
    generator = np.random.default_rng(0)
    table = pd.DataFrame({"age": 60.0, "a": generator.normal(size=400), "female": generator.random(400) < 0.5})
    table["b"] = table["a"] + generator.normal(size=400)
    table["ill"] = table["b"] > 1
    names = [("mean", "a"), ("sd", "a"), ("share", "ill"), ("correlation", ("a", "b")), ("auroc", ("a", "ill"))]
    got = evaluate(table, [_target(*name) for name in names])["got"].to_numpy()
    ill, well = table.loc[table["ill"], "a"].to_numpy(), table.loc[~table["ill"], "a"].to_numpy()
    naive = (ill[:, None] > well).mean()
    expected = [table["a"].mean(), table["a"].std(), 100 * table["ill"].mean(), table["a"].corr(table["b"]), naive]
    np.testing.assert_allclose(got, expected)


def test_odds_ratio_of_a_known_table():
    rows = [(True, True)] * 30 + [(True, False)] * 20 + [(False, True)] * 10 + [(False, False)] * 40
    table = pd.DataFrame(rows, columns=["a", "b"]).assign(age=60.0)
    got = evaluate(table, [_target("ratio", ("a", "b"))])["got"][0]
    assert got == pytest.approx(30.5 * 40.5 / (20.5 * 10.5))


def test_standard_error_of_a_spread_is_that_of_repeated_samples():
    generator = np.random.default_rng(1)
    spreads = [generator.normal(size=200).std(ddof=1) for _ in range(2000)]
    table = pd.DataFrame({"age": 60.0, "a": generator.normal(size=200)})
    assert evaluate(table, [_target("sd", "a")])["standard error"][0] == pytest.approx(np.std(spreads), rel=0.2)


def test_unknown_columns_and_groups_are_errors():
    table = pd.DataFrame({"age": [60.0] * 9, "a": range(9)})
    with pytest.raises(ValueError, match="no column 'c'"):
        evaluate(table, [_target("mean", "c")])
    with pytest.raises(ValueError, match="unknown word 'tall'"):
        members(table, "tall men")


def test_a_broken_file_of_targets_is_an_error(tmp_path):
    file = tmp_path / "targets.yaml"
    entry = (
        "{name: x, measure: mean, of: a, group: all, unit: g, target: 1, tolerance: 0, calibrate: false, source: s, "
    )
    file.write_text(f"targets:\n  - {entry} tolerance_from: t}}\nmisses: []\n")
    with pytest.raises(ValueError, match="tolerance 0"):
        read_targets(file)
    file.write_text(f"targets:\n  - {entry.replace('tolerance: 0', 'tolerance: 1')} tolerance_from: t}}\n"
                    "misses:\n  - {reason: r, targets: [y]}\n")  # fmt: skip
    with pytest.raises(ValueError, match="'y'"):
        read_targets(file)


def _drawn(**shapes: list[tuple[float, float, float]]) -> Electrocardiogram:
    """One beat drawn by hand: for each lead triangles (start ms, end ms, peak mV); a QRS of 90 ms in all leads."""
    samples = round((BEFORE + 800) / STEP)
    time = torch.arange(samples) * STEP - BEFORE
    beat = torch.zeros(1, 12, samples)
    for k, lead in enumerate(LEADS):
        for start, end, peak in shapes.get(lead, [(0, 90, 1.0)]):
            beat[0, k] += peak * (1 - ((time - (start + end) / 2) / ((end - start) / 2)).abs()).clamp(min=0)
    values = dict.fromkeys((field.name for field in dataclasses.fields(Electrocardiogram)), torch.zeros(1))
    return Electrocardiogram(**{**values, "beat": beat, "qrs": torch.tensor([90.0]), "pr": torch.tensor([160.0])})


def test_waves_of_a_beat_drawn_by_hand():
    shape = [(-160, -60, 0.12), (0, 30, -0.2), (30, 70, 1.5), (70, 90, -0.4), (200, 360, 0.3)]
    ecg = _drawn(V5=shape, II=shape, V1=[(0, 90, -1.1), (200, 360, -0.15)])
    waves = measure_waves(ecg)
    v5, v1 = LEADS.index("V5"), LEADS.index("V1")
    assert abs(qrs_onset(ecg.beat)[0]) <= 4
    for name, expected in {"q": 0.2, "r": 1.5, "s": 0.4, "t": 0.3}.items():
        assert getattr(waves, name)[0, v5] == pytest.approx(expected, abs=0.02), name
    assert 24 <= waves.q_duration[0, v5] <= 32
    assert waves.qs[0, v1] and waves.s[0, v1] == pytest.approx(1.1, abs=0.03) and waves.r[0, v1] == 0
    assert waves.t[0, v1] == pytest.approx(-0.15, abs=0.02)
    assert waves.p[0, v5] == pytest.approx(0.12, abs=0.01)
    assert waves.p_duration[0] == pytest.approx(100, abs=14)


@pytest.mark.parametrize(
    ("shapes", "group"),
    [
        ({"II": [(0, 40, -0.3), (40, 90, 1.0)], "aVF": [(0, 40, -0.3), (40, 90, 1.0)]}, "inferior"),
        ({"V3": [(0, 90, -1.0)]}, "anterior"),
        ({"I": [(0, 40, -0.2), (40, 90, 1.0)], "aVL": [(0, 40, -0.2), (40, 90, 1.0)]}, "lateral"),
        ({"III": [(0, 40, -0.3), (40, 90, 1.0)]}, None),
        ({lead: [(0, 20, -0.08), (20, 90, 1.0)] for lead in ("I", "aVL", "V5", "V6")}, None),
    ],
)
def test_pathological_q_follows_the_universal_definition(shapes, group):
    q = pathological_q(measure_waves(_drawn(**shapes)))
    assert [name for name, value in q.items() if value[0]] == ([group, "any"] if group else [])
