"""Augmentation, reading a store, simulation and embedding beside the plain way: one after another."""

import numpy as np
import torch
from torch.utils.data import DataLoader

from mmcl.config import LEADS
from mmcl.data.augmentation import augment_cmr, augment_ecg
from mmcl.models.ecg_encoder import EcgEncoder
from mmcl.models.pretrained import PretrainedEncoder
from mmcl.profiles import profile
from mmcl.simulation import cohort
from mmcl.simulation.cohort import simulate_batches
from mmcl.training.batches import Loader, Order, StoredPairs, generator
from tests.benchmarks.bench_ecg_preprocessing import classic_baseline
from tests.benchmarks.reference import models
from tests.benchmarks.reference.augmentation import augment_one_cmr, augment_one_ecg
from tests.benchmarks.reference.training import SIDE, Augmented
from tests.benchmarks.roofline import stored_batch
from tests.benchmarks.timing import Comparison, in_turn

PAPER = profile("paper")
ROUNDS = 9
FEW = 8
"""Subjects that the plain way takes in a turn."""


def test_ecg_augmentation(benchmark, device, hardware, keep):
    records, random = stored_batch(PAPER, PAPER.mdm.batch)["ecg"], np.random.default_rng(0)
    window, recipe, there = PAPER.ecg.window, PAPER.mdm.augmentation, records.to(device)

    def fast():
        return augment_ecg(there, window, recipe, True, generator(device, 0))

    def plain():
        return [augment_one_ecg(record, window, recipe, True, random) for record in records[:FEW].numpy()]

    moved = hardware.moving(records[:, :, :window], fast()) / len(records)
    comparison = Comparison("ECG augmentation", f"batch {len(records)}", "ECGs", moved)
    keep(in_turn(comparison, (fast, len(records)), (plain, FEW), device, ROUNDS))
    benchmark.pedantic(fast, rounds=3)


def test_cmr_augmentation(benchmark, device, hardware, keep):
    images, random = stored_batch(PAPER, PAPER.mmcl.batch)["cmr"], np.random.default_rng(0)
    recipe, there = PAPER.mmcl.cmr_augmentation, images.to(device)

    def fast():
        return augment_cmr(there, PAPER.cmr, recipe, generator(device, 0))

    def plain():
        return [augment_one_cmr(image, SIDE, recipe, random) for image in images[:FEW].numpy()]

    moved = hardware.moving(images, fast()) / len(images)
    size = f"batch {len(images)}, {PAPER.cmr.image_size} px, reference {SIDE} px"
    comparison = Comparison("CMR augmentation", size, "hearts", moved)
    keep(in_turn(comparison, (fast, len(images)), (plain, FEW), device, ROUNDS))
    benchmark.pedantic(fast, rounds=3)


def test_reading(benchmark, store, device, hardware, keep):
    """An epoch of a store that the page cache holds, as both trainings take it in: nothing is augmented."""
    pairs, batch = StoredPairs(store, np.arange(len(store))), 16
    data = Loader(pairs, Order(len(pairs), batch, seed=0, training=True), device)

    def one(item, random):
        return {name: torch.from_numpy(value.copy()) for name, value in item.items()}

    def fast():
        return list(data)

    def plain():
        loader = DataLoader(Augmented(pairs, one), batch, shuffle=True)
        return [{name: value.to(device) for name, value in one.items()} for one in loader]

    # Every byte is read and written.
    moved = 2 * hardware.moving(*pairs.arrays.values()) / len(store)
    comparison = Comparison("store reading", f"{len(store)} subjects, batch {batch}", "subjects", moved)
    keep(in_turn(comparison, (fast, len(store)), (plain, len(store)), device, ROUNDS))
    benchmark.pedantic(fast, rounds=3)


def test_simulation(benchmark, device, hardware, keep, monkeypatch):
    """Pairs of ECG and three frames; plainly, one heart after another."""
    block = cohort.BLOCK[device.type]

    def fast():
        return list(simulate_batches(range(block), device=device))

    def plain():
        with monkeypatch.context() as patch:
            patch.setitem(cohort.BLOCK, device.type, 1)
            return list(simulate_batches(range(FEW), device=device))

    made = fast()[0]
    moved = hardware.moving(made.ecg, made.cmr, made.masks) / len(made)
    comparison = Comparison("simulation", f"blocks of {block}", "pairs", moved)
    keep(in_turn(comparison, (fast, block), (plain, FEW), device, 5))
    benchmark.pedantic(fast, rounds=1)


def test_embedding(benchmark, device, hardware, keep):
    """Raw ECGs to features of their first window; plainly, one by one, with the general sparse solver."""
    torch.manual_seed(0)
    encoder = EcgEncoder(PAPER.ecg, PAPER.encoder)
    pretrained = PretrainedEncoder(encoder, LEADS, PAPER.ecg.sampling_rate).to(device).eval()
    published = models.EcgEncoder(PAPER.ecg, PAPER.encoder, norm="fc_norm").eval()
    published.load_state_dict(encoder.state_dict())
    published.to(device)
    raw = np.random.default_rng(0).standard_normal((32, len(LEADS), PAPER.ecg.record)).cumsum(axis=-1) * 0.01

    def fast():
        return pretrained.embed(raw, PAPER.ecg.sampling_rate, tile=False)

    @torch.no_grad()
    def plain():
        ecg = np.clip(raw[0], -4 * raw[0].std(), 4 * raw[0].std())
        ecg = ecg - classic_baseline(ecg)
        for leads in ([0, 1, 2], [3, 4, 5], [6, 7, 8, 9, 10, 11]):
            ecg[leads] = (ecg[leads] - ecg[leads].mean()) / np.sqrt(ecg[leads].var() + 1e-12)
        window = torch.from_numpy(ecg[None, :, : PAPER.ecg.window].astype(np.float32))
        return published(window.to(device)).cpu().numpy()

    np.testing.assert_allclose(plain()[0], fast()[0], rtol=0, atol=0.05)
    window = torch.zeros(1, len(LEADS), PAPER.ecg.window)
    least = hardware.products_alone(lambda: EcgEncoder(PAPER.ecg, PAPER.encoder)(window))
    comparison = Comparison("embedding of raw ECGs", f"{len(raw)} ECGs, first window", "ECGs", least)
    keep(in_turn(comparison, (fast, len(raw)), (plain, 1), device, 5))
    benchmark.pedantic(fast, rounds=1)
