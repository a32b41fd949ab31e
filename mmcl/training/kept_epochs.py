"""Weights of chosen epochs of a training, kept to see what training does to a representation."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from safetensors.torch import save_file

from mmcl.atomic import atomic_path


class KeepEpochs(Callback):
    """Writes the module's `model` to `epoch-<number>.safetensors` in `folder` after each of `epochs`, from 1."""

    def __init__(self, folder: Path, epochs: Collection[int]):
        self.folder, self.epochs = folder, epochs

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        if trainer.is_global_zero and epoch in self.epochs:
            with atomic_path(self.folder / f"epoch-{epoch:04d}.safetensors") as part:
                save_file({name: value.contiguous() for name, value in module.model.state_dict().items()}, part)


def kept_epochs(folder: Path) -> dict[int, str]:
    """Epoch -> name of the file in `folder` that holds the weights after it, in order."""
    return {int(path.stem.removeprefix("epoch-")): path.name for path in sorted(folder.glob("epoch-*.safetensors"))}
