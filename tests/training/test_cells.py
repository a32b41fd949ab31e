"""Cells of the grid: which there are, what they need, and that they are made once, whatever fails beside them."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from mmcl.profiles import PROFILES
from mmcl.training import cells as cells_module
from mmcl.training import experiments
from mmcl.training.cells import Cell, cells, error, how_made, outcome, run_cell, state
from mmcl.training.experiments import Arm, Block

ROOT = Path(__file__).resolve().parents[2]
TASKS = ("risk", "phenotypes")
LINEAR = Cell("demographics", "linear", "risk", None, 0)


@pytest.fixture
def setting(own_setting):
    return own_setting


@pytest.fixture
def grid(monkeypatch):
    """Replaces the smoke profile's grid by blocks of (arms, modes)."""

    def replace(*blocks):
        monkeypatch.setitem(experiments.GRID, "smoke", tuple(Block(*block) for block in blocks))

    return replace


def test_the_published_grid_is_the_whole_matrix(setting):
    paper = dataclasses.replace(setting, profile=PROFILES["paper"])
    found = cells(paper, TASKS)
    assert found == cells(paper, TASKS) and len(found) == len(set(found))
    tuned = {(c.arm, c.task, c.labels, c.seed) for c in found if c.mode == "finetune"}
    arms = ("scratch", "mdm", "mmcl", "mdm+mmcl", "simclr", "byol", "barlow_twins", "clocs", "cmr", "cmr_simclr")
    seeds = (0, 101, 202, 303, 404)
    assert len(tuned) == len({arm for arm, *_ in tuned}) * len(TASKS) * 3 * len(seeds)
    assert tuned >= {(a, t, n, s) for a in arms for t in TASKS for n in ("0.01", "0.1", "all") for s in seeds}
    assert {c.arm for c in found if c.mode == "linear"} >= {"demographics", "ecg features"}
    order = {cell: k for k, cell in enumerate(found)}
    for arm, start in (("mdm+mmcl", "mdm"), ("mdm+mmcl.mask_0.6", "mdm.mask_0.6")):
        assert order[Cell(start, "pretrain")] < order[Cell(arm, "pretrain")] < order[Cell(arm, "probe", "risk", 0.01)]
    assert {c.seed for c in found if c.mode != "finetune"} == {paper.run.seed}


def test_a_cell_is_made_once_and_again_when_its_numbers_change(setting, monkeypatch):
    assert state(LINEAR, setting) == "missing"
    assert run_cell(LINEAR, setting) == state(LINEAR, setting) == "done"
    files = {path: path.stat().st_mtime_ns for path in setting.run.folder.rglob("*demographics*") if path.is_file()}
    assert len(files) >= 5
    monkeypatch.setattr(cells_module, "reference", lambda *arguments: pytest.fail("made twice"))
    assert run_cell(LINEAR, setting) == "done"
    assert {path: path.stat().st_mtime_ns for path in files} == files
    profile = setting.profile
    other = dataclasses.replace(profile, downstream=dataclasses.replace(profile.downstream, balance="sets"))
    assert state(LINEAR, dataclasses.replace(setting, profile=other)) == "missing"
    (setting.run.predictions / "risk" / "demographics-linear-all-0.json").unlink()
    assert state(LINEAR, setting) == "missing", "the record alone is no result"


def test_what_a_cell_was_made_on_is_beside_its_record(setting):
    run_cell(LINEAR, setting)
    folder = setting.run.folder / "cells"
    made = json.loads((folder / "risk-demographics-linear-all-0.made.json").read_text())
    assert made["seconds"] >= 0 and made["date"].endswith("+00:00") and made["device"].startswith("cpu")
    assert made["torch"] and "date" not in json.loads((folder / "risk-demographics-linear-all-0.json").read_text())
    run_cell(Cell("demographics", "linear", "phenotypes", None, 0), setting)
    (told,) = how_made(cells(setting, TASKS), setting)
    assert told["cells"] == 2 and told["seconds"] >= made["seconds"] and told["torch"] == made["torch"]
    assert told["first"] == made["date"] <= told["last"]


def test_a_cell_that_fails_is_recorded_and_tried_again(setting, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(cells_module, "reference", lambda *arguments: 1 / 0)
        assert run_cell(LINEAR, setting) == state(LINEAR, setting) == "failed"
    assert error(LINEAR, setting) == "ZeroDivisionError: division by zero"
    assert not outcome(LINEAR, setting).record.exists()
    assert run_cell(LINEAR, setting) == state(LINEAR, setting) == "done"


def test_what_needs_a_failed_pretraining_fails_without_trying_it_again(setting, monkeypatch):
    tried = []

    def broken(arm, setting):
        tried.append(arm)
        raise ValueError("no memory")

    monkeypatch.setattr(cells_module, "pretrain", broken)
    failed = set()
    for arm in ("mdm", "mdm+mmcl"):
        for task in TASKS:
            assert run_cell(Cell(arm, "probe", task), setting, failed) == "failed"
    assert tried == ["mdm"]
    assert error(Cell("mdm", "pretrain"), setting) == "ValueError: no memory"
    assert error(Cell("mdm+mmcl", "probe", "risk"), setting) == "RuntimeError: the pre-training mdm failed"


def test_two_processes_do_not_make_the_same_at_once(setting):
    """While another process holds the unit's lock, a cell waits; when that process dies, it goes on."""
    lock = setting.run.folder / "cells" / f"{LINEAR.unit}.lock"
    lock.parent.mkdir()
    hold = f"import fcntl, sys; f = open({str(lock)!r}, 'a'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True)"
    holder = subprocess.Popen([sys.executable, "-c", hold + "; sys.stdin.read()"], stdin=-1, stdout=-1, text=True)
    assert holder.stdout.readline() == "held\n"
    lines = (
        "from mmcl.setting import open_setting",
        "from mmcl.training.cells import Cell, run_cell",
        "setting = open_setting('smoke', device='cpu')",
        "print('asks', flush=True)",
        "print(run_cell(Cell('demographics', 'linear', 'risk', None, 0), setting))",
    )
    waiter = subprocess.Popen([sys.executable, "-c", "\n".join(lines)], stdout=-1, text=True, cwd=ROOT)
    try:
        assert waiter.stdout.readline() == "asks\n"
        with pytest.raises(subprocess.TimeoutExpired):
            waiter.wait(timeout=3)
        holder.kill()
        assert waiter.communicate(timeout=60)[0] == "done\n"
    finally:
        for process in (holder, waiter):
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ((("mcl",), ("probe",)), "the grid has arm 'mcl' in mode 'probe'; expected one of random, cmr, mdm"),
        ((("scratch",), ("probe",)), "the grid has arm 'scratch' in mode 'probe'"),
        (
            (("demographics",), ("boosted",)),
            "the grid has arm 'demographics' in mode 'boosted'; expected one of ecg fea",
        ),
        ((("mdm",), ("tune",)), "unknown mode in the grid 'tune'; expected one of probe, knn, finetune"),
    ],
)
def test_a_line_of_the_grid_that_cannot_be_is_named(setting, grid, block, said):
    grid(block)
    with pytest.raises(ValueError, match=said):
        cells(setting, TASKS)


def test_a_typing_error_in_an_arm_is_found_before_anything_is_trained(setting, grid, monkeypatch):
    monkeypatch.setitem(experiments.ARMS, "x", Arm("mmcl", "mdm", {"mmcl.temprature": 0.2}))
    grid((("x",), ("probe",)))
    with pytest.raises(ValueError, match="unknown number of arm 'x', mmcl.temprature"):
        cells(setting, TASKS)


def test_an_arm_added_by_one_entry_is_trained_and_evaluated(setting, grid, monkeypatch, tmp_path):
    """From the text of an entry to predictions: an ablation that shortens the window and halves the pairs."""
    file = tmp_path / "added.yaml"
    file.write_text(
        "method: short\narms:\n  added:\n"
        "    short: {objective: mmcl, set: {ecg.window: 150, mmcl.epochs: 2}, pairs: 0.5}\n"
        "grid:\n  smoke: [{arms: [added], modes: [probe, finetune]}]\n"
    )
    read = experiments.read_experiments(file)
    monkeypatch.setitem(experiments.ARMS, "short", read.arms["short"])
    monkeypatch.setitem(experiments.GRID, "smoke", read.grid["smoke"])
    chosen = [c for c in cells(setting, ["risk"]) if c.labels in ("", "all")]
    assert [cell.name for cell in chosen] == ["short-pretrain-0", "risk-short-probe-all-0", "risk-short-finetune-all-0"]
    assert [run_cell(cell, setting) for cell in chosen] == ["done"] * 3
    assert json.loads((setting.run.checkpoints / "short" / "finished.json").read_text())["epochs"] == 2
    for cell in chosen[1:]:
        assert outcome(cell, setting).load("test").score.shape == (8, 3)
    from mmcl.training.features import ecg_encoder

    assert ecg_encoder("short", setting).grid == (12, 3)
