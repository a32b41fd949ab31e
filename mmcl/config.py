"""Every number and choice of the compendium, as frozen dataclasses whose defaults are the published ones.

A profile (`mmcl.profiles`) holds sizes and schedules. A preset holds the named choices in which the published code and
its mended form differ. Both are plain data: the same code runs for all of them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
"""Order of the leads in every array of this project."""

LEAD_GROUPS = ((0, 1, 2), (3, 4, 5), (6, 7, 8, 9, 10, 11))
"""Leads that are standardised together: limb, augmented, chest."""

RAW_SAMPLING_RATE = 500
"""Hz; preprocessing runs at this rate, whatever the recording's own."""

RECORD_SECONDS = 10
"""Length of a resting ECG."""

DISEASES = ("CAD", "AF", "DM")
"""Coronary artery disease, atrial fibrillation, diabetes mellitus."""


@dataclass(frozen=True)
class CohortConfig:
    """Simulated cohort and its raw export.

    `train`, `validation`, `test` count subjects. `odds` multiplies the odds of each disease, 1 being natural
    prevalence. The cine has `slices` of `matrix` x `matrix` pixels at `spacing` mm, `frames` over one RR interval.
    Phenotypes are those of the geometry, read with `measurement_error` times the errors of an automated analysis, and
    a share `missing_phenotypes` of them is lost.
    """

    train: int
    validation: int
    test: int
    odds: tuple[float, float, float] = (1.0, 1.0, 1.0)
    slices: int = 10
    frames: int = 50
    matrix: int = 210
    spacing: float = 1.8
    measurement_error: float = 0.0
    missing_phenotypes: float = 0.05
    raw_files: bool = True

    @property
    def size(self) -> int:
        """Number of subjects in all splits."""
        return self.train + self.validation + self.test


@dataclass(frozen=True)
class EcgConfig:
    """Shape of a model's ECG input: `window` samples at `sampling_rate` Hz, in patches of one lead x `patch`
    samples.
    """

    sampling_rate: int = 500
    window: int = 2500
    patch: int = 100

    @property
    def columns(self) -> int:
        """Patches along time."""
        return self.window // self.patch

    @property
    def record(self) -> int:
        """Samples in a stored record of 10 s."""
        return self.sampling_rate * RECORD_SECONDS


FRAMES = {"three": (0, 1, 2), "ed+es": (0, 2, 2), "ed": (2, 2, 2)}
"""Which of the stored frames (0 end-systole, 1 halfway, 2 end-diastole) fills each channel of the CMR encoder."""


@dataclass(frozen=True)
class CmrConfig:
    """Heart crop kept in the store (`crop` pixels of 1.8 mm), and what the encoder sees of it.

    That is `image_size` pixels a side, and `frames`: "three", as published, "ed+es" or "ed". The encoder has three
    channels in any case: end-diastole takes the place of frames that are left out. Whoever loads such an encoder from
    its file gives it the frames that it was trained on (`mmcl.data.augmentation.resize`).
    """

    crop: int = 78
    image_size: int = 84
    frames: str = "three"


@dataclass(frozen=True)
class EncoderConfig:
    """ECG vision transformer; the default is the published "tiny"."""

    width: int = 384
    depth: int = 3
    heads: int = 6
    mlp_ratio: float = 4.0


ENCODERS = {
    "tiny": EncoderConfig(),
    "small": EncoderConfig(width=512, depth=4, heads=8),
    "medium": EncoderConfig(width=640, depth=6, heads=8),
    "big": EncoderConfig(width=768, depth=8, heads=8),
}
"""Published sizes of the ECG encoder."""


@dataclass(frozen=True)
class DecoderConfig:
    """Decoder of the masked autoencoder."""

    width: int = 256
    depth: int = 2
    heads: int = 8


@dataclass(frozen=True)
class CmrEncoderConfig:
    """Residual network on the three frames; the default is ResNet-50."""

    block: str = "bottleneck"
    layers: tuple[int, int, int, int] = (3, 4, 6, 3)
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)


@dataclass(frozen=True)
class EcgAugmentation:
    """Training augmentation of an ECG (method section 7), applied to each record with `probability`.

    `phase_noise` is the Fourier surrogate's strength and `phase_probability` its own chance; `jitter` scales
    multiplicative noise; `rescale` is the standard deviation of one factor per record.
    """

    probability: float = 1.0
    phase_noise: float = 0.1
    phase_probability: float = 0.5
    jitter: float = 0.6
    rescale: float = 0.5


@dataclass(frozen=True)
class CmrAugmentation:
    """Training augmentation of the CMR frames (method section 7)."""

    probability: float = 0.95
    flip: float = 0.5
    rotation: float = 45.0
    brightness: float = 0.5
    contrast: float = 0.5
    saturation: float = 0.5
    crop_scale: tuple[float, float] = (0.6, 1.0)


@dataclass(frozen=True)
class MdmRecipe:
    """Masked data modelling: `mask_ratio` of the tokens hidden; loss (1 - ncc_weight) MSE + ncc_weight (1 - NCC).

    The error is over all patches, as published, or over the hidden ones (`masked_only`); targets are raw samples or,
    with `per_patch`, each patch standardised (He et al. 2022). `similarity_weight` times the NT-Xent, at
    `similarity_temperature`, between the encoder's views of one ECG under two independent maskings is added to the
    loss; 0 leaves it out, at no cost.
    """

    epochs: int = 400
    warmup: int = 40
    batch: int = 128
    learning_rate: float = 3.2e-4
    weight_decay: float = 0.15
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0
    mask_ratio: float = 0.8
    ncc_weight: float = 0.1
    masked_only: bool = False
    per_patch: bool = False
    similarity_weight: float = 0.0
    similarity_temperature: float = 0.1
    augmentation: EcgAugmentation = EcgAugmentation()


@dataclass(frozen=True)
class MmclRecipe:
    """Multimodal contrastive learning with the CLIP loss; `lambda_0` weighs the cross-entropy over CMR.

    The temperature is fixed, as published, or, with `learn_temperature`, starts at its value and is learnt: its
    logarithm is a parameter, which keeps it positive, and it falls no lower than 1/100 (Radford et al. 2021). `loss`
    "sigmoid" asks of each pair alone whether it belongs together (Zhai et al. 2023); temperature and a bias, which
    starts at `bias`, are then learnt in any case. `local_weight` times the loss that aligns phases of the ECG with cine
    frames (as Selivanov et al. 2025 argue), or `cell_weight` times one on the cells of the CMR feature map
    (`mmcl.losses.cells`), is added; 0 leaves it out, at no cost. Weights are kept after each of `keep_epochs` too, to
    see what training does to the maps.
    """

    epochs: int = 300
    warmup: int = 30
    batch: int = 256
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    clip: float = 1.0
    temperature: float = 0.1
    learn_temperature: bool = False
    lambda_0: float = 0.5
    loss: str = "clip"
    bias: float = -10.0
    local_weight: float = 0.0
    cell_weight: float = 0.0
    keep_epochs: tuple[int, ...] = ()
    hidden: int = 2048
    projection: int = 128
    ecg_augmentation: EcgAugmentation = EcgAugmentation(probability=0.95, phase_probability=1.0)
    cmr_augmentation: CmrAugmentation = CmrAugmentation()


@dataclass(frozen=True)
class JointRecipe(MmclRecipe):
    """MDM and MMCL in one stage, on the same batch: the loss of MMCL plus `mdm_weight` times that of MDM.

    Schedule and optimiser are those of MMCL, mask and error those of MDM.
    """

    mask_ratio: float = 0.8
    ncc_weight: float = 0.1
    mdm_weight: float = 1.0


@dataclass(frozen=True)
class ViewsRecipe:
    """What the objectives on views of one modality share.

    Schedule, optimiser, augmentation and the projection head are those of MMCL, so that objectives differ in the
    objective alone; what is theirs has the value of their own paper.
    """

    epochs: int = 300
    warmup: int = 30
    batch: int = 256
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    clip: float = 1.0
    hidden: int = 2048
    projection: int = 128
    augmentation: EcgAugmentation = EcgAugmentation(probability=0.95, phase_probability=1.0)


@dataclass(frozen=True)
class SimclrRecipe(ViewsRecipe):
    """SimCLR (Chen et al. 2020, ICML): NT-Xent of two augmented views at their best temperature."""

    temperature: float = 0.1


@dataclass(frozen=True)
class ByolRecipe(ViewsRecipe):
    """BYOL (Grill et al. 2020, NeurIPS): heads of 4,096 and 256.

    `momentum` of the target rises to 1 by half a cosine; 0.99 is theirs for 300 epochs (0.996 for 1,000).
    """

    hidden: int = 4096
    projection: int = 256
    momentum: float = 0.99


@dataclass(frozen=True)
class BarlowTwinsRecipe(ViewsRecipe):
    """Barlow Twins (Zbontar et al. 2021, ICML): `redundancy` weighs the correlations of different features.

    Three layers of one width; theirs is 8,192, four times the features of their encoder, and so is about this.
    """

    hidden: int = 2048
    projection: int = 2048
    redundancy: float = 5e-3


@dataclass(frozen=True)
class ClocsRecipe(ViewsRecipe):
    """CLOCS (Kiyasseh et al. 2021, ICML): views are parts of one subject's ECG, not distortions of it.

    `views` is "cmsc" (two adjacent segments in time), "cmlc" (single `leads` of one segment) or "cmsmlc" (single
    `leads` of two segments). As published there is no augmentation on top.
    """

    views: str = "cmsc"
    leads: tuple[str, ...] = ("II", "V2", "aVL", "aVR")
    temperature: float = 0.1
    augmentation: EcgAugmentation = EcgAugmentation(probability=0.0)


@dataclass(frozen=True)
class CmrSimclrRecipe(ViewsRecipe):
    """SimCLR of CMR, the unimodal counterpart of the CMR encoder of MMCL, with its schedule and augmentation."""

    temperature: float = 0.1
    augmentation: CmrAugmentation = CmrAugmentation()


@dataclass(frozen=True)
class FinetuneRecipe:
    """Supervised training of an encoder with a linear head, from random or pre-trained weights.

    Of several `learning_rates` each is tried with the first seed, and the one that validates best serves all seeds; the
    published ones are {1e-6, 3e-6, 1e-5, 3e-5} x batch / 4. `weight_decay`, `layer_decay` (1 for none), `drop_path`
    and `label_smoothing` were searched too, in 0.1 to 0.2, 0.5 or 0.75, 0 to 0.2 and 0 to 0.2. Few labels make short
    epochs: there are then as many as `min_steps` steps need, and `patience` grows alike.
    """

    epochs: int = 400
    warmup: int = 5
    patience: int = 25
    min_steps: int = 0
    batch: int = 32
    learning_rates: tuple[float, ...] = (8e-6, 2.4e-5, 8e-5, 2.4e-4)
    weight_decay: float = 0.1
    layer_decay: float = 0.75
    drop_path: float = 0.1
    label_smoothing: float = 0.1
    clip: float = 1.0
    pooling: str = "attention"
    augmentation: EcgAugmentation = EcgAugmentation(phase_noise=0.075, jitter=0.2, rescale=0.5)


BALANCES = ("weights", "sets")
"""How rare diseases are learnt, see `DownstreamConfig`."""


@dataclass(frozen=True)
class DownstreamConfig:
    """Which labels are learnt from, with which seeds and recipes, and how probabilities are calibrated.

    `few_labels`: beside all labels, so many subjects, or a share of them where below 1; the first is what summaries
    show. `balance` "sets" is the published form: one model a disease, trained on all its cases and as many random
    controls; "weights" trains one model of all diseases on all subjects, a case counting as much more as cases are
    rarer. Either way probabilities are moved back to the prevalence. `calibration` is "none" as published, or "platt",
    "temperature" or "isotonic": maps fitted on validation subjects, for every predictor of risk alike. `bootstrap`
    resamples of test subjects give the intervals. `side_by_side` is how many `seeds` are fine-tuned at once, in one
    process; 0 takes as many as fit on a GPU, and one on a CPU, where nothing is gained.
    """

    few_labels: tuple[float, ...] = (0.01, 0.1)
    balance: str = "sets"
    calibration: str = "none"
    seeds: tuple[int, ...] = (0, 101, 202, 303, 404)
    side_by_side: int = 0
    scratch: FinetuneRecipe = FinetuneRecipe(layer_decay=1.0)
    finetune: FinetuneRecipe = FinetuneRecipe()
    bootstrap: int = 2000


@dataclass(frozen=True)
class ComputeConfig:
    """How trainings are computed: it changes speed and rounding alone.

    `precision` is "single", "mixed" (bfloat16 products by autocast, with float32 weights, sums, statistics and losses)
    or "auto": mixed on a GPU or CPU that has instructions for bfloat16, else single. `compiled` models are fused by
    `torch.compile`, on a GPU alone; it takes about a minute to begin.
    """

    precision: str = "auto"
    compiled: bool = True


@dataclass(frozen=True)
class Profile:
    """One complete set of sizes and schedules. The recipe of a pre-training objective has the objective's name."""

    name: str
    cohort: CohortConfig
    ecg: EcgConfig = EcgConfig()
    cmr: CmrConfig = CmrConfig()
    encoder: EncoderConfig = EncoderConfig()
    decoder: DecoderConfig = DecoderConfig()
    cmr_encoder: CmrEncoderConfig = CmrEncoderConfig()
    mdm: MdmRecipe = MdmRecipe()
    mmcl: MmclRecipe = MmclRecipe()
    joint: JointRecipe = JointRecipe()
    simclr: SimclrRecipe = SimclrRecipe()
    byol: ByolRecipe = ByolRecipe()
    barlow_twins: BarlowTwinsRecipe = BarlowTwinsRecipe()
    clocs: ClocsRecipe = ClocsRecipe()
    cmr_simclr: CmrSimclrRecipe = CmrSimclrRecipe()
    downstream: DownstreamConfig = DownstreamConfig()
    compute: ComputeConfig = ComputeConfig()
    localisation_subjects: int = 1000
    counterfactual_subjects: int = 96


@dataclass(frozen=True)
class Preset:
    """Choices in which the published code (`paper`: none of them) and its mended form (`corrected`: all) differ.

    Method sections 4 and 11; each can be chosen alone, see `preset`. `round_kept_tokens`: keep round(N (1 - ratio))
    tokens, not int() of a floating-point product (60 against 59 of 300). `single_fc_norm`: apply the norm after pooling
    once before the head, not twice. `mask_missing`: leave missing phenotypes out of loss and scores instead of setting
    prediction and label to 0 and counting them. `positive_auprc`: average precision of the positive class, not the mean
    over both classes. `tile_crops`: evaluate on all crops that tile the record, not its first window.
    `positive_rescale`: fold the rescaling factor to its absolute value, so that no record is inverted.
    `norm_local_tokens`: tokens pass `fc_norm` before localisation. `whole_icd_list`: CAD counts I24.9 and I25.0, which
    a missing comma lost. `strict_stopping`: early stopping counts every epoch that does not improve, not only those
    that are more than 0.25 below the best.
    `crop_in_evaluation`: the CMR encoder is evaluated on the heart crop it was trained on, not on the whole frame.
    `interpolate_both_axes`: position embeddings are resampled over leads and time, not over time alone.
    `centre_crop`: centre the heart crop on the heart that is found, not on a fixed place.
    """

    name: str
    round_kept_tokens: bool
    single_fc_norm: bool
    mask_missing: bool
    positive_auprc: bool
    tile_crops: bool
    positive_rescale: bool
    norm_local_tokens: bool
    whole_icd_list: bool
    strict_stopping: bool
    crop_in_evaluation: bool
    interpolate_both_axes: bool
    centre_crop: bool


CHOICES = tuple(field.name for field in dataclasses.fields(Preset) if field.name != "name")
"""Names of the choices of a preset."""

PRESETS = {
    "paper": Preset("paper", **dict.fromkeys(CHOICES, False)),
    "corrected": Preset("corrected", **dict.fromkeys(CHOICES, True)),
}


def preset(name: str) -> Preset:
    """The preset called `name`: `paper` or `corrected`, or one of them with single choices changed.

    `paper+tile_crops` mends one fault alone, `corrected-tile_crops` leaves one unmended; several may follow each other.
    ValueError names the known presets and choices.
    """
    base, *changes = re.split(r"(?=[+-])", name)
    chosen = {}
    for change in changes:
        chosen[look_up(dict(zip(CHOICES, CHOICES, strict=True)), change[1:], "choice")] = change[0] == "+"
    return dataclasses.replace(look_up(PRESETS, base, "preset"), name=name, **chosen)


def fingerprint(*parts: object) -> str:
    """Short SHA-256 of dataclasses and plain values, equal exactly when all their numbers are equal."""

    def plain(part: object) -> object:
        return dataclasses.asdict(part) if dataclasses.is_dataclass(part) and not isinstance(part, type) else part

    text = json.dumps([plain(p) for p in parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def look_up(table: dict, name: str, kind: str):
    """The entry called `name`; ValueError tells the `kind` of thing and the known names."""
    if name not in table:
        raise ValueError(f"unknown {kind} {name!r}; expected one of {', '.join(table)}")
    return table[name]
