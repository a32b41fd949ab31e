"""The grid from a shell: which cells are meant, who makes which of them, and how far they are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import pandas as pd

from mmcl.config import fingerprint
from mmcl.setting import Setting
from mmcl.training.cells import DONE, FAILED, MISSING, PRETRAIN, Cell, run_cell

FIELDS = ("arm", "mode", "task", "labels", "seed")
"""What `select` tells cells apart by."""


def select(cells: Sequence[Cell], only: Sequence[str]) -> list[Cell]:
    """Cells that fit any of `only`, all without one: such as "arm=mdm*,task=risk", with the wildcards of a shell.

    ValueError for another field, and where nothing fits.
    """
    wanted = []
    for text in only:
        terms = [term.partition("=")[::2] for term in text.split(",")]
        if unknown := [name for name, pattern in terms if name not in FIELDS or not pattern]:
            raise ValueError(
                f"{text!r}: unknown {unknown[0]!r}; expected {', '.join(FIELDS)}, as in arm=mdm*,task=risk"
            )
        wanted.append(terms)
    chosen = [
        cell
        for cell in cells
        if not only or any(all(fnmatchcase(str(getattr(cell, n)), p) for n, p in terms) for terms in wanted)
    ]
    if not chosen:
        raise ValueError(f"no cell fits {' or '.join(only)}; see `python -m mmcl experiments list`")
    return chosen


def read_part(text: str) -> tuple[int, int]:
    """ "2/8" as (2, 8), the second of eight; ValueError for anything else."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    number, count = map(int, found.groups()) if found else (0, 0)
    if not 1 <= number <= count:
        raise ValueError(f"part {text!r}; expected 1/n to n/n")
    return number, count


def part_of(cells: Sequence[Cell], number: int, count: int) -> list[Cell]:
    """The part `number` of `count` (from 1) of `cells`, in their order: every cell is in one part, seeds of one unit in
    the same.

    Pre-training is dealt out as it comes; the rest as if shuffled, so that no part has all the long ones.
    """
    pretraining = {cell.unit: "" for cell in cells if cell.mode == PRETRAIN}
    units = dict.fromkeys(cell.unit for cell in cells)
    dealt = sorted(units, key=lambda unit: pretraining.get(unit, fingerprint(unit)))
    mine = set(dealt[number - 1 :: count])
    return [cell for cell in cells if cell.unit in mine]


def run(cells: Sequence[Cell], setting: Setting) -> list[Cell]:
    """Make `cells` here, one after the other, with a line for each; returns those that failed."""
    failed: set[Cell] = set()
    for number, cell in enumerate(cells, start=1):
        print(f"{number}/{len(cells)} {cell.name}: {run_cell(cell, setting, failed)}", flush=True)
    return [cell for cell in cells if cell in failed]


def run_parts(workers: int, number: int, count: int, options: Sequence[str]) -> bool:
    """Share part `number` of `count` out among `workers` processes of this computer; whether all ended well.

    Each is the command `mmcl experiments run` with `options` and a part of the part, and its share of the processors.
    """
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads}
    command = [sys.executable, "-m", "mmcl", "experiments", "run", *options]
    started = [
        subprocess.Popen([*command, "--part", f"{number + k * count}/{count * workers}"], env=environment)
        for k in range(workers)
    ]
    return all([process.wait() == 0 for process in started])


def progress(states: Mapping[Cell, str]) -> pd.DataFrame:
    """How many cells of each arm and mode are done, failed and missing; index (arm, mode)."""
    names = (DONE, FAILED, MISSING)
    rows = [(cell.arm, cell.mode, *(state == name for name in names)) for cell, state in states.items()]
    return pd.DataFrame(rows, columns=["arm", "mode", *names]).groupby(["arm", "mode"], sort=False).sum()
