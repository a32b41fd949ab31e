"""Where everything lies: one rule from (profile, cohort, seed, preset) to the folder of a run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The compendium's root."""


def build_root() -> Path:
    """Folder of all products: `build/` at the root, or the environment variable MMCL_BUILD."""
    return Path(os.environ.get("MMCL_BUILD", ROOT / "build"))


@dataclass(frozen=True)
class Run:
    """Folders of one run: `build/<profile>/<cohort>-seed<seed>/`, its name ending in `-<preset>` unless `corrected`."""

    profile: str = "demo"
    cohort: str = "simulated"
    seed: int = 0
    preset: str = "corrected"

    @property
    def folder(self) -> Path:
        added = "" if self.preset == "corrected" else f"-{self.preset}"
        return build_root() / self.profile / f"{self.cohort}-seed{self.seed}{added}"

    @property
    def raw(self) -> Path:
        """Raw files of a simulated cohort, in the folder of `corrected`: no choice of a preset touches them."""
        return Run(self.profile, self.cohort, self.seed).folder / "raw"

    @property
    def store(self) -> Path:
        """Preprocessed store."""
        return self.folder / "store"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def predictions(self) -> Path:
        return self.folder / "predictions"

    @property
    def figures(self) -> Path:
        return self.folder / "figures"

    def results(self, notebook: str) -> Path:
        """The `results.json` of a notebook, e.g. `results("02_pretrain_mdm")`."""
        return self.folder / "results" / f"{notebook}.json"
