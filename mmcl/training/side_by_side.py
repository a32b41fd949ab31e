"""Several seeds of one supervised training in one process: their tensors are stacked, and one call serves all of them.

Models as small as these keep a GPU waiting for the next kernel; stacked, all seeds share each launch. What comes out is
what comes out one after another: every seed has its own labels, order, augmentation, clipping and early stopping.
"""

from __future__ import annotations

import copy
import os
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytorch_lightning as pl
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call, vmap

from mmcl.config import LEADS
from mmcl.provenance import write_text
from mmcl.training.batches import Batches
from mmcl.training.stopping import early_stopping
from mmcl.training.supervised import Supervised, steps_per_epoch
from mmcl.training.trainer import METRICS, make_trainer

LOGGED = ("train_loss", "validation_loss", "validation_score")


class SideBySide(pl.LightningModule):
    """`models`, alike in all but seed, weights and labels, as one model whose tensors have a leading axis of seeds.

    `batches` hold the data of each: training sets of one size, which those of the seeds of a task are, and the same
    validation set. A model that stops early leaves the stack. `best` holds the best validation score of each and its
    weights, on the CPU, and `epochs` how many epochs each was trained.
    """

    def __init__(self, models: list[Supervised], batches: list[Batches]):
        super().__init__()
        sizes = {len(own.train) for own in batches}
        if len(sizes) > 1:
            raise ValueError(f"training sets of {sorted(sizes)} rows side by side: expected equal sizes")
        self.models, self.batches = models, batches
        self.going = list(range(len(models)))
        self.rules = [early_stopping(model.recipe, model.preset, _named("validation_score", model)) for model in models]
        self.best = [(-float("inf"), {}) for _ in models]
        self.epochs = [0] * len(models)
        self.stack = copy.deepcopy(models[0])
        states = [model.state_dict() for model in models]
        for name, tensor in self.stack.state_dict(keep_vars=True).items():
            tensor.data = torch.stack([state[name] for state in states])
        self.losses: list[torch.Tensor] = []
        self.outputs: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, x: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        """One model's output, or its loss where `label` is given; called through `each`, with the tensors of one."""
        output = self.stack(x)
        return output if label is None else self.stack.loss(output, label)

    def each(self, *inputs: torch.Tensor, shared: bool = False) -> torch.Tensor:
        """`forward` of all models in the stack, the first axis of `inputs` being theirs unless `shared`."""
        tensors = {**dict(self.named_parameters()), **dict(self.named_buffers())}

        def one(tensors: dict[str, torch.Tensor], *inputs: torch.Tensor) -> torch.Tensor:
            return functional_call(self, tensors, inputs)

        axes = (0, *[None if shared else 0] * len(inputs))
        return vmap(one, axes, randomness="different")(tensors, *inputs)

    def train_dataloader(self) -> list:
        return [self._attached(own).train_dataloader() for own in self.batches]

    def val_dataloader(self):
        return self._attached(self.batches[0]).val_dataloader()

    def _attached(self, own: Batches) -> Batches:
        own.trainer = self.trainer
        return own

    def training_step(self, batch: list[dict[str, torch.Tensor]], batch_idx: int) -> torch.Tensor:
        key = (self.current_epoch, batch_idx, self.global_rank)
        x = torch.stack([self.models[k].augmented(batch[k], *key) for k in self.going])
        losses = self.each(x, torch.stack([batch[k]["label"] for k in self.going]))
        self.losses.append(losses.detach())
        return losses.sum()  # no model's weights are in another's loss, so that each gets the gradient of its own

    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None) -> None:
        """Each model's gradient by its own norm, as `torch.nn.utils.clip_grad_norm_` does for one."""
        if not gradient_clip_val:
            return
        gradients = [parameter.grad for parameter in self.parameters() if parameter.grad is not None]
        norms = [torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients]
        scale = (gradient_clip_val / (torch.stack(norms).norm(dim=0) + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(scale.view(-1, *[1] * (gradient.ndim - 1)))

    def validation_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> None:
        self.outputs.append((self.each(self.models[0].plain(batch), shared=True), batch["label"]))

    def on_validation_epoch_end(self) -> None:
        output = torch.cat([part for part, _ in self.outputs], dim=1).cpu()
        label = torch.cat([part for _, part in self.outputs]).cpu()
        losses = torch.stack(self.losses).mean(dim=0).cpu()
        self.outputs.clear()
        self.losses.clear()
        for place, k in enumerate(self.going):
            model = self.models[k]
            scores = model.scores(output[place], label)
            self.log_dict({_named(name, model): value for name, value in scores.items()})
            self.log(_named("train_loss", model), losses[place])
            if scores["validation_score"] > self.best[k][0]:
                weights = {name: tensor[place].to("cpu", copy=True) for name, tensor in self.stack.state_dict().items()}
                self.best[k] = (scores["validation_score"], weights)

    def on_train_epoch_end(self) -> None:
        staying = []
        for place, k in enumerate(self.going):
            self.epochs[k] += 1
            self.rules[k].on_train_epoch_end(self.trainer, self)
            if not self.trainer.should_stop:
                staying.append(place)
            self.trainer.should_stop = False
        self.trainer.should_stop = not staying
        if 0 < len(staying) < len(self.going):
            self._keep(staying)
        self.going = [self.going[place] for place in staying]

    def _keep(self, places: list[int]) -> None:
        """Leave only `places` in the stack, with their moments in the optimiser."""
        for tensor in (*self.parameters(), *self.buffers()):
            tensor.data, tensor.grad = tensor.data[places], None
        for state in self.trainer.optimizers[0].state.values():
            # The count of steps, which has no axis, is that of all.
            state.update({name: moment[places] for name, moment in state.items() if moment.ndim})

    def configure_optimizers(self) -> dict:
        return self.models[0].optimisation(dict(self.stack.named_parameters()), steps_per_epoch(self.trainer))


def fit_side_by_side(
    models: list[Supervised], batches: list[Batches], folders: list[Path], device: torch.device
) -> list[float]:
    """Train all `models`; leave each with its best weights and `metrics.csv` in its folder; their validation scores.

    ValueError when the training sets differ in size.
    """
    # Of attention on a CPU alone, which goes through the stack one by one.
    warnings.filterwarnings("ignore", message=".*not yet implemented the batching rule.*")
    together = SideBySide(models, batches)
    recipe, compute = models[0].recipe, models[0].profile.compute
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / f"{folders[0].name} and {len(folders) - 1} more"
        trainer = make_trainer(
            folder, recipe.epochs, recipe.clip, device, "validation_score", "max", compute, keep_last=False
        )
        trainer.callbacks.remove(trainer.checkpoint_callback)  # every model's best is another epoch's
        trainer.fit(together)
        curves = pd.read_csv(folder / METRICS)
    for model, folder, (_, weights), epochs in zip(models, folders, together.best, together.epochs, strict=True):
        model.load_state_dict(weights)
        own = {_named(name, model): name for name in LOGGED}
        table = curves[["epoch", "learning_rate", *own]].rename(columns=own).head(epochs)
        write_text(folder / METRICS, table.to_csv(index=False))
    return [score for score, _ in together.best]


def how_many(model: Supervised, wanted: int, device: torch.device) -> int:
    """How many such models train side by side: `wanted`, or for 0 as many as fit on a GPU, and one on a CPU.

    One where running statistics of batch normalisation (CMR) would have to be updated within the stack, and where
    several processes share each batch. Half of the free memory is left for what a step needs only for a moment.
    """
    if model.modality == "cmr" or int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", "1"))) > 1:
        return 1
    if wanted or device.type != "cuda":
        return wanted or 1
    return max(1, torch.cuda.mem_get_info(device)[0] // (2 * training_bytes(model)))


def training_bytes(model: Supervised) -> int:
    """Memory that the training of an ECG `model` holds: weights, gradients and two moments, and what a step keeps for
    the backward pass, counted on one ECG.
    """
    kept = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        model(torch.zeros(1, len(LEADS), model.profile.ecg.window))
    weights = {tensor.data_ptr(): tensor.nbytes for tensor in model.parameters()}
    activations = sum(size for place, size in kept.items() if place not in weights)
    return 4 * sum(weights.values()) + model.recipe.batch * activations


def _named(name: str, model: Supervised) -> str:
    return f"{name}_{model.seed}"
