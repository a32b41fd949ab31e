"""Features of every subject in a store that need no representation learning, by the name of their reference."""

from __future__ import annotations

import numpy as np
import torch

from mmcl.atomic import atomic_path
from mmcl.config import fingerprint
from mmcl.data.store import Store
from mmcl.evaluation.references import demographic_features, median_beats, principal_components
from mmcl.provenance import code_fingerprint, is_finished, write_json
from mmcl.setting import Setting

COMPONENTS = 64
"""Of the median beat, at most; how many serve is chosen on validation."""

BATCH = 256
"""Hearts that are built at once."""


def lacking(name: str, setting: Setting) -> str:
    """Why the run's cohort cannot have the reference `name`; empty when it can."""
    store = Store.open(setting.run.store)
    if name == "ecg features" and not _measured(store):
        return "the store holds no measurements of ECGs"
    if name == "median beat" and store.ecg is None:
        return "the store holds no ECGs"
    if name == "true geometry" and not store.subjects["subject"].str.fullmatch(r"sim\d{7}").all():
        return "the true hearts are known of simulated subjects alone"
    return ""


def reference_features(name: str, setting: Setting) -> np.ndarray:
    """Features (subjects, d) float64 of the whole store, NaN where unknown; ValueError where the cohort lacks them.

    | name | features |
    |---|---|
    | `demographics` | age, sex, height, weight, body surface area |
    | `ecg features` | classical measurements, in millivolt and ms |
    | `median beat` | components of the 12-lead median beat, by falling variance, fitted on training subjects |
    | | (of the ECG as stored, z-scored: the absolute voltage is lost to it as to the encoders) |
    | `true geometry` | the 82 phenotypes of the simulated heart without errors and gaps, scar depth of 16 segments |

    The latter two are computed once and kept.
    """
    if reason := lacking(name, setting):
        raise ValueError(f"reference {name!r}: {reason}")
    store = Store.open(setting.run.store)
    if name == "demographics":
        return demographic_features(store.subjects).to_numpy(dtype=np.float64)
    if name == "ecg features":
        return store.subjects[_measured(store)].to_numpy(dtype=np.float64)
    path = setting.run.folder / "features" / f"{name.replace(' ', '_')}.npy"
    numbers = (setting.profile.cohort, setting.profile.ecg.sampling_rate)
    code = code_fingerprint("mmcl.training.reference_features")
    mark = fingerprint(name, setting.run.seed, numbers, store.meta["checksums"], code)
    if not is_finished(path.with_suffix(".json"), mark):
        compute = {"median beat": _components, "true geometry": _geometry}[name]
        with atomic_path(path) as part, part.open("wb") as file:
            np.save(file, compute(store, setting))
        write_json(path.with_suffix(".json"), {"fingerprint": mark})
    return np.load(path, allow_pickle=False)


def _measured(store: Store) -> list[str]:
    return [column for column in store.subjects if column.startswith("ecg_")]


def _components(store: Store, setting: Setting) -> np.ndarray:
    beats = median_beats(store.ecg, setting.profile.ecg.sampling_rate)
    return principal_components(beats, store.indices("train"), COMPONENTS)


def _geometry(store: Store, setting: Setting) -> np.ndarray:
    """The hearts built again from the cohort's seed; ValueError where these are not those of the store."""
    from mmcl.simulation.heart import build_hearts
    from mmcl.simulation.phenotypes import measure
    from mmcl.simulation.population import sample_people

    seed, parts, ages = setting.run.seed, [], []
    numbers = torch.as_tensor(store.subjects["subject"].str.removeprefix("sim").astype(np.int64).to_numpy())
    for some in numbers.split(BATCH):
        people = sample_people(seed, some, setting.profile.cohort.odds)
        hearts = build_hearts(seed, people)
        measures = measure(hearts)
        parts.append(np.column_stack([*measures.values(), hearts.transmurality.cpu().numpy()]))
        ages.append(people.age.cpu().numpy())
    age, known = np.concatenate(ages), store.subjects["age"].to_numpy(dtype=np.float64)
    other = np.flatnonzero(~np.isclose(age, known, rtol=1e-4))
    if other.size:
        row = other[0]
        raise ValueError(
            f"{store.folder}: subject {store.subjects['subject'][row]} is {known[row]:g} years old, expected "
            f"{age[row]:g} of cohort seed {seed}: the store was made by another simulation"
        )
    return np.concatenate(parts)
