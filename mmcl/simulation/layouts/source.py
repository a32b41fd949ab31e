"""The simulated cohort as every layout writes it: the folder that `mmcl.simulation.export.export_raw` wrote, read back.

All layouts therefore hold the same counts of 5 microvolt and the same 8-bit pixels, one subject in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from mmcl.config import LEADS, RAW_SAMPLING_RATE, RECORD_SECONDS
from mmcl.provenance import read_json
from mmcl.simulation.export import COUNTS_PER_MILLIVOLT, MARKER, TABLES
from mmcl.simulation.truth import ARTERIES

CAVITY, MYOCARDIUM, RIGHT, SCAR = 3, 2, 1, 4
"""Labels of the simulated segmentations."""

OUTCOMES = ("same", "flag", "mended", "quarantine")
"""What an oddity leaves of a subject in the store: the arrays as without it; these and a flag; arrays that may differ,
as a flag says; nothing but the reason in the quarantine.
"""

_INFARCT = 0.25
"""Depth of scar, as a share of the wall, from which on a segment counts as infarcted."""


@dataclass(frozen=True)
class Oddity:
    """One thing that real files of a layout are known to have wrong; `outcome` is one of `OUTCOMES`."""

    what: str
    outcome: str


@dataclass(frozen=True)
class Subject:
    """One simulated subject. `index` is its number in the cohort, `person` and `truth` its rows of tables."""

    raw: Path
    eid: str
    index: int
    person: pd.Series
    truth: pd.Series
    r_times: np.ndarray
    ectopic: np.ndarray

    @cached_property
    def counts(self) -> np.ndarray:
        """ECG, int16 (12, 5000), 200 counts a millivolt, leads as in `mmcl.config.LEADS`."""
        values = np.fromfile(self.raw / "ecg" / f"{self.eid}.dat", dtype="<i2")
        return np.ascontiguousarray(values.reshape(RAW_SAMPLING_RATE * RECORD_SECONDS, len(LEADS)).T)

    @cached_property
    def cine(self) -> np.ndarray:
        """Short-axis cine, uint8 (slices, frames, rows, columns), base to apex, end-diastole first."""
        return self._image("")

    @cached_property
    def labels(self) -> np.ndarray:
        """Segmentation of the same shape, uint8: 1 right ventricle, 2 myocardium, 3 cavity, 4 scar."""
        return self._image("_seg")

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres a column, a row and a slice."""
        import nibabel

        return tuple(float(size) for size in nibabel.load(self._path("")).header.get_zooms()[:3])

    @property
    def es_frame(self) -> int:
        """End-systole, counted from 0: the frame after the first with the least cavity in the middle slice.

        The middle slice, and no volume, decides, so that all layouts name the frame that the labels themselves show.
        """
        area = (self.labels[len(self.labels) // 2] == CAVITY).sum(axis=(1, 2))
        return 1 + int(np.argmin(area[1:]))

    @property
    def sex(self) -> str:
        """female or male."""
        return "male" if self.person["31-0.0"] == "1" else "female"

    def value(self, column: str) -> float:
        """A number of the participants table, such as age `21003-2.0`."""
        return float(self.person[column])

    @property
    def infarct(self) -> str | None:
        """Artery of ARTERIES in whose territory a segment is infarcted, None without."""
        depth = self.truth[[f"scar_{k}" for k in range(1, 17)]].to_numpy(dtype=float)
        return ARTERIES[int(self.truth["culprit"])] if depth.max() >= _INFARCT else None

    @property
    def findings(self) -> tuple[str, ...]:
        """What a reader of the ECG would write down, rhythm first; the names are those of `FINDINGS`."""
        truth, rate = self.truth, self.truth["heart_rate"]
        in_strip = np.isfinite(self.r_times) & (self.r_times < RECORD_SECONDS)
        rhythm = "tachycardia" if rate > 100 else "bradycardia" if rate < 60 else "sinus"
        present = {
            "fibrillation": truth["in_af"] == 1,
            rhythm: truth["in_af"] != 1,
            "av_block": truth["pr"] > 200,
            "left_block": truth["lbbb"] == 1,
            "right_block": truth["rbbb"] == 1,
            f"infarct_{self.infarct}": self.infarct is not None,
            "left_axis": truth["axis"] < -30,
            "right_axis": truth["axis"] > 90,
            "long_qt": truth["qt"] / (60 / rate) ** 0.5 > (470 if self.sex == "female" else 450),
            "atrial_beats": (self.ectopic[in_strip] == 1).any(),
            "ventricular_beats": (self.ectopic[in_strip] == 2).any(),
        }
        return tuple(name for name, found in present.items() if found)

    def _path(self, suffix: str) -> Path:
        return self.raw / "cmr" / f"{self.eid}{suffix}.nii.gz"

    def _image(self, suffix: str) -> np.ndarray:
        import nibabel

        return np.ascontiguousarray(np.asarray(nibabel.load(self._path(suffix)).dataobj).transpose(2, 3, 1, 0))


FINDINGS = (
    *("fibrillation", "sinus", "bradycardia", "tachycardia", "av_block", "left_block", "right_block"),
    *(f"infarct_{artery}" for artery in ARTERIES),
    *("left_axis", "right_axis", "long_qt", "atrial_beats", "ventricular_beats"),
)


@dataclass(frozen=True)
class Source:
    """A whole simulated cohort in its raw folder; tables are text, indexed by `eid`, "" where nothing is known."""

    raw: Path
    seed: int
    tables: dict[str, pd.DataFrame]
    arrays: dict[str, np.ndarray]

    @classmethod
    def open(cls, raw: Path) -> Source:
        """ValueError unless `raw` holds a finished export with files, ECGs as WFDB."""
        if not (raw / MARKER).is_file() or not read_json(raw / MARKER)["files"]:
            raise ValueError(f"{raw}: expected raw files of a simulated cohort, as export_raw writes them")
        if not any((raw / "ecg").glob("*.dat")):
            raise ValueError(f"{raw}: no ecg/*.dat; expected a cohort exported with ecg='wfdb'")
        text = {"sep": "\t", "dtype": str, "keep_default_na": False, "index_col": "eid"}
        tables = {name: pd.read_csv(raw / f"{name}.tsv", **text) for name in TABLES if name != "truth"}
        tables["truth"] = pd.read_csv(raw / "truth.tsv", sep="\t", index_col="eid")
        with np.load(raw / "truth.npz") as truth:
            arrays = {name: truth[name] for name in ("r_times", "ectopic")}
        return cls(raw, read_json(raw / MARKER)["seed"], tables, arrays)

    @property
    def eids(self) -> list[str]:
        """Subjects in the order of their indices."""
        return list(self.tables["participants"].index)

    @property
    def indices(self) -> np.ndarray:
        """Index in the cohort of each subject, int64."""
        return np.arange(len(self.eids))

    def subjects(self) -> Iterator[Subject]:
        """One after the other; signals and images are read when they are asked for."""
        people, truth = self.tables["participants"], self.tables["truth"]
        for k, eid in enumerate(self.eids):
            arrays = (self.arrays[name][k] for name in ("r_times", "ectopic"))
            yield Subject(self.raw, eid, k, people.loc[eid], truth.loc[eid], *arrays)


def millivolts(counts: np.ndarray) -> np.ndarray:
    """Counts as float64 millivolt."""
    return counts / float(COUNTS_PER_MILLIVOLT)


def in_turn(oddities: Sequence[str], index: int, prefix: str = "") -> str:
    """The oddity of subject `index`, each of `oddities` in turn, "" for none; only one that begins with `prefix`.

    The prefix is taken off.
    """
    name = oddities[index % len(oddities)] if oddities else ""
    return name.removeprefix(prefix) if name.startswith(prefix) else ""
