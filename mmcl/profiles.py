"""The three sizes in which everything runs: `smoke` (minutes, tests), `demo` (a laptop) and `paper` (one GPU).

The same code runs for all of them; nothing but numbers differs. `paper` has the published sizes and schedules.
"""

from __future__ import annotations

from mmcl.config import (
    BarlowTwinsRecipe,
    ByolRecipe,
    ClocsRecipe,
    CmrAugmentation,
    CmrConfig,
    CmrEncoderConfig,
    CmrSimclrRecipe,
    CohortConfig,
    ComputeConfig,
    DecoderConfig,
    DownstreamConfig,
    EcgAugmentation,
    EcgConfig,
    EncoderConfig,
    FinetuneRecipe,
    JointRecipe,
    MdmRecipe,
    MmclRecipe,
    Profile,
    SimclrRecipe,
    look_up,
)

_SMALL_ECG = EcgConfig(sampling_rate=125, window=300, patch=50)
_COMPUTE = ComputeConfig(precision="single", compiled=False)
"""Of the small profiles, whose matrices are too small to gain by bfloat16 and which end before a compiled model would
have begun.
"""

_SMALL_CMR_ENCODER = CmrEncoderConfig(block="basic", layers=(1, 1, 1, 1), widths=(32, 64, 128, 256))
_GENTLE_ECG = EcgAugmentation(probability=0.95, phase_noise=0.075, jitter=0.2, rescale=0.2)
_GENTLE_CMR = CmrAugmentation(
    flip=0.0, rotation=10.0, brightness=0.2, contrast=0.2, saturation=0.0, crop_scale=(1.0, 1.0)
)
"""Augmentation of the short schedules. Under the published one, contrastive training on 2,000 pairs stayed at ln(batch)
for 680 steps; under this it leaves it within 150 (seen on validation pairs). No flip: a heart is not its mirror image.
No resizing, which hides how large a heart is: in the demo, on validation subjects and with one seed, probes of LV
phenotypes with 200 labels reached R2 0.09 without it and 0.06 with areas of 0.8 to 1, at equal loss and retrieval.
"""

# The other objectives have the schedule and the heads of MMCL in the same profile.
_SMOKE = {"epochs": 3, "warmup": 1, "batch": 16, "learning_rate": 5e-4, "hidden": 64, "projection": 32}
_DEMO = {"epochs": 20, "warmup": 2, "batch": 64, "learning_rate": 5e-4, "hidden": 256, "projection": 64}
_JOINT = {"epochs": 30, "warmup": 3}
"""One epoch of both costs 12.8 s of one core, of MDM 2.6 s and of MMCL 10.2 s: this is what 70 and 20 of these cost."""

PROFILES = {
    "smoke": Profile(
        name="smoke",
        cohort=CohortConfig(train=48, validation=16, test=32, odds=(8.0, 8.0, 8.0), slices=8, frames=6, matrix=88),
        ecg=_SMALL_ECG,
        cmr=CmrConfig(crop=78, image_size=48),
        encoder=EncoderConfig(width=32, depth=2, heads=4),
        decoder=DecoderConfig(width=32, depth=1, heads=4),
        cmr_encoder=CmrEncoderConfig(block="basic", layers=(1, 1, 1, 1), widths=(8, 16, 32, 64)),
        mdm=MdmRecipe(epochs=3, warmup=1, batch=16, learning_rate=1e-3, augmentation=_GENTLE_ECG),
        mmcl=MmclRecipe(**_SMOKE, keep_epochs=(1,), ecg_augmentation=_GENTLE_ECG, cmr_augmentation=_GENTLE_CMR),
        joint=JointRecipe(**_SMOKE, ecg_augmentation=_GENTLE_ECG, cmr_augmentation=_GENTLE_CMR),
        simclr=SimclrRecipe(**_SMOKE, augmentation=_GENTLE_ECG),
        byol=ByolRecipe(**_SMOKE, augmentation=_GENTLE_ECG),
        barlow_twins=BarlowTwinsRecipe(**_SMOKE, augmentation=_GENTLE_ECG),
        clocs=ClocsRecipe(**_SMOKE, augmentation=_GENTLE_ECG),
        cmr_simclr=CmrSimclrRecipe(**_SMOKE, augmentation=_GENTLE_CMR),
        downstream=DownstreamConfig(
            few_labels=(24,),
            balance="weights",
            seeds=(0,),
            scratch=FinetuneRecipe(epochs=2, warmup=1, patience=2, batch=16, learning_rates=(1e-3,), layer_decay=1.0),
            finetune=FinetuneRecipe(epochs=2, warmup=1, patience=2, batch=16, learning_rates=(1e-3,)),
            bootstrap=100,
        ),
        compute=_COMPUTE,
        localisation_subjects=32,
        counterfactual_subjects=8,
    ),
    "demo": Profile(
        name="demo",
        cohort=CohortConfig(train=2000, validation=300, test=1000, odds=(2.0, 2.0, 2.0), slices=8, frames=8, matrix=88),
        ecg=_SMALL_ECG,
        cmr=CmrConfig(crop=78, image_size=64),
        encoder=EncoderConfig(width=128, depth=3, heads=4),
        decoder=DecoderConfig(width=64, depth=1, heads=4),
        cmr_encoder=_SMALL_CMR_ENCODER,
        mdm=MdmRecipe(epochs=70, warmup=7, batch=64, learning_rate=1e-3, augmentation=_GENTLE_ECG),
        mmcl=MmclRecipe(**_DEMO, keep_epochs=(1, 5), ecg_augmentation=_GENTLE_ECG, cmr_augmentation=_GENTLE_CMR),
        joint=JointRecipe(**_DEMO | _JOINT, ecg_augmentation=_GENTLE_ECG, cmr_augmentation=_GENTLE_CMR),
        simclr=SimclrRecipe(**_DEMO, augmentation=_GENTLE_ECG),
        byol=ByolRecipe(**_DEMO, augmentation=_GENTLE_ECG),
        barlow_twins=BarlowTwinsRecipe(**_DEMO, augmentation=_GENTLE_ECG),
        clocs=ClocsRecipe(**_DEMO, augmentation=_GENTLE_ECG),
        cmr_simclr=CmrSimclrRecipe(**_DEMO, augmentation=_GENTLE_CMR),
        downstream=DownstreamConfig(
            few_labels=(200,),
            balance="weights",
            seeds=(0,),
            # Chosen on validation subjects: attention pooling and larger batches learnt less in so few steps.
            scratch=FinetuneRecipe(
                epochs=9,
                warmup=1,
                patience=3,
                min_steps=200,
                batch=16,
                learning_rates=(5e-4,),
                layer_decay=1.0,
                drop_path=0.0,
                pooling="mean",
                augmentation=_GENTLE_ECG,
            ),
            finetune=FinetuneRecipe(
                epochs=6,
                warmup=1,
                patience=3,
                min_steps=200,
                batch=16,
                learning_rates=(1e-3,),
                drop_path=0.0,
                pooling="mean",
                augmentation=_GENTLE_ECG,
            ),
            bootstrap=1000,
        ),
        compute=_COMPUTE,
        localisation_subjects=80,
        counterfactual_subjects=24,
    ),
    "paper": Profile(name="paper", cohort=CohortConfig(train=28030, validation=6007, test=6007, raw_files=False)),
}


def profile(name: str) -> Profile:
    """The profile called `name`; ValueError names the known ones."""
    return look_up(PROFILES, name, "profile")
