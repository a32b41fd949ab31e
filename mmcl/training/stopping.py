"""Early stopping as the published code does it, beside which Lightning's own is the mended form."""

from __future__ import annotations

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, EarlyStopping

from mmcl.config import FinetuneRecipe, Preset

TOLERANCE = 0.25
"""Published tolerance on an AUROC or a correlation (method section 11)."""


class TolerantStopping(Callback):
    """Stops when more than `patience` epochs on end score lower than the best by more than `tolerance`.

    Any epoch within the tolerance starts the count anew, so with 0.25 on an AUROC or a correlation training goes on
    long after it has begun to get worse.
    """

    def __init__(self, monitor: str, patience: int, tolerance: float = TOLERANCE):
        self.monitor, self.patience, self.tolerance = monitor, patience, tolerance
        self.best, self.poor = 0.0, 0

    def ends(self, score: float) -> bool:
        """Whether training ends after an epoch with this `score`."""
        self.best = max(self.best, score)
        self.poor = self.poor + 1 if score < self.best - self.tolerance else 0
        return self.poor > self.patience

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.ends(float(trainer.callback_metrics[self.monitor])):
            trainer.should_stop = True


def early_stopping(recipe: FinetuneRecipe, preset: Preset, monitor: str = "validation_score") -> Callback:
    """Stops when `monitor`, an AUROC or a correlation, has not risen for `patience` epochs; see `strict_stopping`."""
    if preset.strict_stopping:
        return EarlyStopping(
            monitor, mode="max", patience=recipe.patience, min_delta=0.0, check_on_train_epoch_end=True
        )
    return TolerantStopping(monitor, recipe.patience)
