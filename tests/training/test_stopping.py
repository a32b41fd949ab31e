"""Early stopping on a recorded validation curve: the mended form and the published tolerance."""

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from mmcl.config import FinetuneRecipe, preset
from mmcl.training.stopping import TolerantStopping, early_stopping

CURVE = (0.55, 0.63, 0.71, 0.70, 0.69, 0.68, 0.66, 0.64, 0.60, 0.58, 0.57, 0.55)
"""AUROC of an overfitting training: best in epoch 2."""


class Replay(pl.LightningModule):
    """Learns nothing, and scores as recorded."""

    def __init__(self, curve):
        super().__init__()
        self.curve, self.weight = curve, torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, batch_idx):
        return (self.weight * batch).sum()

    def validation_step(self, batch, batch_idx):
        self.log("validation_score", self.curve[self.current_epoch])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def epochs_trained(choices, curve, patience=3):
    stopping = early_stopping(FinetuneRecipe(patience=patience), preset(choices))
    options = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = pl.Trainer(
        max_epochs=len(curve), accelerator="cpu", callbacks=[stopping], num_sanity_val_steps=0, **options
    )
    loader = DataLoader(torch.ones(1, 1))
    trainer.fit(Replay(curve), loader, loader)
    return trainer.current_epoch


@pytest.mark.filterwarnings("ignore")
def test_the_published_tolerance_keeps_an_overfitting_training_going():
    assert epochs_trained("corrected", CURVE) == 3 + 3
    assert epochs_trained("corrected-strict_stopping", CURVE) == len(CURVE)


@pytest.mark.filterwarnings("ignore")
def test_a_fall_of_more_than_the_tolerance_ends_it_in_both_forms():
    curve = (0.9, *[0.6] * 12)
    assert epochs_trained("corrected", curve) == 1 + 3
    assert epochs_trained("paper", curve) == 1 + 3 + 1  # the published count ends above, not at, the patience


def test_an_epoch_within_the_tolerance_starts_the_count_anew():
    stopping = TolerantStopping("validation_score", patience=1)
    assert [stopping.ends(score) for score in (0.9, 0.6, 0.7, 0.6, 0.6)] == [False, False, False, False, True]
