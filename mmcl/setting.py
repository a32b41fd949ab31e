"""What every step of a run shares: its folders, its numbers, its choices and its device."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from mmcl.config import Preset, Profile, preset
from mmcl.paths import Run
from mmcl.privacy import guard
from mmcl.profiles import profile


@dataclass(frozen=True)
class Setting:
    """One run. `open_setting` makes it from names."""

    run: Run
    profile: Profile
    preset: Preset
    device: torch.device

    @property
    def workers(self) -> int:
        """Processes that work on files at once: one a processor."""
        return os.cpu_count() or 1

    @property
    def footer(self) -> str:
        """Where a figure's data come from, to be printed on it: the cohort with its manifest's version, and the run.

        The preset is named where it is not `corrected`.
        """
        from mmcl.data.manifest import cohort_manifest

        name = f"{self.run.cohort} cohort v{cohort_manifest(self.run.cohort).version}"
        choices = "" if self.preset.name == "corrected" else f", preset {self.preset.name}"
        return f"{name}, {self.profile.name} profile, seed {self.run.seed}{choices}"


def open_setting(
    profile_name: str = "demo",
    cohort: str = "simulated",
    seed: int = 0,
    device: str = "auto",
    choices: str = "corrected",
) -> Setting:
    """The run of a profile, cohort, seed, device ("auto", "cpu", "cuda") and preset.

    ValueError for an unknown name, and for a restricted cohort whose products would lie where git could track them.
    """
    from mmcl.data.manifest import cohort_manifest

    numbers, chosen = profile(profile_name), preset(choices)
    run = Run(profile_name, cohort, seed, chosen.name)
    guard(run.folder, cohort_manifest(cohort).restricted)
    return Setting(run, numbers, chosen, choose_device(device))


def choose_device(name: str) -> torch.device:
    """ "auto", "cpu" or "cuda" to a device; ValueError when CUDA is asked for and absent."""
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"unknown device {name!r}; expected auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device 'cuda' was asked for, but PyTorch finds no CUDA device")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
