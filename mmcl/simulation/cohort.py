"""The simulated cohort in memory: hearts with their ECG, CMR, masks, phenotypes and truth, as arrays and data frames.

    cohort = mmcl.simulate_cohort(100, seed=0)
    cohort.ecg, cohort.cmr, cohort.masks, cohort.subjects, cohort.phenotypes, cohort.truth

Subject k of seed s is the same, to the bit on one device, whatever the number, the batch or the order of the others.
Draws are a function of seed and subject (`random`); and because the last bit of a vectorised sum or exponential depends
on the place in the vector, subjects are always computed in the same blocks of neighbours, whoever is asked for.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from mmcl.config import CohortConfig
from mmcl.simulation.cine import render_cine
from mmcl.simulation.electrocardiogram import simulate_ecg
from mmcl.simulation.heart import build_hearts
from mmcl.simulation.intervention import Change
from mmcl.simulation.parameters import override, version
from mmcl.simulation.phenotypes import measure
from mmcl.simulation.population import sample_people
from mmcl.simulation.truth import Truth, subject_table, truth_arrays

BLOCK = {"cpu": 16, "cuda": 512}
"""Subjects computed together on each type of device: enough to keep it busy, few enough for one to be had quickly."""


@dataclass(frozen=True)
class SimulatedCohort:
    """Subjects in rows.

    `ecg` (n, 12, 5000) float32, mV at 500 Hz, leads as in `mmcl.config.LEADS`; `cmr` (n, 3, rows, columns) uint8, the
    middle short-axis slice at end-diastole, halfway and end-systole, or the stack (n, slices, frames, rows, columns),
    base to apex, over one beat from end-diastole on; `masks` the same shape: 0 background, 1 right ventricle, 2
    myocardium, 3 left ventricular cavity, 4 scar. `subjects` and `phenotypes` are indexed by `eid`; the columns of the
    first are those of `mmcl.simulation.truth.subject_table` and `es_frame`, the end-systolic frame of the stack, those
    of the second the names of `mmcl.phenotypes`. `seed` and the `version` of the parameters say which cohort this is.
    """

    ecg: np.ndarray
    cmr: np.ndarray
    masks: np.ndarray
    subjects: pd.DataFrame
    phenotypes: pd.DataFrame
    truth: Truth
    seed: int
    version: str

    def __len__(self) -> int:
        return len(self.ecg)


def simulate_cohort(
    n: int,
    seed: int = 0,
    *,
    first: int = 0,
    odds: tuple[float, float, float] = (1.0, 1.0, 1.0),
    change: Change | None = None,
    parameters: Mapping[str, float | tuple] | None = None,
    slices: int = 10,
    frames: int = 50,
    matrix: int = 88,
    spacing: float = 1.8,
    stack: bool = False,
    images: bool = True,
    noise: bool = True,
    measurement_error: float = 0.0,
    device: str | torch.device = "cpu",
    batch: int = 64,
    progress: bool = False,
) -> SimulatedCohort:
    """Simulate the `n` subjects of cohort `seed` from index `first` on.

    `odds` multiplies the odds of CAD, AF and DM. `change` replaces properties of every subject
    (`mmcl.simulation.intervention` lists them) and `parameters` values of the parameters' file, by `<section>.<name>`;
    all else stays as it was, so that two cohorts pair up heart by heart. Images are `matrix` x `matrix` pixels of
    `spacing` mm, from a cine of `slices` and `frames`; `stack` asks for all of it, and without `images` there are none:
    (n, 0, 0, 0). Without `noise` recordings hold the heart and its breathing alone. To phenotypes, which are else those
    of the geometry, `measurement_error` times the errors of a published image analysis are added. `batch` subjects at a
    time are simulated on `device` and collected in the host's memory; `simulate_batches` collects none. ValueError for
    a number out of range or an unknown name.
    """
    if not (_is_count(n, 1) and _is_count(first, 0)):
        raise ValueError(f"n = {n!r}, first = {first!r}: expected at least one subject, from index 0 on")
    subjects = range(first, first + n)
    people = {"odds": odds, "change": change, "parameters": parameters}
    sizes = {"slices": slices, "frames": frames, "matrix": matrix, "spacing": spacing}
    kinds = {"stack": stack, "images": images, "noise": noise, "measurement_error": measurement_error}
    compute = {"device": device, "batch": batch, "progress": progress}
    parts = simulate_batches(subjects, seed, **people, **sizes, **kinds, **compute)
    return _gathered(_in_order(parts), n)


def simulate_batches(
    subjects: Sequence[int],
    seed: int = 0,
    *,
    odds: tuple[float, float, float] = (1.0, 1.0, 1.0),
    change: Change | None = None,
    parameters: Mapping[str, float | tuple] | None = None,
    slices: int = 10,
    frames: int = 50,
    matrix: int = 88,
    spacing: float = 1.8,
    stack: bool = False,
    images: bool = True,
    noise: bool = True,
    measurement_error: float = 0.0,
    device: str | torch.device = "cpu",
    batch: int = 64,
    progress: bool = False,
) -> Iterator[SimulatedCohort]:
    """Simulate the subjects of the indices `subjects`, in their order, `batch` at a time; options as `simulate_cohort`.

    No more than one batch and one block lie in memory, so that a cohort of any size can be written as it comes. Whole
    blocks are computed: ask for neighbours together.
    """
    _check(seed, batch, odds, matrix, spacing, measurement_error)
    from tqdm import tqdm

    device = _device(device)
    size = BLOCK[device.type]
    cohort = CohortConfig(0, 0, 0, odds=odds, slices=slices, frames=frames, matrix=matrix, spacing=spacing)

    def simulate(block: int) -> SimulatedCohort:
        rows = torch.arange(block * size, (block + 1) * size, device=device)
        # In force while a block is computed, not while the caller has its turn.
        with override(parameters) if parameters else nullcontext():
            return _simulate(seed, rows, cohort, change, stack, images, noise, measurement_error)

    with tqdm(total=len(subjects), unit="subject", desc="simulating", disable=None if progress else True) as bar:
        for part in _batches(subjects, batch, size, simulate):
            bar.update(len(part))
            yield part


def identifier(subject: int) -> str:
    """Name of a simulated subject, which no cohort of people uses."""
    return f"sim{subject:07d}"


def _check(
    seed: int, batch: int, odds: tuple[float, ...], matrix: int, spacing: float, measurement_error: float
) -> None:
    """ValueError for a number out of range; slices and frames are `render_cine`'s to check."""
    if not _is_count(seed, 0):
        raise ValueError(f"seed = {seed!r}: expected a whole number from 0 on")
    if not _is_count(batch, 1):
        raise ValueError(f"batch = {batch!r}: expected at least 1")
    if len(odds) != 3 or not all(math.isfinite(factor) and factor >= 0 for factor in odds):
        raise ValueError(f"odds = {odds}: expected three factors of at least 0 for CAD, AF and DM")
    if not _is_count(matrix, 32) or not 0.5 <= spacing <= 5:
        raise ValueError(f"matrix = {matrix!r}, spacing = {spacing!r}: expected at least 32 pixels of 0.5 to 5 mm")
    if not (math.isfinite(measurement_error) and measurement_error >= 0):
        raise ValueError(f"measurement_error = {measurement_error!r}: expected a factor of at least 0")


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= least


def _device(name: str | torch.device) -> torch.device:
    """The device called `name`; ValueError when it is unknown or not there."""
    kind = str(name).split(":")[0]
    if kind not in BLOCK or (kind == "cuda" and not torch.cuda.is_available()):
        raise ValueError(f"device {str(name)!r}: expected one of {', '.join(BLOCK)} that this machine has")
    return torch.device(name)


def _batches(
    subjects: Sequence[int], batch: int, size: int, simulate: Callable[[int], SimulatedCohort]
) -> Iterator[SimulatedCohort]:
    """Rows of blocks in the order of `subjects`; the last block is kept for the batch that goes on in it."""
    number, held = None, None
    for start in range(0, len(subjects), batch):
        wanted = np.asarray(subjects[start : start + batch])
        if wanted.min() < 0:
            raise ValueError(f"subject {wanted.min()}: expected indices from 0 on")
        blocks, rows = np.divmod(wanted, size)
        pieces = []
        for block in np.unique(blocks):
            if block != number:
                number, held = block, simulate(int(block))
            places = np.flatnonzero(blocks == block)
            pieces.append((places, _rows(held, rows[places])))
        yield _gathered(pieces, len(wanted))


def _simulate(
    seed: int,
    subject: torch.Tensor,
    cohort: CohortConfig,
    change: Change | None,
    stack: bool,
    images: bool,
    noise: bool,
    error: float,
) -> SimulatedCohort:
    hearts = build_hearts(seed, sample_people(seed, subject, cohort.odds, change), change)
    ecg = simulate_ecg(seed, hearts, noise)
    table = subject_table([identifier(k) for k in subject.tolist()], hearts, ecg)
    pixels = labels = np.empty((len(subject), 0, 0, 0), np.uint8)
    if images:
        cine = render_cine(seed, hearts, cohort, middle_only=not stack)
        pixels, labels = ((part if stack else part[:, 0]).cpu().numpy() for part in (cine.images, cine.labels))
        table["es_frame"] = cine.es_frame.cpu().numpy()
    phenotypes = pd.DataFrame(measure(hearts, seed, error), index=table.index)
    truth = truth_arrays(seed, hearts, ecg)
    return SimulatedCohort(ecg.signal.cpu().numpy(), pixels, labels, table, phenotypes, truth, seed, version())


def _in_order(parts: Iterable[SimulatedCohort]) -> Iterator[tuple[np.ndarray, SimulatedCohort]]:
    done = 0
    for part in parts:
        yield np.arange(done, done + len(part)), part
        done += len(part)


def _gathered(pieces: Iterable[tuple[np.ndarray, SimulatedCohort]], n: int) -> SimulatedCohort:
    """One cohort of `n` subjects from parts and their places in it.

    Arrays are filled in place, so that nothing lies in memory twice.
    """
    arrays: dict[str, np.ndarray] = {}
    order, subjects, phenotypes = [], [], []
    for places, part in pieces:
        for name, values in _arrays(part).items():
            if name not in arrays:
                arrays[name] = np.empty((n, *values.shape[1:]), values.dtype)
            arrays[name][places] = values
        order.append(places)
        subjects.append(part.subjects)
        phenotypes.append(part.phenotypes)
    back = np.argsort(np.concatenate(order))
    return _assembled(arrays, pd.concat(subjects).iloc[back], pd.concat(phenotypes).iloc[back], part)


def _rows(part: SimulatedCohort, rows: np.ndarray) -> SimulatedCohort:
    arrays = {name: values[rows] for name, values in _arrays(part).items()}
    return _assembled(arrays, part.subjects.iloc[rows], part.phenotypes.iloc[rows], part)


def _arrays(part: SimulatedCohort) -> dict[str, np.ndarray]:
    truth = {field.name: getattr(part.truth, field.name) for field in dataclasses.fields(Truth)}
    return {"ecg": part.ecg, "cmr": part.cmr, "masks": part.masks, **truth}


def _assembled(
    arrays: dict[str, np.ndarray], subjects: pd.DataFrame, phenotypes: pd.DataFrame, like: SimulatedCohort
) -> SimulatedCohort:
    truth = Truth(**{field.name: arrays[field.name] for field in dataclasses.fields(Truth)})
    own = {name: arrays[name] for name in ("ecg", "cmr", "masks")}
    return SimulatedCohort(
        **own, subjects=subjects, phenotypes=phenotypes, truth=truth, seed=like.seed, version=like.version
    )
