"""The grid from a shell: choosing cells, dealing them out, what a run leaves and says."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmcl.__main__ import main
from mmcl.profiles import PROFILES
from mmcl.training import cells as cells_module
from mmcl.training.cells import cells
from mmcl.training.runner import part_of, read_part, select

ROOT = Path(__file__).resolve().parents[2]
TASKS = ("risk", "phenotypes")


@pytest.fixture
def setting(own_setting):
    return own_setting


@pytest.fixture
def paper(own_setting):
    """All cells of the published profile."""
    return cells(dataclasses.replace(own_setting, profile=PROFILES["paper"]), TASKS)


def command(*arguments):
    main(["experiments", *arguments, "--profile=smoke", "--device=cpu"])


@pytest.mark.parametrize("count", [1, 2, 7, 64])
def test_parts_have_every_cell_once_and_seeds_of_one_unit_together(paper, count):
    parts = [part_of(paper, number, count) for number in range(1, count + 1)]
    assert sorted(cell.name for part in parts for cell in part) == sorted(cell.name for cell in paper)
    homes = {}
    for number, part in enumerate(parts):
        for cell in part:
            assert homes.setdefault(cell.unit, number) == number


def test_parts_of_a_part_are_that_part(paper):
    inner = [cell for k in range(4) for cell in part_of(paper, 2 + k * 3, 12)]
    assert sorted(cell.name for cell in inner) == sorted(cell.name for cell in part_of(paper, 2, 3))


def test_parts_share_out_the_long_ones(paper):
    for labels in ("all", "0.01"):
        counts = [
            sum(cell.mode == "finetune" and cell.labels == labels for cell in part_of(paper, number, 6))
            for number in range(1, 7)
        ]
        assert max(counts) < 0.5 * sum(counts)


def test_pretraining_comes_first_in_every_part(paper):
    for number in (1, 2, 3):
        modes = [cell.mode == "pretrain" for cell in part_of(paper, number, 3)]
        assert modes == sorted(modes, reverse=True) and any(modes)


def test_cells_are_chosen_by_patterns(paper):
    chosen = select(paper, ["arm=mdm*,task=risk,labels=all", "mode=linear"])
    for cell in chosen:
        of_first = cell.arm.startswith("mdm") and cell.task == "risk" and cell.labels == "all"
        assert of_first or cell.mode == "linear"
    assert {cell.mode for cell in chosen} == {"probe", "knn", "finetune", "linear"}
    assert select(paper, []) == paper
    assert {cell.mode for cell in select(paper, ["mode=pretrain"])} == {"pretrain"}
    assert {cell.seed for cell in select(paper, ["seed=101"])} == {101}


@pytest.mark.parametrize(
    ("only", "said"),
    [("arms=mdm", "unknown 'arms'; expected arm, mode"), ("mdm", "unknown 'mdm'"), ("arm=x", "no cell fits arm=x")],
)
def test_a_pattern_that_means_nothing_is_named(paper, only, said):
    with pytest.raises(ValueError, match=said):
        select(paper, [only])


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/0", "a/b", "-1/2"])
def test_a_part_is_one_of_n(text):
    with pytest.raises(ValueError, match=f"part '{text}'; expected 1/n to n/n"):
        read_part(text)


def test_a_run_goes_on_past_a_failure_and_says_so(setting, capsys, monkeypatch):
    made = cells_module.reference

    def broken(name, mode, task, few, setting):
        if mode == "boosted":
            raise ValueError("no trees")
        return made(name, mode, task, few, setting)

    only = ["--only", "arm=ecg features,labels=all"]
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(cells_module, "reference", broken)
        command("run", *only)
    assert ended.value.code == "mmcl: some cells failed; see `python -m mmcl experiments status`"
    said = capsys.readouterr().out
    assert "phenotypes-ecg features-linear-all-0: done" in said and "features-boosted-all-0: failed" in said
    command("status", *only)
    said = capsys.readouterr().out
    rows = {tuple(line.split()[-4:]) for line in said.splitlines()}
    assert rows >= {("linear", "1", "0", "0"), ("boosted", "0", "1", "0")}
    assert "phenotypes-ecg features-boosted-all-0: ValueError: no trees" in said
    command("run", *only)
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "1/2 phenotypes-ecg features-linear-all-0: done",
        "2/2 phenotypes-ecg features-boosted-all-0: done",
    ]
    (made,) = json.loads(setting.run.results("experiments").read_text())
    assert made["cells"] == 2 and made["device"].startswith("cpu")


def test_the_cells_are_listed(setting, capsys):
    command("list", "--only", "mode=pretrain")
    assert capsys.readouterr().out.split() == ["mdm-pretrain-0", "mmcl-pretrain-0", "mdm+mmcl-pretrain-0"]
    command("status", "--only", "mode=pretrain")
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()[2:]] == ["1", "1", "1"]


@pytest.mark.slow
def test_workers_share_the_cells_and_the_pretraining_between_them(setting):
    run = [sys.executable, "-m", "mmcl", "experiments", "run", "--profile=smoke", "--device=cpu", "--workers=2"]
    only = ["--only=arm=mdm*,mode=probe", "--only=mode=linear"]
    done = subprocess.run(
        [*run, *only],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    chosen = select(cells(setting, ["phenotypes"]), ["arm=mdm*,mode=probe", "mode=linear"])
    assert sum(line.endswith(": done") for line in done.stdout.splitlines()) == len(chosen)
    assert {cells_module.state(cell, setting) for cell in chosen} == {"done"}
    losses = (setting.run.checkpoints / "mdm" / "metrics.csv").read_text().splitlines()
    assert len(losses) == 1 + setting.profile.mdm.epochs, "trained once"
