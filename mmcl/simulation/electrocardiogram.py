"""Electrocardiogram: the 12-lead recording of each heart, 10 s at 500 Hz in millivolt, with its truth.

One P wave, one QRS complex and one T wave are computed for each heart at its nine electrodes (`source`, `atria`,
`conductor`), placed at the beats of its rhythm (`rhythm`), moved by breathing and covered with noise (`recording`), and
only then formed into leads. Premature beats have waves of their own. Left out: rate-dependent conduction,
sinus P waves during a ventricular beat's pause.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TypeVar

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

CHUNK = {"cpu": 16, "cuda": 256}
"""Subjects computed at a time by type of device; bounds the memory (about 20 MB a subject)."""

Record = TypeVar("Record")

STEP = source.STEP
BEFORE = 300.0
"""ms by which the template of a beat begins before the ventricles activate: room for a long PR interval."""
QRS_START, QRS_END, T_START, T_END = -30.0, 280.0, 100.0, 800.0
"""ms after the first activation between which the QRS and the T wave are computed."""
ST_TIME = 220.0
"""ms after the first activation by which even a blocked ventricle has depolarised."""
QRS_LEVEL = 0.025
"""mV root mean square of all leads that bounds a QRS complex: one level for all, lest a taller complex seem shorter."""


@dataclass(frozen=True)
class Electrocardiogram:
    """Recordings and their truth.

    `signal` (n, 12, 5000) float32, mV; `r_times` (n, beats) s within the recording, NaN-padded; `ectopic` (n, beats)
    int64, in step with `r_times`: 0 a beat of the usual rhythm, 1 an atrial, 2 a ventricular premature beat;
    `activation` (n, nodes) ms after the first breakthrough; `electrodes` (n, 9, 3) m, where they truly lie in torso
    coordinates, in the order of `conductor.ELECTRODES`; `pr`, `qrs`, `qt` (n,) ms and `axis` (n,) degrees, measured
    without noise (`pr` is NaN in atrial fibrillation); `beat` (n, 12, samples) mV, one noise-free beat of
    the usual rhythm that begins `BEFORE` ms before the ventricles.
    """

    signal: torch.Tensor
    r_times: torch.Tensor
    ectopic: torch.Tensor
    activation: torch.Tensor
    electrodes: torch.Tensor
    pr: torch.Tensor
    qrs: torch.Tensor
    qt: torch.Tensor
    axis: torch.Tensor
    beat: torch.Tensor


def simulate_ecg(seed: int, hearts: Hearts, noise: bool = True) -> Electrocardiogram:
    """Simulate the resting ECG of each of `hearts`; the same subject gives the same recording in any batch."""
    n = len(hearts.people.subject)
    size = CHUNK.get(hearts.centre.device.type, CHUNK["cpu"])
    parts = [_simulate(seed, rows_of(hearts, slice(start, start + size)), noise) for start in range(0, n, size)]
    return Electrocardiogram(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def _simulate(seed: int, hearts: Hearts, noise: bool) -> tuple[torch.Tensor, ...]:
    people = hearts.people
    mesh = source.build_mesh(hearts)
    atrial_points = atria.atrial_points(hearts)
    torso = build_torso(seed, people, torch.cat([mesh.points, atrial_points], dim=1))
    rhythm = sample_rhythm(seed, people.subject, hearts.heart_rate, people.age, people.in_af)
    depolarisation, repolarisation, active = ventricular_waves(seed, hearts, mesh, torso)
    p_wave, fibrillation, pr = _atrial_waves(seed, hearts, torso, atrial_points)

    first = depolarisation + p_wave
    later = rhythm.onset + _rate_shift(hearts, rhythm) / 1000
    potential = _place(first, rhythm.onset, -BEFORE) + _place(repolarisation, later, T_START)
    ventricular_peak = torch.zeros_like(pr)
    rows = (rhythm.ectopic > 0).any(dim=1).nonzero()[:, 0]
    if len(rows):
        shapes = _premature_shapes(seed, rows_of(hearts, rows), rows_of(mesh, rows), rows_of(torso, rows), pr[rows])
        shapes = [
            (first[rows], repolarisation[rows]),
            (depolarisation[rows] + shapes[0], repolarisation[rows]),
            shapes[1:],
        ]
        potential[rows] = sum(
            _place(early, rhythm.onset[rows], -BEFORE, rhythm.ectopic[rows] == kind)
            + _place(late, later[rows], T_START, rhythm.ectopic[rows] == kind)
            for kind, (early, late) in enumerate(shapes)
        )
        ventricular_peak[rows] = qrs_limits(twelve_leads(shapes[2][0]))[2].to(pr)
    potential = recording.modulate(seed, people.subject, potential + fibrillation, rhythm.breathing)
    if noise:
        potential = recording.add_noise(seed, people.subject, potential, rhythm.breathing)

    ventricular, repolarised = twelve_leads(depolarisation), twelve_leads(repolarisation)
    qrs_onset, qrs_end, peak = qrs_limits(ventricular)
    qt = t_end(repolarised) - qrs_onset
    beat = torch.nn.functional.pad(twelve_leads(first), (0, _samples(T_END - QRS_END)))
    beat[..., _samples(BEFORE + T_START) :] += repolarised
    r_times = rhythm.onset + torch.where(rhythm.ectopic == 2, ventricular_peak[:, None], peak[:, None]) / 1000
    inside = (r_times >= 0) & (r_times < RECORD_SECONDS)
    order = torch.where(inside, r_times, torch.inf).argsort(dim=1)
    r_times = torch.where(inside, r_times, torch.nan).gather(1, order)
    ectopic = torch.where(inside, rhythm.ectopic, 0).gather(1, order)
    pr = torch.where(people.in_af, torch.nan, pr + qrs_onset)
    return (
        twelve_leads(potential), r_times, ectopic, active, torso.electrodes + torso.centre, pr, qrs_end - qrs_onset, qt,
        frontal_axis(ventricular), beat,
    )  # fmt: skip


def ventricular_waves(
    seed: int, hearts: Hearts, mesh: source.Mesh, torso: Torso
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """QRS and T wave at the electrodes, (n, 9, samples) mV each, and the activation times (n, nodes) in ms.

    The QRS is on a grid from -`BEFORE` to `QRS_END`, the T wave from `T_START` to `T_END`, 2 ms apart.
    """
    weight = _ventricular_weights(seed, hearts, mesh, torso)
    active = activation.activate(seed, hearts, mesh)
    usual = activation.usual_activation(seed, hearts, mesh, active)
    return *_waves(weight, active, active + activation.durations(seed, hearts, mesh, usual)), active


def _ventricular_weights(seed: int, hearts: Hearts, mesh: source.Mesh, torso: Torso) -> torch.Tensor:
    """mV at each electrode from a whole action potential of each node, (n, 9, nodes) float32."""
    weight = source.weights(mesh.edges, mesh.conductance, transfer(torso, mesh.points))
    return (SOURCE.amplitude * activation.plateau(seed, hearts, mesh)[:, None] * weight).float()


def _waves(weight: torch.Tensor, active: torch.Tensor, recovered: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """QRS and T wave of nodes that activate and recover at the given ms (n, nodes)."""
    count = _samples(QRS_END - QRS_START)
    qrs = source.wave(weight, active, source.upstroke(count), QRS_START, count)
    qrs = torch.nn.functional.pad(qrs, (_samples(QRS_START + BEFORE), 0))
    count = _samples(T_END - T_START)
    t_wave = source.wave(-weight, recovered, source.recovery(count), T_START, count)
    # A displaced ST segment is handed from one wave to the other, so that each ends at zero.
    time = STEP * torch.arange(qrs.shape[-1], device=qrs.device) - BEFORE
    segment = qrs[..., -1:]
    held = segment * ((time - ST_TIME) / (QRS_END - STEP - ST_TIME)).clamp(0, 1).to(qrs)
    t_wave = t_wave + segment
    shared = _samples(QRS_END - T_START)
    t_wave[..., :shared] += held[..., -shared:] - segment
    return qrs - held, t_wave


def _premature_shapes(
    seed: int, hearts: Hearts, mesh: source.Mesh, torso: Torso, pr: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """P wave of an atrial premature beat, QRS and T wave of a ventricular one, each (n, 9, samples) mV.

    Action potentials are as long as in the usual sequence, so that the T wave turns against the wide QRS.
    """
    points = atria.atrial_points(hearts)
    times = atria.ectopic_activation(seed, hearts, points) - pr[:, None]
    p_wave = atria.p_wave(atria.atrial_weights(torso, points).float(), times, -BEFORE, _samples(BEFORE + QRS_END))
    usual = activation.usual_activation(seed, hearts, mesh, activation.activate(seed, hearts, mesh))
    active = activation.activate_from(activation.ventricular_focus(seed, hearts, mesh), hearts, mesh)
    recovered = active + activation.durations(seed, hearts, mesh, usual)
    return p_wave, *_waves(_ventricular_weights(seed, hearts, mesh, torso), active, recovered)


def qrs_limits(leads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Onset, end and peak (n,) in ms after the first breakthrough, of QRS complexes (n, 12, samples) from -`BEFORE`.

    Onset and end are where the root mean square of all leads crosses `QRS_LEVEL`, before the peak from zero, after it
    from the ST segment.
    """
    time = STEP * torch.arange(leads.shape[-1], device=leads.device) - BEFORE
    peak = time[leads.square().sum(dim=1).argmax(dim=1)]
    level = leads[..., _samples(BEFORE + ST_TIME), None]
    rest = torch.where(time > ST_TIME, leads, level)
    leads = torch.where((time > peak[:, None])[:, None], leads - rest, leads)
    size = leads.square().mean(dim=1).sqrt()
    active = size > QRS_LEVEL
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
    times = atria.atrial_activation(hearts, points) - pr[:, None]
    p_wave = atria.p_wave(weight, times, -BEFORE, _samples(BEFORE + QRS_END)) * ~people.in_af[:, None, None]
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


def _place(
    template: torch.Tensor, onset: torch.Tensor, start: float, chosen: torch.Tensor | None = None
) -> torch.Tensor:
    """A recording (n, 9, 5000) with `template` (n, 9, samples) `start` ms after each `onset` (n, beats) s.

    A beat ends where the next begins; only those `chosen` (n, beats) are written, all without it. Beats are moved to
    the nearest sample, at most 1 ms.
    """
    first = torch.round((onset + start / 1000) * RAW_SAMPLING_RATE).long()
    time = torch.arange(RAW_SAMPLING_RATE * RECORD_SECONDS, device=template.device).expand(len(onset), -1)
    beat = torch.searchsorted(first, time.contiguous(), right=True) - 1
    position = time - first.gather(1, beat.clamp(min=0))
    padded = torch.nn.functional.pad(template, (0, 1))
    # The added last sample is 0: past a template's end there is nothing.
    if chosen is not None:
        position = torch.where(chosen.gather(1, beat.clamp(min=0)), position, template.shape[-1])
    position = position.clamp(max=template.shape[-1])[:, None].expand(-1, template.shape[1], -1)
    return padded.gather(2, position)


def rows_of(record: Record, part: slice | torch.Tensor) -> Record:
    """The same record, of whose tensors, and those of the records in it, only `part` of the subjects is kept.

    What belongs to no subject stays: numbers, and the tensors that the record's `SHARED` names.
    """
    kept = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if dataclasses.is_dataclass(value):
            kept[field.name] = rows_of(value, part)
        elif isinstance(value, torch.Tensor) and field.name not in getattr(record, "SHARED", ()):
            kept[field.name] = value[part]
    return dataclasses.replace(record, **kept)


def _samples(duration: float) -> int:
    return round(duration / STEP)
