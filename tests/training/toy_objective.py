"""A new objective as CONTRIBUTING tells to add one: one class, one recipe in the profile. Run by torchrun, it trains.

CLIP between an ECG and the mean of its CMR's rows: no BatchNorm, no augmentation, plain gradient descent, so that a
training depends on the order of the batch's rows by rounding alone.
"""

import dataclasses
import os
import sys
from dataclasses import dataclass

import torch
from torch import nn

from mmcl.config import Profile
from mmcl.data.augmentation import first_crop
from mmcl.losses.clip import clip_loss
from mmcl.models.ecg_encoder import EcgEncoder
from mmcl.profiles import PROFILES
from mmcl.training.experiments import ARMS, Arm
from mmcl.training.objectives import OBJECTIVES, Pretraining


@dataclass(frozen=True)
class ToyRecipe:
    """Numbers of the toy."""

    epochs: int = 2
    warmup: int = 1
    batch: int = 16
    learning_rate: float = 0.05
    clip: float = 1.0
    temperature: float = 0.5


class ToyModel(nn.Module):
    """An ECG encoder and a linear map of an image's mean row."""

    def __init__(self, profile: Profile):
        super().__init__()
        self.encoder_ecg = EcgEncoder(profile.ecg, profile.encoder)
        self.image = nn.Linear(3 * profile.cmr.crop, profile.encoder.width)

    def forward(self, ecg: torch.Tensor, cmr: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.encoder_ecg(ecg), self.image(cmr.float().div(255).mean(dim=2).flatten(1))


class Toy(Pretraining):
    """The objective."""

    objective = "toy"
    fields = ("ecg", "cmr")
    sizes = ("ecg", "encoder", "cmr")

    def __init__(self, profile, preset, seed):
        super().__init__(profile, preset, seed)
        self.model = ToyModel(profile)

    def on_train_epoch_start(self):
        """An accident, where a test asks for one."""
        if self.current_epoch == 1 and "TOY_FAILS" in os.environ:
            raise RuntimeError("the toy fails in its second epoch")

    def step(self, stage, batch, random):
        ecg, cmr = self.model(first_crop(batch["ecg"], self.ecg.window), batch["cmr"])
        loss = clip_loss(cmr, ecg, self.recipe.temperature)
        self.record(stage, len(ecg), loss=loss)
        return loss

    def configure_optimizers(self):
        return self.schedule(torch.optim.SGD(self.model.parameters(), lr=self.recipe.learning_rate))


@dataclass(frozen=True)
class ToyProfile(Profile):
    """A profile with the toy's recipe, as a field of `Profile` would be."""

    toy: ToyRecipe = ToyRecipe()


def toy_profile() -> ToyProfile:
    """The smoke profile with the toy's recipe."""
    smoke = PROFILES["smoke"]
    return ToyProfile(**{field.name: getattr(smoke, field.name) for field in dataclasses.fields(smoke)})


if __name__ == "__main__":
    from mmcl.__main__ import main

    OBJECTIVES["toy"] = Toy
    ARMS["toy"] = Arm("toy")
    PROFILES["smoke"] = toy_profile()
    main(["pretrain", "toy", "--profile=smoke", "--device=cpu", *sys.argv[1:]])
