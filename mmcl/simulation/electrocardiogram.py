"""Electrocardiogram: the 12-lead recording of each heart, 10 s at 500 Hz in millivolt, with its truth.

One P wave, one QRS complex and one T wave are computed for each heart at its nine electrodes (`source`, `atria`,
`conductor`), placed at the beats of its rhythm (`rhythm`), moved by breathing and covered with noise (`recording`), and
only then formed into leads. Left out: atrial repolarisation, ectopic beats, rate-dependent conduction.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch

from mmcl.config import LEADS, RAW_SAMPLING_RATE, RECORD_SECONDS
from mmcl.simulation import activation, atria, recording, source
from mmcl.simulation.conductor import Torso, build_torso, transfer, twelve_leads
from mmcl.simulation.heart import Hearts
from mmcl.simulation.parameters import parameters
from mmcl.simulation.random import normal
from mmcl.simulation.rhythm import Rhythm, sample_rhythm

P = parameters("electrocardiogram")
ACTIVATION = parameters("activation")
SOURCE = parameters("source")

CHUNK = 16
"""Subjects computed at a time; bounds the memory and changes no result."""

STEP = source.STEP
BEFORE = 300.0
"""ms by which the template of a beat begins before the ventricles activate: room for a long PR interval."""
QRS_START, QRS_END, T_START, T_END = -30.0, 280.0, 100.0, 800.0
"""ms after the first activation between which the QRS and the T wave are computed."""


@dataclass(frozen=True)
class Electrocardiogram:
    """Recordings and their truth.

    `signal` (n, 12, 5000) float32, mV; `r_times` (n, beats) s within the recording, NaN-padded; `activation` (n, nodes)
    ms after the first breakthrough; `pr`, `qrs`, `qt` (n,) ms and `axis` (n,) degrees, measured without noise (`pr` is
    NaN in atrial fibrillation); `beat` (n, 12, samples) mV, one noise-free beat that begins `BEFORE` ms before the
    ventricles.
    """

    signal: torch.Tensor
    r_times: torch.Tensor
    activation: torch.Tensor
    pr: torch.Tensor
    qrs: torch.Tensor
    qt: torch.Tensor
    axis: torch.Tensor
    beat: torch.Tensor


def simulate_ecg(seed: int, hearts: Hearts, noise: bool = True) -> Electrocardiogram:
    """Simulate the resting ECG of each of `hearts`; the same subject gives the same recording in any batch."""
    n = len(hearts.people.subject)
    parts = [_simulate(seed, _rows(hearts, slice(start, start + CHUNK)), noise) for start in range(0, n, CHUNK)]
    return Electrocardiogram(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def _simulate(seed: int, hearts: Hearts, noise: bool) -> tuple[torch.Tensor, ...]:
    people = hearts.people
    mesh = source.build_mesh(hearts)
    atrial_points = atria.atrial_points(hearts)
    torso = build_torso(seed, people, torch.cat([mesh.points, atrial_points], dim=1))
    rhythm = sample_rhythm(seed, people.subject, hearts.heart_rate, people.age, people.in_af)
    depolarisation, repolarisation, active = ventricular_waves(seed, hearts, mesh, torso)
    p_wave, fibrillation, pr = _atrial_waves(seed, hearts, torso, atrial_points)

    first = depolarisation.clone()
    first[..., : p_wave.shape[-1]] += p_wave
    offset = _rate_shift(hearts, rhythm)
    potential = _place(first, rhythm.onset, -BEFORE) + _place(repolarisation, rhythm.onset + offset / 1000, T_START)
    potential = recording.modulate(seed, people.subject, potential + fibrillation, rhythm.breathing)
    if noise:
        potential = recording.add_noise(seed, people.subject, potential, rhythm.breathing)

    ventricular, repolarised = twelve_leads(depolarisation), twelve_leads(repolarisation)
    qrs_onset, qrs_end, peak = qrs_limits(ventricular)
    qt = t_end(repolarised) - qrs_onset
    beat = torch.nn.functional.pad(twelve_leads(first), (0, _samples(T_END - QRS_END)))
    beat[..., _samples(BEFORE + T_START) :] += repolarised
    r_times = rhythm.onset + peak[:, None] / 1000
    r_times = torch.where((r_times >= 0) & (r_times < RECORD_SECONDS), r_times, torch.nan)
    pr = torch.where(people.in_af, torch.nan, pr + qrs_onset)
    return (
        twelve_leads(potential), r_times.sort(dim=1).values, active, pr, qrs_end - qrs_onset, qt,
        frontal_axis(ventricular), beat,
    )  # fmt: skip


def ventricular_waves(
    seed: int, hearts: Hearts, mesh: source.Mesh, torso: Torso
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """QRS and T wave at the electrodes, (n, 9, samples) mV each, and the activation times (n, nodes) in ms.

    The QRS is on a grid from -`BEFORE` to `QRS_END`, the T wave from `T_START` to `T_END`, 2 ms apart.
    """
    weight = source.weights(mesh.edges, mesh.conductance, transfer(torso, mesh.points))
    weight = SOURCE.amplitude * weight.float()
    active = activation.activate(seed, hearts, mesh)
    recovered = activation.recover(seed, hearts, mesh, active)
    count = _samples(QRS_END - QRS_START)
    qrs = source.wave(weight, active, source.upstroke(count), QRS_START, count)
    qrs = torch.nn.functional.pad(qrs, (_samples(QRS_START + BEFORE), 0))
    count = _samples(T_END - T_START)
    return qrs, source.wave(-weight, recovered, source.recovery(count), T_START, count), active


def qrs_limits(leads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Onset, end and peak (n,) in ms after the first breakthrough, of QRS complexes (n, 12, samples) from -`BEFORE`.

    Onset and end are where the root mean square of all leads crosses 4 % of its peak.
    """
    size = leads.square().mean(dim=1).sqrt()
    active = size > 0.04 * size.amax(dim=1, keepdim=True)
    index = torch.arange(size.shape[1], device=size.device)
    onset = torch.where(active, index, size.shape[1]).amin(dim=1)
    end = torch.where(active, index, -1).amax(dim=1)
    return onset * STEP - BEFORE, end * STEP - BEFORE, size.argmax(dim=1) * STEP - BEFORE


def t_end(leads: torch.Tensor) -> torch.Tensor:
    """End of T waves (n, 12, samples) that begin at `T_START`, (n,) in ms: where the steepest tangent meets zero."""
    size = leads.square().mean(dim=1).sqrt()
    peak = size.argmax(dim=1, keepdim=True)
    index = torch.arange(size.shape[1], device=size.device)
    slope = torch.where(index[:-1] >= peak, size.diff(dim=1), 0)
    steepest = slope.argmin(dim=1, keepdim=True)
    fall = slope.gather(1, steepest).clamp(max=-1e-9)
    return ((steepest - size.gather(1, steepest) / fall)[:, 0]) * STEP + T_START


def frontal_axis(leads: torch.Tensor) -> torch.Tensor:
    """Electrical axis (n,) in degrees, from the net QRS areas of I and aVF."""
    area = leads.sum(dim=-1)
    one, foot = area[:, LEADS.index("I")], area[:, LEADS.index("aVF")]
    # A Goldberger lead sees a vector smaller by the root of 3/4 than a bipolar one.
    return torch.rad2deg(torch.atan2(foot * 2 / math.sqrt(3), one))


def _atrial_waves(
    seed: int, hearts: Hearts, torso: Torso, points: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """P wave on the QRS's grid, fibrillatory waves (0 in sinus rhythm), and the sinus node's lead in ms (n,)."""
    people = hearts.people
    weight = atria.atrial_weights(torso, points).float()
    pr = P.pr + P.pr_per_year * (people.age - 60) + P.pr_spread * normal(seed, people.subject, "ecg.pr")[:, 0]
    pr = pr.clamp(P.pr_least, BEFORE - 20)
    time = torch.arange(-BEFORE, 20, STEP, device=weight.device)
    times = atria.atrial_activation(hearts, points) - pr[:, None]
    p_wave = atria.p_wave(weight, times.float(), time) * ~people.in_af[:, None, None]
    fibrillation = weight.new_zeros(len(weight), weight.shape[1], RAW_SAMPLING_RATE * RECORD_SECONDS)
    rows = people.in_af.nonzero()[:, 0]
    if len(rows):
        fibrillation[rows] = atria.fibrillatory_waves(seed, people.subject[rows], points[rows], weight[rows])
    return p_wave, fibrillation, pr


def _rate_shift(hearts: Hearts, rhythm: Rhythm) -> torch.Tensor:
    """ms by which each beat's T wave (n, beats) comes later than at the mean rate."""
    mean = 60 / hearts.heart_rate[:, None]
    paced = mean + P.rate_memory * (rhythm.interval - mean)
    return ACTIVATION.duration * (paced**ACTIVATION.duration_power - mean**ACTIVATION.duration_power)


def _place(template: torch.Tensor, onset: torch.Tensor, start: float) -> torch.Tensor:
    """A recording (n, 9, 5000) with `template` (n, 9, samples) `start` ms after each `onset` (n, beats) s.

    A beat ends where the next begins. Beats are moved to the nearest sample, at most 1 ms.
    """
    first = torch.round((onset + start / 1000) * RAW_SAMPLING_RATE).long()
    time = torch.arange(RAW_SAMPLING_RATE * RECORD_SECONDS, device=template.device).expand(len(onset), -1)
    beat = torch.searchsorted(first, time.contiguous(), right=True) - 1
    position = time - first.gather(1, beat.clamp(min=0))
    padded = torch.nn.functional.pad(template, (0, 1))
    # The added last sample is 0: past a template's end there is nothing.
    position = position.clamp(max=template.shape[-1])[:, None].expand(-1, template.shape[1], -1)
    return padded.gather(2, position)


def _rows(record: Hearts, part: slice) -> Hearts:
    """The same record, of whose tensors, and those of the records in it, only `part` of the subjects is kept."""
    values = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    kept = {
        name: _rows(value, part) if dataclasses.is_dataclass(value) else value[part] for name, value in values.items()
    }
    return dataclasses.replace(record, **kept)


def _samples(duration: float) -> int:
    return round(duration / STEP)
