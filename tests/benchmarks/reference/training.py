"""Training as the published pipeline does it, from the weights and numbers of an `mmcl` module.

Recordings are augmented one by one in the loader's worker processes, in float32 throughout, the optimiser is the plain
one that loops over parameters, and every step waits for its loss. Hearts are seen at 210 pixels.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from mmcl.config import Profile
from mmcl.training.batches import StoredPairs
from mmcl.training.schedule import layer_scale, parameter_groups, warmup_cosine
from tests.benchmarks.reference import models
from tests.benchmarks.reference.augmentation import augment_one_cmr, augment_one_ecg

SIDE = 210
"""Pixels at which the published CMR encoder sees the crop of 78."""

PLAIN = {"fused": False, "foreach": False}
"""An optimiser of one small operation after another, for each parameter."""


class Published:
    """One training, from the weights that `module` has now; subclasses say what is built, augmented and minimised.

    Hearts are brought to `side` pixels.
    """

    model: nn.Module

    def __init__(self, module: pl.LightningModule, profile: Profile, device: torch.device, side: int = SIDE):
        self.module, self.profile, self.recipe, self.device, self.side = module, profile, module.recipe, device, side
        self.model = self.build()
        self.model.load_state_dict(self.weights())
        self.model.to(device).train()
        self.optimiser = self.configure()

    def build(self) -> nn.Module:
        raise NotImplementedError

    def weights(self) -> dict[str, torch.Tensor]:
        return self.module.model.state_dict()

    def configure(self) -> torch.optim.Optimizer:
        raise NotImplementedError

    def augment(self, item: dict[str, np.ndarray], random: np.random.Generator) -> dict[str, torch.Tensor]:
        """One subject as stored -> what the model sees."""
        raise NotImplementedError

    def loss(self, batch: dict[str, torch.Tensor], random: torch.Generator | None = None) -> torch.Tensor:
        """Loss of a batch of augmented subjects on the device."""
        raise NotImplementedError

    def step(self, batch: dict[str, torch.Tensor]) -> float:
        """Forward, backward, update; the loss, once it is there."""
        self.optimiser.zero_grad()
        loss = self.loss({name: value.to(self.device) for name, value in batch.items()})
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip, foreach=False)
        self.optimiser.step()
        return loss.item()

    def loader(self, pairs: StoredPairs, batch: int, workers: int) -> DataLoader:
        return DataLoader(Augmented(pairs, self.augment), batch, shuffle=True, drop_last=True, num_workers=workers)

    def train(self, pairs: StoredPairs, batch: int, workers: int = 0) -> Iterator[float]:
        """Mean training loss of each epoch, under the recipe's schedule."""
        loader = self.loader(pairs, batch, workers)
        warmup, total = (count * len(loader) for count in (self.recipe.warmup, self.recipe.epochs))
        schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, lambda step: warmup_cosine(step, warmup, total))
        for _ in range(self.recipe.epochs):
            losses = []
            for one in loader:
                losses.append(self.step(one))
                schedule.step()
            yield float(np.mean(losses))

    def augment_ecg(self, record: np.ndarray, recipe, random: np.random.Generator) -> torch.Tensor:
        return augment_one_ecg(record, self.profile.ecg.window, recipe, self.module.preset.positive_rescale, random)


class Augmented(Dataset):
    """Subjects of a store, augmented one at a time."""

    def __init__(self, pairs: StoredPairs, augment):
        self.pairs, self.augment = pairs, augment

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, position: int) -> dict[str, torch.Tensor]:
        random = np.random.default_rng(int(torch.randint(2**62, ())))  # torch seeds each worker anew
        row = self.pairs.indices[position]
        item = self.augment({name: array[row] for name, array in self.pairs.arrays.items()}, random)
        return item if self.pairs.labels is None else item | {"label": self.pairs.labels[position]}


class Mdm(Published):
    def build(self) -> nn.Module:
        profile = self.profile
        return models.MaskedAutoencoder(profile.ecg, profile.encoder, profile.decoder, self.module.model.kept)

    def configure(self) -> torch.optim.Optimizer:
        recipe = self.recipe
        groups = parameter_groups(self.model.named_parameters(), recipe.learning_rate, recipe.weight_decay)
        return torch.optim.AdamW(groups, betas=recipe.betas, **PLAIN)

    def augment(self, item, random):
        return {"ecg": self.augment_ecg(item["ecg"], self.recipe.augmentation, random)}

    def loss(self, batch, random=None):
        ecg = batch["ecg"]
        tokens = self.model.decoder_pos_embed.shape[1] - 1
        noise = torch.rand(len(ecg), tokens, device=ecg.device, generator=random)
        return models.mdm_loss(ecg, self.model(ecg, noise), self.recipe.ncc_weight)


class Mmcl(Published):
    def build(self) -> nn.Module:
        profile, recipe = self.profile, self.recipe
        sizes = (profile.ecg, profile.encoder, profile.cmr_encoder, recipe.hidden, recipe.projection)
        return models.ContrastiveModel(*sizes)

    def configure(self) -> torch.optim.Optimizer:
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        rates = {"lr": self.recipe.learning_rate, "weight_decay": self.recipe.weight_decay}
        return torch.optim.Adam(parameters, **rates, **PLAIN)

    def augment(self, item, random):
        return {
            "ecg": self.augment_ecg(item["ecg"], self.recipe.ecg_augmentation, random),
            "cmr": augment_one_cmr(item["cmr"], self.side, self.recipe.cmr_augmentation, random),
        }

    def loss(self, batch, random=None):
        z_ecg, z_cmr = self.model(batch["ecg"], batch["cmr"])
        return models.clip_loss(z_cmr, z_ecg, self.recipe.temperature, self.recipe.lambda_0)


class Finetune(Published):
    """Of an ECG encoder with attention pooling; without drop-path."""

    def build(self) -> nn.Module:
        return models.Classifier(self.profile.ecg, self.profile.encoder, self.module.head.out_features)

    def weights(self) -> dict[str, torch.Tensor]:
        return {k: v for k, v in self.module.state_dict().items() if k.startswith(("encoder.", "head."))}

    def configure(self) -> torch.optim.Optimizer:
        recipe, depth = self.recipe, self.profile.encoder.depth
        groups = parameter_groups(
            self.model.named_parameters(),
            recipe.learning_rates[0],
            recipe.weight_decay,
            lambda name: layer_scale(name, depth, recipe.layer_decay),
        )
        return torch.optim.AdamW(groups, **PLAIN)

    def augment(self, item, random):
        return {"ecg": self.augment_ecg(item["ecg"], self.recipe.augmentation, random)}

    def loss(self, batch, random=None):
        return self.module.loss(self.model(batch["ecg"]), batch["label"])


PUBLISHED = {"mdm": Mdm, "mmcl": Mmcl, "finetune": Finetune}
"""Training -> its published form."""
