"""What notebook 10 tells of: `python -m tests.benchmarks.curves --profile smoke`, with the options of `python -m mmcl`.

Trains MDM and MMCL for a few epochs on the run's store, as the project does and as published, from the same weights,
with several seeds; asks what the hardware allows; and takes rough rates of every step at the published sizes. All goes
to `benchmark.json` in the run's folder.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch

from mmcl.data.dicom import read_dicom_zip
from mmcl.data.ecg_preprocessing import preprocess_ecg
from mmcl.data.store import Store
from mmcl.profiles import profile
from mmcl.provenance import write_json
from mmcl.setting import Setting, open_setting
from mmcl.simulation.cardiosoft import write_cardiosoft
from mmcl.simulation.dicom import write_dicom_zip
from mmcl.training.batches import StoredPairs
from mmcl.training.pretraining import history, new_module
from tests.benchmarks.fast import Turns, fit, some_subjects
from tests.benchmarks.reference.training import PUBLISHED
from tests.benchmarks.roofline import device_name, measure_hardware, published_hardware, roofline
from tests.benchmarks.stores import random_store
from tests.benchmarks.timing import Comparison

ARMS = ("mdm", "mmcl")
SEEDS = (0, 1, 2)
SUBJECTS, EPOCHS = 512, 5
"""Training subjects and epochs at most."""

STUDY = (12, 50, 210, 208)
"""Slices, frames, rows and columns of a cine in UK Biobank."""

BATCH_ON_CPU = 8
"""Subjects of a step at the published sizes; on a GPU as many as published."""


def curves(setting: Setting) -> Iterator[dict[str, object]]:
    """Mean training loss of each epoch by arm, seed and path ("fast", "reference"), hearts at the profile's size."""
    store = Store.open(setting.run.store)
    rows = store.indices("train")[:SUBJECTS]
    for arm in ARMS:
        recipe = getattr(setting.profile, arm)
        recipe = dataclasses.replace(recipe, epochs=min(recipe.epochs, EPOCHS), warmup=1, batch=min(recipe.batch, 64))
        sizes = dataclasses.replace(setting.profile, **{arm: recipe})
        for seed in SEEDS:
            pl.seed_everything(seed, verbose=False)
            module = new_module(arm, sizes, setting.preset, seed)
            subjects = tuple(StoredPairs(store, r, module.fields) for r in (rows, store.indices("validation")))
            published = PUBLISHED[arm](module, sizes, setting.device, side=sizes.cmr.image_size)
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name) / f"{arm} seed {seed}"
                fit(module, subjects, recipe.batch, folder, setting.device, pl.Callback())
                losses = {"fast": history(folder)["train_loss"]}
            losses["reference"] = list(published.train(subjects[0], recipe.batch))
            for path, values in losses.items():
                yield from (
                    {"arm": arm, "seed": seed, "path": path, "epoch": epoch, "loss": loss}
                    for epoch, loss in enumerate(values)
                )


def rough_rates(setting: Setting) -> dict[str, float]:
    """The fields of `mmcl.planning.Rates`, each from one run after a first: no substitute for `make bench`."""
    paper, device = profile("paper"), setting.device
    random = np.random.default_rng(0)
    rates = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ecgs = random.standard_normal((32, 12, 5000)).cumsum(axis=-1) * 0.01
        preprocess_ecg(ecgs[:2])
        rates["preprocess_ecg"] = _rate(len(ecgs), preprocess_ecg, ecgs)
        write_cardiosoft(folder / "a.xml", ecgs[0].astype(np.float32))
        # Coarse noise on a smooth ground deflates about as scanned images do.
        cine = random.integers(0, 8, STUDY).astype(np.uint8) + np.linspace(0, 200, STUDY[-1]).astype(np.uint8)
        write_dicom_zip(folder / "a.zip", "s", cine, (1.8, 1.8, 10.0))
        rates["preprocess_cine"] = _rate(1, read_dicom_zip, folder / "a.zip", "s")
        rates |= {"raw_ecg": (folder / "a.xml").stat().st_size, "raw_cine": (folder / "a.zip").stat().st_size}
        store = random_store(folder / "store", paper, 64)
        rates["read"] = _rate(len(store), StoredPairs(store, np.arange(len(store))).read, torch.arange(len(store)))
        for arm in ARMS:
            batch = BATCH_ON_CPU if device.type == "cpu" else getattr(paper, arm).batch
            recipe = dataclasses.replace(getattr(paper, arm), epochs=1, warmup=1, batch=batch)
            module = new_module(arm, dataclasses.replace(paper, **{arm: recipe}), setting.preset, 0)
            times = Comparison(arm, "", "subjects", 1.0)
            turns = Turns(times, lambda: None, lambda: None, batch, steps=1, rounds=2)
            fit(module, some_subjects(module, store, None, 4 * batch), batch, folder / arm, device, turns)
            rates[arm] = 1 / min(times.fast)
    return rates


def _rate(items: int, function, *arguments) -> float:
    start = time.perf_counter()
    function(*arguments)
    return items / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in {"profile": "demo", "cohort": "simulated", "device": "auto", "preset": "corrected"}.items():
        parser.add_argument(f"--{name}", default=default)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    setting = open_setting(given.profile, given.cohort, given.seed, given.device, given.preset)
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    losses = pd.DataFrame(curves(setting))
    hardware = [measure_hardware(setting.device), *published_hardware()]
    limits = [{"device": one.name, **row} for one in hardware for row in roofline(one, profile("paper"))]
    content = {
        "curves": losses.to_dict("records"),
        "subjects": min(SUBJECTS, len(Store.open(setting.run.store).indices("train"))),
        "device": device_name(setting.device),
        "limits": limits,
        "rates": rough_rates(setting),
    }
    write_json(setting.run.folder / "benchmark.json", content)


if __name__ == "__main__":
    main()
