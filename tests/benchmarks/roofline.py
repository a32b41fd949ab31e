"""What a training step needs and what the hardware allows: `python -m tests.benchmarks.roofline`.

Operations are counted on the real step, forward and backward, by PyTorch's own counter (products, convolutions and
attention; a multiply-add is two). Bytes are what such an operator has to read and write, at the width of the fastest
format; all that lies between is taken to be fused into them, which no program does quite. To these come the update,
which reads parameter, gradient and two moments and writes all but the gradient, and the batch as stored. A step can be
no faster than max(operations / rate of products, bytes / bandwidth). Beside it, what is moved when every operator of
the step reads and writes its operands in float32, as PyTorch does without compilation.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry, sdpa_backward_flop_count, sdpa_flop_count

from mmcl.config import Profile, preset
from mmcl.profiles import profile
from mmcl.setting import choose_device
from mmcl.training.batches import generator
from mmcl.training.pretraining import new_module
from tests.benchmarks.timing import rate, seconds

ATEN = torch.ops.aten
ATTENTION_ON_CPU = {
    ATEN._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v),
    ATEN._scaled_dot_product_flash_attention_for_cpu_backward: lambda grad, q, k, v, *_, **__: sdpa_backward_flop_count(
        grad, q, k, v
    ),
}
"""Operators that PyTorch's counter does not know."""

DATA_SHEETS = {
    "H100": {"bfloat16": 989e12, "float32": 67e12, "bandwidth": 3.35e12},
    "H200": {"bfloat16": 989e12, "float32": 67e12, "bandwidth": 4.8e12},
}
"""Operations and bytes a second, dense, of the SXM boards (NVIDIA's data sheets of H100 and H200 Tensor Core GPU)."""

UPDATE_PASSES = 7
"""Adam reads parameter, gradient and both moments, and writes parameter and moments."""

SINGLE = 4
"""Bytes of a float32."""

SCHEDULES = {"mdm": "MDM", "mmcl": "MMCL"}


class Traffic(TorchDispatchMode):
    """Sums the elements that products touch, and the bytes of the operands of every operator that is no mere view."""

    def __init__(self):
        super().__init__()
        self.product_elements, self.every_byte = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = [x for x in tree_leaves((args, kwargs, result)) if isinstance(x, torch.Tensor)]
            self.every_byte += sum(x.nbytes for x in tensors)
            if func.overloadpacket in flop_registry or func.overloadpacket in ATTENTION_ON_CPU:
                self.product_elements += sum(x.numel() for x in tensors)
        return result


@dataclass(frozen=True)
class Cost:
    """Of one step: `operations`; `elements` that products touch; bytes of the `update` and of the batch as stored
    (`data`); `unfused`, bytes when every operator moves its operands."""

    operations: float
    elements: float
    update: float
    data: float
    unfused: float

    def bytes(self, width: int) -> float:
        """Least bytes moved, with products on elements of `width` bytes."""
        return self.elements * width + self.update + self.data


@dataclass(frozen=True)
class Hardware:
    """Measured rates of products by format (operations a second), and bandwidth (bytes a second)."""

    name: str
    products: dict[str, float]
    bandwidth: float

    @property
    def format(self) -> str:
        return max(self.products, key=self.products.get)

    def step(self, cost: Cost) -> float:
        """Least seconds of a step."""
        width = getattr(torch, self.format).itemsize
        return max(cost.operations / self.products[self.format], cost.bytes(width) / self.bandwidth)

    def products_alone(self, function: Callable[[], object]) -> float:
        """Least seconds of the products in `function`."""
        return counted(function)[0] / self.products[self.format]

    def moving(self, *arrays: np.ndarray | torch.Tensor) -> float:
        """Least seconds to move every byte of `arrays` once."""
        return sum(array.nbytes for array in arrays) / self.bandwidth


def measure_hardware(device: torch.device) -> Hardware:
    """Best of several: products of large square matrices, and a sum of two large vectors into a third."""
    side, length = (8192, 2**28) if device.type == "cuda" else (1536, 2**25)
    products = {}
    for name in ("float32", "bfloat16"):
        one, other = (torch.ones(side, side, device=device, dtype=getattr(torch, name)) for _ in range(2))
        products[name] = 2 * side**3 / _best(lambda one=one, other=other: one @ other, device)
    x, y, z = (torch.ones(length, device=device) for _ in range(3))
    triad = _best(lambda: torch.add(x, y, alpha=2.0, out=z), device)
    return Hardware(device_name(device), products, 3 * x.nbytes / triad)


def _best(function: Callable[[], object], device: torch.device, times: int = 15) -> float:
    function()
    return min(seconds(function, device) for _ in range(times))


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    with open("/proc/cpuinfo") if os.path.exists("/proc/cpuinfo") else open(os.devnull) as file:
        models = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    return f"{models[0] if models else 'CPU'}, {torch.get_num_threads()} threads"


def stored_batch(profile: Profile, batch: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random subjects in the shapes and formats of a store."""
    random, side = np.random.default_rng(seed), profile.cmr.crop
    ecg = random.standard_normal((batch, 12, profile.ecg.record), dtype=np.float32).astype(np.float16)
    cmr = random.integers(0, 256, (batch, 3, side, side), dtype=np.uint8)
    return {"ecg": torch.from_numpy(ecg), "cmr": torch.from_numpy(cmr)}


@functools.cache
def pretraining_cost(arm: str, profile: Profile, batch: int) -> Cost:
    """Cost of a training step of `batch` subjects."""
    module = new_module(arm, profile, preset("corrected"), 0)
    module.record = lambda *arguments, **scores: None

    def loss(size: int) -> torch.Tensor:
        return module.step("train", stored_batch(profile, size), generator(torch.device("cpu"), 0))

    data = sum(stored_batch(profile, 1)[name].nbytes for name in module.fields)
    return step_cost(loss, module.model, data, batch)


def step_cost(loss: Callable[[int], torch.Tensor], model: nn.Module, data: int, batch: int) -> Cost:
    """Cost of a step of `batch` subjects, whose loss is `loss(batch)`; each is `data` bytes as stored.

    It is counted at two small batches, for it grows linearly with them. (The logits of the contrastive loss grow with
    the square, some millions among 10^12 operations.)
    """

    def at(size: int) -> np.ndarray:
        model.zero_grad()  # a gradient that is there would be added to
        return counted(lambda: loss(size).backward())

    small, large = at(2), at(4)
    operations, elements, unfused = small + (large - small) * (batch - 2) / 2
    update = UPDATE_PASSES * SINGLE * sum(p.numel() for p in model.parameters() if p.requires_grad)
    return Cost(operations, elements, update, data * batch, unfused + update)


def counted(function: Callable[[], object]) -> np.ndarray:
    """Operations, elements that products touch, and bytes of all operands, of what `function` does with tensors."""
    flops, traffic = FlopCounterMode(display=False, custom_mapping=ATTENTION_ON_CPU), Traffic()
    with torch.compiler.set_stance("force_eager"), flops, traffic:
        function()
    return np.array([flops.get_total_flops(), traffic.product_elements, traffic.every_byte], dtype=float)


def roofline(hardware: Hardware, sizes: Profile) -> list[dict[str, object]]:
    """A row a pre-training: what a step needs, its least time, and the hours of the whole schedule at that pace."""
    rows = []
    for arm, label in SCHEDULES.items():
        recipe = getattr(sizes, arm)
        cost = pretraining_cost(arm, sizes, recipe.batch)
        width = getattr(torch, hardware.format).itemsize
        steps = recipe.epochs * (sizes.cohort.train // recipe.batch)
        rows.append(
            {
                "step": f"{label}, batch {recipe.batch}",
                "arm": arm,
                "batch": recipe.batch,
                "operations": cost.operations,
                "bytes": cost.bytes(width),
                "unfused_bytes": cost.unfused,
                "seconds_by_operations": cost.operations / hardware.products[hardware.format],
                "seconds_by_bytes": cost.bytes(width) / hardware.bandwidth,
                "seconds": hardware.step(cost),
                "steps": steps,
                "hours": steps * hardware.step(cost) / 3600,
            }
        )
    return rows


def published_hardware() -> list[Hardware]:
    """The boards of `DATA_SHEETS`."""
    formats = ("float32", "bfloat16")
    return [
        Hardware(f"{name}, data sheet", {f: sheet[f] for f in formats}, sheet["bandwidth"])
        for name, sheet in DATA_SHEETS.items()
    ]


def span(hours: float) -> str:
    """Hours, or minutes of less than one."""
    return f"{rate(hours)} h" if hours >= 1 else f"{rate(60 * hours)} min"


def table(hardware: list[Hardware], sizes: Profile) -> str:
    """Markdown: a line a device and pre-training."""
    lines = [
        "| device | products, bandwidth | step | operations | bytes (unfused) | least time | whole schedule |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in hardware:
        speed = f"{rate(one.products[one.format] / 1e12)} Tflop/s {one.format}, {rate(one.bandwidth / 1e9)} GB/s"
        for row in roofline(one, sizes):
            by = "operations" if row["seconds_by_operations"] >= row["seconds_by_bytes"] else "bytes"
            lines.append(
                f"| {one.name} | {speed} | {row['step']} | {row['operations'] / 1e12:.2f} T "
                f"| {row['bytes'] / 1e9:.2f} GB ({row['unfused_bytes'] / 1e9:.1f} GB) "
                f"| {rate(1000 * row['seconds'])} ms, by {by} | {span(row['hours'])} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    here = measure_hardware(choose_device(os.environ.get("DEVICE", "auto")))
    print(table([here, *published_hardware()], profile("paper")))
