"""Which rows a process takes in a step, and how they reach the device."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmcl.data.store import Store
from mmcl.training.batches import _RESIDENT, Batches, Loader, Order, StoredPairs

CPU = torch.device("cpu")


def epochs(n, batch, world, training=True, epoch=0):
    """Positions by process and step."""
    orders = [Order(n, batch, 7, training, rank, world) for rank in range(world)]
    return [[part.tolist() for part in order.epoch(epoch)] for order in orders]


@pytest.mark.parametrize("n, batch", [(48, 16), (50, 16), (9, 16), (16, 4), (1003, 12)])
@pytest.mark.parametrize("world", [1, 2, 4])
def test_training_steps_hold_the_same_rows_whatever_the_number_of_processes(n, batch, world):
    processes = epochs(n, batch, world)
    alone = epochs(n, min(batch, n - n % world), 1)[0]
    assert len({len(steps) for steps in processes}) == 1, "processes take unequally many steps"
    for step, whole in enumerate(alone):
        parts = [steps[step] for steps in processes]
        assert len({len(part) for part in parts}) == 1, "a batch is shared unevenly"
        assert sorted(sum(parts, [])) == sorted(whole)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_no_row_comes_twice_in_an_epoch_and_less_than_a_batch_is_left(world):
    for epoch in range(3):
        seen = sum(sum(epochs(1003, 12, world, epoch=epoch), []), [])
        assert len(seen) == len(set(seen)) == 1003 // 12 * 12


def test_every_row_gets_its_turn():
    seen = {row for epoch in range(12) for row in sum(epochs(50, 16, 1, epoch=epoch)[0], [])}
    assert seen == set(range(50))


def test_epochs_differ_and_repeat():
    assert epochs(48, 16, 2, epoch=1) == epochs(48, 16, 2, epoch=1) != epochs(48, 16, 2, epoch=2)


@pytest.mark.parametrize("n", [4, 15, 16, 17, 33, 100])
@pytest.mark.parametrize("world", [1, 2, 4])
def test_validation_has_the_same_batches_whatever_the_number_of_processes(n, world):
    alone = epochs(n, 16, 1, training=False)[0]
    assert sum(alone, []) == list(range(n))
    sizes = [len(part) for part in alone]
    assert max(sizes) <= 16 and max(sizes) - min(sizes) <= 1
    processes = epochs(n, 16, world, training=False)
    assert len({len(steps) for steps in processes}) == 1, "processes take unequally many steps"
    if len(alone) % world:
        assert all(steps == alone for steps in processes)
    else:
        assert sorted(sum(processes, [])) == sorted(alone)


@pytest.mark.parametrize(
    "n, batch, world, message",
    [
        (0, 16, 1, "no training subjects"),
        (9, 15, 2, "15 cannot be shared evenly by 2"),
        (1, 16, 2, "1 training subjects cannot be shared by 2"),
    ],
)
def test_what_cannot_be_shared_is_an_error(n, batch, world, message):
    with pytest.raises(ValueError, match=message):
        Order(n, batch, 0, True, 0, world)


@pytest.fixture
def store(smoke_run):
    return Store.open(smoke_run.store)


@pytest.fixture
def pairs(store):
    rows = store.indices("train")[::-1].copy()
    labels = np.arange(2.0 * len(rows)).reshape(-1, 2)
    return StoredPairs(store, rows, ("ecg", "cmr", "subject"), labels)


@pytest.mark.parametrize("resident", [False, True])
def test_a_batch_holds_the_rows_of_the_store(pairs, store, resident):
    order = Order(len(pairs), 4, 0, True)
    batches = list(Loader(pairs, order, CPU, lambda: 3, resident))
    assert len(batches) == len(order) > 2
    for batch, positions in zip(batches, order.epoch(3), strict=True):
        rows = pairs.indices[positions.numpy()]
        assert batch["ecg"].dtype == torch.float16 and batch["cmr"].dtype == torch.uint8
        assert np.array_equal(batch["ecg"].numpy(), store.ecg[rows])
        assert np.array_equal(batch["cmr"].numpy(), store.cmr[rows])
        assert np.array_equal(batch["label"].numpy(), pairs.labels[positions].numpy())
    _RESIDENT.clear()


def test_a_resident_array_is_copied_once(pairs):
    loaders = [Loader(pairs, Order(len(pairs), 4, seed, True), CPU, resident=True) for seed in (0, 1)]
    for loader in loaders:
        next(iter(loader))
    assert len(_RESIDENT) == len(pairs.arrays)
    kept = {key: array.data_ptr() for key, array in _RESIDENT.items()}
    next(iter(loaders[1]))
    assert {key: array.data_ptr() for key, array in _RESIDENT.items()} == kept
    _RESIDENT.clear()


def test_a_reader_that_fails_says_so_where_the_batch_is_asked_for(pairs, monkeypatch):
    def broken(*arguments, **keywords):
        raise OSError("the disk is gone")

    monkeypatch.setattr(StoredPairs, "read", broken)
    with pytest.raises(OSError, match="the disk is gone"):
        next(iter(Loader(pairs, Order(len(pairs), 4, 0, True), CPU)))


def test_a_loader_left_early_ends_its_thread(pairs):
    batches = iter(Loader(pairs, Order(len(pairs), 2, 0, True), CPU))
    next(batches)
    batches.close()


def test_whole_validation_is_the_same_for_all_processes(pairs):
    def loader(rank, whole):
        data = Batches(pairs, pairs, 6, 0, whole_validation=whole)
        strategy = SimpleNamespace(root_device=CPU)
        data.trainer = SimpleNamespace(global_rank=rank, world_size=2, strategy=strategy)
        return [part.tolist() for part in data.val_dataloader().order.epoch(0)]

    assert loader(0, True) == loader(1, True)
    assert sorted(sum(loader(0, True), [])) == list(range(len(pairs)))
    assert not set(sum(loader(0, False), [])) & set(sum(loader(1, False), []))


@pytest.mark.gpu
def test_arrays_live_on_a_gpu_where_they_fit(pairs, monkeypatch):
    device = torch.device("cuda", 0)
    order = Order(len(pairs), 4, 0, True)
    here = list(Loader(pairs, order, device))
    assert _RESIDENT and all(array.is_cuda for array in _RESIDENT.values())
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 1 << 30))
    _RESIDENT.clear()
    streamed = Loader(pairs, order, device)
    assert not streamed.resident
    for one, other in zip(here, streamed, strict=True):
        assert one.keys() == other.keys()
        assert all(other[name].is_cuda and torch.equal(one[name], other[name]) for name in one)


def test_a_set_of_a_store_is_known_by_its_content(pairs, store):
    other = dataclasses.replace(store, meta=store.meta | {"checksums": {"ecg.npy": "another"}})
    assert StoredPairs(Store(**vars(other)), pairs.indices).origin != pairs.origin
