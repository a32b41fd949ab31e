"""Pairs a second of the simulated cohort, ECG and three frames of the middle slice, on one core (`make bench`)."""

import torch

from mmcl.simulation.cohort import simulate_batches

PAIRS = 256


def simulate(count):
    for part in simulate_batches(range(count), images=True):
        assert len(part)


def test_simulation_speed(benchmark):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        simulate(16)
        benchmark.pedantic(simulate, args=(PAIRS,), rounds=3)
    finally:
        torch.set_num_threads(threads)
    rate = PAIRS / benchmark.stats.stats.median
    print(f"\n{rate:.0f} pairs/s on one core; 2,000 pairs in {2000 / rate:.0f} s")
