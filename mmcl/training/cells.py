"""The cells of the grid: one training or fit each, with a record of its own, made once and resumed by doing it again.

A cell's results are files that were there before: weights of a pre-training, or the predictions of an `Outcome`. Its
record, `cells/<cell>.json` in the run's folder, holds the fingerprint of code, numbers and data, and where it failed
the error; `cells/<cell>.made.json` tells when, on what and in how long it was made, and enters no result.
"""

from __future__ import annotations

import datetime
import fcntl
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from mmcl.config import fingerprint, look_up
from mmcl.environment import report
from mmcl.provenance import code_fingerprint, read_json, write_json
from mmcl.setting import Setting
from mmcl.training.experiments import ARMS, GRID, arm_setting, stages
from mmcl.training.features import CMR_ARM
from mmcl.training.finetuning import SUPERVISED, finetune_seeds
from mmcl.training.pretraining import FINISHED, pretrain, pretraining_mark
from mmcl.training.probing import PROBES, REFERENCES, probe, reference
from mmcl.training.reference_features import lacking
from mmcl.training.tasks import Outcome

PRETRAIN, FINETUNE = "pretrain", "finetune"
DONE, FAILED, MISSING = "done", "failed", "missing"
"""States of a cell: with results, with an error, or neither (or made from other code, numbers or data)."""


@dataclass(frozen=True)
class Cell:
    """One training or fit. A pre-training has no `task`; `few` labels are a number or a share, None for all.

    `mode` is "pretrain", "probe", "knn", "finetune", or that of a reference.
    """

    arm: str
    mode: str
    task: str = ""
    few: float | None = None
    seed: int = 0

    @property
    def labels(self) -> str:
        """As in an `Outcome`: "all", or how many."""
        return str(self.few or "all") if self.task else ""

    @property
    def unit(self) -> str:
        """Cells of one name differ in their seed alone, and share what is chosen on validation with the first."""
        return "-".join(part for part in (self.task, self.arm, self.mode, self.labels) if part)

    @property
    def name(self) -> str:
        return f"{self.unit}-{self.seed}"


def cells(setting: Setting, tasks: Sequence[str]) -> list[Cell]:
    """Cells of the setting's profile on `tasks`, pre-training first, each after those it needs; always in one order.

    References that the cohort cannot have are left out.
    ValueError for an arm that its line of the grid cannot have, or whose numbers the profile has not.
    """
    downstream, first = setting.profile.downstream, setting.run.seed
    evaluated = []
    for task in tasks:
        for few in (*downstream.few_labels, None):
            for block in look_up(GRID, setting.profile.name, "profile in the grid"):
                for mode in block.modes:
                    seeds = downstream.seeds if mode == FINETUNE else (first,)
                    for arm in block.arms:
                        _check(arm, mode)
                        if arm in REFERENCES and lacking(arm, setting):
                            continue
                        evaluated += [Cell(arm, mode, task, few, seed) for seed in seeds]
    trained = dict.fromkeys(arm for cell in evaluated for arm in _needs(cell))
    for arm in trained:
        arm_setting(arm, setting)
    return [*(Cell(arm, PRETRAIN, seed=first) for arm in trained), *dict.fromkeys(evaluated)]


def state(cell: Cell, setting: Setting) -> str:
    """DONE, FAILED or MISSING."""
    return _state(cell, setting, _mark(cell, setting))


def error(cell: Cell, setting: Setting) -> str:
    """What a failed cell failed from."""
    return read_json(_record(cell, setting))["error"]


def outcome(cell: Cell, setting: Setting) -> Outcome:
    """Where the predictions of a cell lie, once it is done."""
    return Outcome(setting.run.predictions / cell.task, cell.arm, cell.mode, cell.labels, cell.seed)


def run_cell(cell: Cell, setting: Setting, failed: set[Cell] | None = None) -> str:
    """Make a cell, and what it needs, unless it is done; its state. An error is recorded, printed and not raised.

    Cells in `failed` are not tried again, those that fail are added. Processes that share the folder wait for each
    other where they want the same; a cell that failed before is tried again.
    """
    failed = set() if failed is None else failed
    record, mark, result = _record(cell, setting), _mark(cell, setting), _result(cell, setting)
    record.parent.mkdir(parents=True, exist_ok=True)
    with _alone(record.with_name(f"{cell.unit}.lock")):
        if cell in failed or _state(cell, setting, mark) == DONE:
            return FAILED if cell in failed else DONE
        content, before, start = {"fingerprint": mark, **asdict(cell)}, _changed_at(result), time.perf_counter()
        try:
            _make(cell, setting, failed)
        except Exception as problem:
            traceback.print_exc()
            failed.add(cell)
            write_json(record, content | {"error": f"{type(problem).__name__}: {problem}"})
            return FAILED
        write_json(record, content)
        if _changed_at(result) != before:
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            made = {"date": now, "seconds": round(time.perf_counter() - start, 1), **report(setting.device)}
            write_json(_made(cell, setting), made)
        return DONE


def how_made(cells: Sequence[Cell], setting: Setting) -> list[dict]:
    """For each device and set of versions that made some of `cells`: these, how many, in how long, and from when to
    when.
    """
    found: dict[str, dict] = {}
    for path in (_made(cell, setting) for cell in cells):
        if path.exists():
            told = read_json(path)
            date, seconds = told.pop("date"), told.pop("seconds")
            total = found.setdefault(
                fingerprint(told), told | {"cells": 0, "seconds": 0.0, "first": date, "last": date}
            )
            total |= {"cells": total["cells"] + 1, "seconds": round(total["seconds"] + seconds, 1)}
            total |= {"first": min(total["first"], date), "last": max(total["last"], date)}
    return list(found.values())


def _make(cell: Cell, setting: Setting, failed: set[Cell]) -> None:
    for arm in _needs(cell):
        if run_cell(Cell(arm, PRETRAIN, seed=setting.run.seed), setting, failed) == FAILED:
            raise RuntimeError(f"the pre-training {arm} failed")
    if cell.mode == PRETRAIN:
        pretrain(cell.arm, setting)
    elif cell.mode in PROBES:
        probe(cell.arm, cell.task, cell.few, setting, cell.mode)
    elif cell.mode == FINETUNE:
        # All seeds at once, which may go side by side: the cells of the others find theirs finished.
        seeds = dict.fromkeys((cell.seed, *setting.profile.downstream.seeds))
        finetune_seeds(cell.arm, cell.task, cell.few, tuple(seeds), setting)
    else:
        reference(cell.arm, cell.mode, cell.task, cell.few, setting)


def _check(arm: str, mode: str) -> None:
    """ValueError where the grid asks for an arm in a mode that it has not."""
    known = {
        **dict.fromkeys(PROBES, ("random", "cmr", *ARMS)),
        FINETUNE: (*SUPERVISED, *ARMS),
        **{
            each: tuple(name for name, having in REFERENCES.items() if each in having)
            for modes in REFERENCES.values()
            for each in modes
        },
    }
    if arm not in look_up(known, mode, "mode in the grid"):
        raise ValueError(f"the grid has arm {arm!r} in mode {mode!r}; expected one of {', '.join(known[mode])}")


def _needs(cell: Cell) -> tuple[str, ...]:
    """Arms that are pre-trained before a cell, in the order in which they are."""
    if cell.mode == PRETRAIN:
        return stages(cell.arm)[:-1]
    arm = CMR_ARM if cell.arm == "cmr" and cell.mode in PROBES else cell.arm
    return stages(arm) if arm in ARMS else ()


def _mark(cell: Cell, setting: Setting) -> str:
    """Fingerprint of what a cell's results are made from."""
    # The store itself is opened by those who read it: for each of many hundred cells it would take long.
    checksums = read_json(setting.run.store / "store.json")["checksums"]
    if cell.mode == PRETRAIN:
        return pretraining_mark(cell.arm, setting, checksums)
    needed = _needs(cell)
    origin = pretraining_mark(needed[-1], setting, checksums) if needed else None
    own = arm_setting(cell.arm, setting)
    profile = own.profile
    sizes = profile.ecg, profile.cmr, profile.encoder, profile.cmr_encoder, profile.mmcl.cmr_augmentation
    numbers = fingerprint(*sizes, profile.downstream, own.preset)
    code = code_fingerprint(f"mmcl.training.{'finetuning' if cell.mode == FINETUNE else 'probing'}")
    return fingerprint(cell, origin, numbers, checksums, code)


def _state(cell: Cell, setting: Setting, mark: str) -> str:
    record = _record(cell, setting)
    told = read_json(record) if record.exists() else {}
    if told.get("fingerprint") != mark:
        return MISSING
    if "error" in told:
        return FAILED
    return DONE if _result(cell, setting).exists() else MISSING


def _record(cell: Cell, setting: Setting) -> Path:
    return setting.run.folder / "cells" / f"{cell.name}.json"


def _result(cell: Cell, setting: Setting) -> Path:
    """The file that is written last when a cell is made."""
    if cell.mode == PRETRAIN:
        return setting.run.checkpoints / cell.arm / FINISHED
    return outcome(cell, setting).record


def _made(cell: Cell, setting: Setting) -> Path:
    return _record(cell, setting).with_suffix(".made.json")


def _changed_at(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock of a file, which the system frees when this process ends, however it ends."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
