"""The preprocessed store of a run on request: the finished one, or made now from raw files or straight from
simulation.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mmcl.config import LEADS, RAW_SAMPLING_RATE, fingerprint
from mmcl.data.cmr_preprocessing import Cine
from mmcl.data.cohort import Entry, Listing, read_participants
from mmcl.data.manifest import Manifest, cohort_manifest
from mmcl.data.pipeline import Prepared, Settings, describe, image_side, prepare, preprocess_cohort, write_store
from mmcl.data.pseudonyms import Pseudonyms, key_mark
from mmcl.data.quarantine import Quarantine, Rejection
from mmcl.data.signals import Recording
from mmcl.data.store import Store
from mmcl.data.subjects import subject_table
from mmcl.data.withdrawal import remove_withdrawn
from mmcl.provenance import code_fingerprint, read_json, write_json
from mmcl.setting import Setting
from mmcl.simulation.cohort import identifier, simulate_batches
from mmcl.simulation.export import MARKER

_SLICES = 8
"""Slices of a stack that preprocessing accepts."""


def request_store(
    setting: Setting,
    raw: str | Path = "",
    workers: int = 1,
    dask: str = "",
    strict: bool = False,
    splits: Path | None = None,
) -> Store:
    """The store of `setting`'s run, preprocessed now unless it was made from the same raw data, numbers and code.

    `raw` is the folder of raw files, by default the one that the store was made from before, or that of the run's
    simulation. A simulated cohort without raw files is simulated into the store. Subjects who withdrew since are
    removed. `workers`, `dask`, `strict` and `splits` as in `preprocess_cohort`; a finished store with a quarantine is
    an error too where `strict`.
    """
    run, profile, preset = setting.run, setting.profile, setting.preset
    manifest = cohort_manifest(run.cohort)
    marker = run.folder / "store.made-from.json"
    known = read_json(marker) if marker.exists() else {}
    raw = Path(raw).resolve() if raw else Path(known.get("raw", run.raw))
    numbers = describe(manifest, profile, preset, run.seed)
    code = code_fingerprint("mmcl.data.request")
    mark = fingerprint(numbers, code, key_mark(manifest), _state(manifest, raw))
    if known.get("fingerprint") == mark and (run.store / "store.json").exists():
        store = remove_withdrawn(Store.open(run.store), manifest, raw)
        if strict and store.meta["counts"]["quarantined"]:
            raise ValueError(f"{run.store}: {store.meta['counts']['summary']}, and STRICT asks for none left out")
        return store
    marker.unlink(missing_ok=True)
    simulated = raw / MARKER
    if simulated.exists() and not read_json(simulated)["files"]:
        store = _simulate(setting, manifest, raw)
    else:
        how = {"dask": dask, "strict": strict, "splits": splits}
        store = preprocess_cohort(manifest, raw, run.store, profile, preset, run.seed, workers, **how)
    write_json(marker, {"fingerprint": mark, "raw": raw.as_posix()})
    return store


def _state(manifest: Manifest, raw: Path) -> object:
    """What the raw files are: the simulation's own fingerprint, or names, sizes and times.

    The list of those who withdrew is left out: nothing is made anew for it, see `remove_withdrawn`.
    """
    if (raw / MARKER).exists():
        return read_json(raw / MARKER)["fingerprint"]
    listed = raw / manifest.tables.withdrawn if manifest.tables.withdrawn else None
    files = (path for path in sorted(raw.rglob("*")) if path.is_file() and path != listed)
    return [[path.relative_to(raw).as_posix(), path.stat().st_size, path.stat().st_mtime_ns] for path in files]


def _simulate(setting: Setting, manifest: Manifest, raw: Path) -> Store:
    """Simulate signals and images into the store, no files between; the tables are those in `raw`."""
    run, profile = setting.run, setting.profile
    settings = Settings.of(profile, setting.preset, manifest.cavity_label, image_side(manifest, profile))
    names = Pseudonyms(manifest)
    entries = [Entry(identifier(k), str(manifest.visits[0]), {}) for k in range(profile.cohort.size)]
    listing = Listing(entries, read_participants(manifest, raw, names), Quarantine(), 0, names)
    table = subject_table(manifest, raw, listing, profile.cohort, run.seed, setting.preset.whole_icd_list)
    provenance = describe(manifest, profile, setting.preset, run.seed)
    return write_store(
        run.store, table, lambda start: _simulated_rows(setting, settings), list(settings.arrays), settings, provenance
    )


def _simulated_rows(setting: Setting, settings: Settings) -> Iterator[Prepared | Rejection]:
    cohort = setting.profile.cohort
    images = {name: getattr(cohort, name) for name in ("slices", "frames", "matrix", "spacing")}
    parts = simulate_batches(
        range(cohort.size), setting.run.seed, odds=cohort.odds, **images, device=setting.device, progress=True
    )
    for part in parts:
        for name, signal, frames, labels in zip(part.subjects.index, part.ecg, part.cmr, part.masks, strict=True):
            recording = Recording(signal, LEADS, ("mV",) * len(LEADS), RAW_SAMPLING_RATE, name, "simulated")
            # The middle slice stands for the stack that it was rendered from; its frames are ED, halfway and ES.
            stack = [np.broadcast_to(values, (_SLICES, *values.shape)) for values in (frames, labels)]
            yield prepare(recording, Cine(*stack, (cohort.spacing,) * 2, name, "simulated"), settings, es_frame=2)
