"""What the preset `corrected` mends in the published code, and how much each mending moves a number (section 11).

Every choice of `mmcl.config.Preset` is measured in both forms on the products of one finished run, whatever its own
preset: nothing is trained but linear probes. Features are taken from the encoder of MDM + MMCL.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from mmcl.config import LEADS, PRESETS, EcgAugmentation, EcgConfig, MdmRecipe
from mmcl.data import tables
from mmcl.data.augmentation import augment_ecg, first_crop, resize
from mmcl.data.cmr_preprocessing import CANVAS, HeartFrames, preprocess_cine
from mmcl.data.cohort import Entry, list_cohort
from mmcl.data.labels import label_subjects
from mmcl.data.manifest import Manifest, cohort_manifest
from mmcl.data.pipeline import image_side, read_cine
from mmcl.data.pseudonyms import Pseudonyms
from mmcl.data.store import Store
from mmcl.evaluation.metrics import auprc, auroc, pearson_r, r2
from mmcl.evaluation.probe import fit_logistic, fit_ridge
from mmcl.interpretation.localisation import Projections, cosine_map, pairwise, project
from mmcl.interpretation.measures import positive_share
from mmcl.interpretation.sample import FRAME, REGIONS
from mmcl.models.ecg_encoder import EcgEncoder, load_pretrained
from mmcl.models.masked_autoencoder import kept_tokens
from mmcl.setting import Setting
from mmcl.training.comparison import METHOD
from mmcl.training.features import cmr_features, ecg_features, stored_features
from mmcl.training.finetuning import SUPERVISED
from mmcl.training.pretraining import ecg_encoder_weights, load_module, pretrain
from mmcl.training.probing import probe
from mmcl.training.stopping import TolerantStopping
from mmcl.training.tasks import TASKS, open_task
from mmcl.training.trainer import METRICS

PROBED = {"train": 300, "validation": 100, "test": 300}
"""Subjects of each split, at most, on whom probes of changed features are fitted and scored."""

MAPPED = 100
"""Test subjects, at most, of maps, of crops and of resampled encoders."""

EIGHT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
"""The leads that a recorder measures; the other four follow from I and II."""


@dataclass(frozen=True)
class Fault:
    """What the published code does, what is done instead, and why."""

    published: str
    mended: str
    why: str


FAULTS = {
    "round_kept_tokens": Fault(
        "int(N (1 - ratio)) tokens are kept",
        "round(N (1 - ratio))",
        "in floating point 300 x (1 - 0.8) is just below 60",
    ),
    "single_fc_norm": Fault(
        "fc_norm follows pooling and again precedes the head",
        "once, after pooling",
        "the head sees another vector than the one that was pre-trained",
    ),
    "mask_missing": Fault(
        "missing phenotypes are 0 in label and prediction, and counted",
        "left out, target by target",
        "a zero that is always right adds spread to the truth and none to the error",
    ),
    "positive_auprc": Fault(
        "average precision is the mean over both classes",
        "of the cases",
        "the controls of a rare disease are easy to find, and hide how hard the cases are",
    ),
    "tile_crops": Fault(
        "the first window of the record is evaluated",
        "the mean over the windows that tile it",
        "half of the record or more is never looked at",
    ),
    "positive_rescale": Fault(
        "a record is multiplied by one N(1, 0.5)",
        "by its absolute value",
        "a negative factor turns the heart's electrical axis around",
    ),
    "norm_local_tokens": Fault(
        "local tokens enter the projection head as they are",
        "they pass fc_norm first, as the pooled vector does",
        "local and global vectors otherwise live in different spaces",
    ),
    "whole_icd_list": Fault(
        "the list of CAD codes lacks a comma: I24.9 and I25.0 are one string that is no code",
        "both count",
        "cases on record are taken for controls",
    ),
    "strict_stopping": Fault(
        "only epochs worse than the best by more than 0.25 count against patience",
        "every epoch without improvement counts",
        "an AUROC or a correlation hardly ever falls by 0.25, so nothing stops early",
    ),
    "crop_in_evaluation": Fault(
        "the CMR encoder, trained on heart crops, is evaluated on whole frames",
        "on heart crops",
        "at one image size the heart is then smaller than any that it has seen",
    ),
    "interpolate_both_axes": Fault(
        "position embeddings are resampled over time alone",
        "over leads and time",
        "an encoder cannot be used with other leads than its twelve",
    ),
    "centre_crop": Fault(
        "rows 44 to 122, columns 68 to 146 of every image",
        "a crop of that size about the heart that is found",
        "hearts elsewhere in the field of view are cut",
    ),
}
"""Choice -> what it mends; figures and tables list them in this order."""


@dataclass(frozen=True)
class Change:
    """One number in its `published` and its `mended` form; `n` is of what is counted or scored.

    A form that does not exist, or that the run holds no data for, is NaN, and `note` says why.
    """

    choice: str
    measure: str
    published: float
    mended: float
    n: int
    note: str = ""


def measure_changes(setting: Setting, raw: str | Path = "") -> pd.DataFrame:
    """Every choice measured on the finished run of `setting`: a row a number, columns the fields of `Change`.

    `raw` is the folder of the cohort's raw files, by default that of the run's simulation; what only raw files tell
    (codes of records, images outside the crop) is NaN where there are none.
    """
    store = Store.open(setting.run.store)
    raw = Path(raw) if raw else setting.run.raw
    changes = [
        *kept(setting),
        *inverted(setting),
        *scored(setting),
        *stopped(setting),
        *coded(setting, store, raw),
        *_of_ecg_features(setting, store),
        *_of_local_tokens(setting, store),
        *_of_frames(setting, store, raw),
    ]
    order = {choice: place for place, choice in enumerate(FAULTS)}
    changes.sort(key=lambda change: order[change.choice])
    return pd.DataFrame([dataclasses.asdict(change) for change in changes])


def page(changes: pd.DataFrame) -> pd.DataFrame:
    """The table to read: one row a choice, with its fault and all that was measured of it."""
    rows = []
    for choice, fault in FAULTS.items():
        measured = [_sentence(row) for row in changes[changes["choice"] == choice].itertuples()]
        rows.append({"choice": choice, **dataclasses.asdict(fault), "published -> mended": "; ".join(measured)})
    return pd.DataFrame(rows).set_index("choice")


def _sentence(row) -> str:
    numbers = " -> ".join("none" if np.isnan(value) else f"{value:.4g}" for value in (row.published, row.mended))
    return f"{row.measure}: {numbers} (n = {row.n:,}{'; ' + row.note if row.note else ''})"


def kept(setting: Setting) -> Iterator[Change]:
    """Tokens that the masked autoencoder's encoder sees, in this profile and at the published size."""
    for name, ecg, recipe in (
        ("this profile", setting.profile.ecg, setting.profile.mdm),
        ("paper", EcgConfig(), MdmRecipe()),
    ):
        tokens = len(LEADS) * ecg.columns
        forms = (kept_tokens(tokens, recipe.mask_ratio, rounded) for rounded in (False, True))
        yield Change("round_kept_tokens", f"tokens kept, {name}", *map(float, forms), tokens)


def inverted(setting: Setting, draws: int = 20_000) -> Iterator[Change]:
    """Share of records that the augmentation turns upside down, by drawing it."""
    for name, rescale in (
        ("this profile", setting.profile.mdm.augmentation.rescale),
        ("paper", EcgAugmentation().rescale),
    ):
        only = EcgAugmentation(phase_noise=0.0, jitter=0.0, rescale=rescale)
        shares = []
        for positive in (False, True):
            random = torch.Generator().manual_seed(setting.run.seed)
            shares.append(float((augment_ecg(torch.ones(draws, 1, 1), 1, only, positive, random) < 0).float().mean()))
        yield Change("positive_rescale", f"share of records inverted, {name}", *shares, draws)


def scored(setting: Setting) -> Iterator[Change]:
    """Scores of the stored predictions of the method's linear probe, all labels, test subjects."""
    phenotypes = probe(METHOD, "phenotypes", None, setting).load("test")
    for name, metric in (("R2", r2), ("r", pearson_r)):
        forms = (
            float(np.nanmean(metric(phenotypes.truth, phenotypes.score, missing=form)))
            for form in ("zero", "leave out")
        )
        yield Change("mask_missing", f"mean {name} of phenotypes", *forms, len(phenotypes.subject))
    risk = probe(METHOD, "risk", None, setting).load("test")
    forms = [auprc(risk.truth, risk.score, average) for average in ("both classes", "positive")]
    for k, disease in enumerate(risk.names):
        cases = int(np.nansum(risk.truth[:, k]))
        yield Change(
            "positive_auprc", f"{disease} AUPRC", *(float(f[k]) for f in forms), len(risk.subject), f"{cases} cases"
        )


def stopped(setting: Setting) -> Iterator[Change]:
    """Epochs of fine-tuning on all labels: recorded validation curves under both rules.

    A curve ends where its run stopped; a rule that had not stopped by then is taken to reach the last epoch.
    """
    downstream, epochs = setting.profile.downstream, []
    for file in sorted((setting.run.folder / "finetuning").glob("*-finetune-all-*/" + METRICS)):
        supervised = any(f"-{arm}-finetune-" in file.parent.name for arm in SUPERVISED)
        recipe = downstream.scratch if supervised else downstream.finetune
        curve = pd.read_csv(file)["validation_score"].tolist()
        epochs.append([stopping_epoch(curve, recipe.patience, strict) or recipe.epochs for strict in (False, True)])
    forms = np.mean(epochs, axis=0) if epochs else (np.nan, np.nan)
    note = "trainings" if epochs else "no recorded curve"
    yield Change("strict_stopping", "mean epochs of a fine-tuning", *map(float, forms), len(epochs), note)


def stopping_epoch(curve: Sequence[float], patience: int, strict: bool) -> int | None:
    """Epochs after which a training with this validation `curve` ends by either rule; None when it goes on."""
    best, waited, tolerant = -np.inf, 0, TolerantStopping("validation_score", patience)
    for epoch, score in enumerate(curve, start=1):
        best, waited = (score, 0) if score > best else (best, waited + 1)
        if waited >= patience if strict else tolerant.ends(score):
            return epoch
    return None


def coded(setting: Setting, store: Store, raw: Path) -> Iterator[Change]:
    """Cases of CAD among the store's subjects, from their hospital records."""
    manifest = cohort_manifest(setting.run.cohort)
    if manifest.labels.rule != "records" or not (raw / manifest.tables.records).is_file():
        yield Change("whole_icd_list", "cases of CAD", np.nan, np.nan, 0, "no hospital records at hand")
        return
    named = Pseudonyms(manifest).name
    records = tables.codes(tables.read_table(raw / manifest.tables.records, [tables.ICD10], rename=named))
    records = records[records.index.isin(store.subjects["subject"])]
    forms = (float(label_subjects(records, whole)["CAD"].sum()) for whole in (False, True))
    yield Change("whole_icd_list", "cases of CAD", *forms, len(records))


def _encoder(setting: Setting, **sizes) -> EcgEncoder:
    """Encoder of the method with its norm applied once; `sizes` other than its own resample its positions."""
    given = {"ecg": setting.profile.ecg, "encoder": setting.profile.encoder} | sizes
    encoder = EcgEncoder(**given)
    load_pretrained(encoder, ecg_encoder_weights(pretrain(METHOD, setting)))
    return encoder.to(setting.device).eval()


@torch.no_grad()
def _run(encoder: nn.Module, windows: torch.Tensor, setting: Setting, batch: int = 256) -> np.ndarray:
    """Features (n, width) float64 of windows (n, leads, samples)."""
    return np.concatenate([encoder(part.to(setting.device)).double().cpu().numpy() for part in windows.split(batch)])


def _some(store: Store, most: dict[str, int]) -> dict[str, np.ndarray]:
    return {split: store.indices(split)[:count] for split, count in most.items()}


def _of_ecg_features(setting: Setting, store: Store) -> Iterator[Change]:
    """Probes of features of tiled and of first windows, of vectors normalised once and twice; resampled encoders."""
    encoder, window, choices = _encoder(setting), setting.profile.ecg.window, setting.preset
    parts = _some(store, PROBED)
    rows = np.concatenate(list(parts.values()))
    first = _run(encoder, first_crop(torch.from_numpy(store.ecg[rows]), window), setting)
    if choices.tile_crops and choices.single_fc_norm:
        tiled = stored_features(METHOD, setting)[rows]
    else:
        tiled = ecg_features(encoder, store.ecg[rows], window, PRESETS["corrected"], setting.device)
    with torch.no_grad():
        twice = encoder.last_norm(torch.from_numpy(first).float().to(setting.device)).double().cpu().numpy()

    moved = np.linalg.norm(twice - first, axis=1) / np.linalg.norm(first, axis=1)
    yield Change("single_fc_norm", "mean change of the head's input, relative", float(moved.mean()), 0.0, len(rows))
    yield from _probed("single_fc_norm", twice, first, parts, store)
    yield from _probed("tile_crops", first, tiled, parts, store)

    test = store.ecg[parts["test"][:MAPPED]]
    native = _run(encoder, first_crop(torch.from_numpy(test), window), setting)
    ecg = setting.profile.ecg
    columns = max(1, round(ecg.columns * 2 / 3))
    shorter = dataclasses.replace(ecg, window=columns * ecg.patch)
    other = _run(_encoder(setting, ecg=shorter), first_crop(torch.from_numpy(test), shorter.window), setting)
    alike = centred_cosine(native, other)
    measure = f"cosine with the native features, {columns} of {ecg.columns} patches of time"
    # With as many leads as it had, the embedding is the same whether leads are resampled or not.
    yield Change("interpolate_both_axes", measure, alike, alike, len(test))
    leads = [LEADS.index(name) for name in EIGHT]
    fewer = _encoder(setting, leads=len(leads))
    other = _run(fewer, first_crop(torch.from_numpy(test[:, leads]), window), setting)
    note = "published: an error"
    measure = f"cosine with the native features, {len(leads)} of {len(LEADS)} leads"
    yield Change("interpolate_both_axes", measure, np.nan, centred_cosine(native, other), len(test), note)


def centred_cosine(first: np.ndarray, second: np.ndarray) -> float:
    """Mean cosine of paired rows (n, width), each set less its own mean, which all subjects share."""
    first, second = (values - values.mean(axis=0) for values in (first, second))
    products = (first * second).sum(axis=1)
    return float((products / np.maximum(np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1), 1e-12)).mean())


def _probed(choice: str, published: np.ndarray, mended: np.ndarray, parts: dict, store: Store) -> Iterator[Change]:
    """Mean AUROC and mean R2 of linear probes of two sets of features, whose rows are those of `parts` in order."""
    for task in TASKS:
        labels = open_task(task, store).labels
        forms = [probe_score(features, labels, parts, task) for features in (published, mended)]
        name = "AUROC of diseases" if task == "risk" else "R2 of phenotypes"
        yield Change(choice, f"mean {name}, linear probe", *forms, len(parts["test"]))


def probe_score(features: np.ndarray, labels: np.ndarray, parts: dict[str, np.ndarray], task: str) -> float:
    """Mean test AUROC or R2 of a linear probe of `features`, whose rows are the store's rows in `parts`, in order."""
    ends = np.cumsum([len(rows) for rows in parts.values()])[:-1]
    (train, validation, test), (y, held, truth) = np.split(features, ends), (labels[rows] for rows in parts.values())
    fit, score = (fit_logistic, auroc) if task == "risk" else (fit_ridge, r2)
    fitted = fit(train, y, validation, held, TASKS[task]).predict(test)
    usable = np.isfinite(fitted).all(axis=0)
    values = score(truth[:, usable], fitted[:, usable])
    return float(np.nanmean(values)) if np.isfinite(values).any() else np.nan


def _of_local_tokens(setting: Setting, store: Store) -> Iterator[Change]:
    """Local ECG vectors with and without the norm: beside each other, beside the global one, and on the heart."""
    rows = store.indices("test")[:MAPPED]
    module = load_module(pretrain(METHOD, setting), METHOD, setting.profile, setting.preset)
    model = module.model.to(setting.device).eval()
    window = first_crop(torch.from_numpy(store.ecg[rows]).to(setting.device), setting.profile.ecg.window)
    image = resize(torch.from_numpy(store.cmr[rows]).to(setting.device), setting.profile.cmr)
    published, mended = (
        Projections(*(tensor.cpu() for tensor in project(model, window, image, norm))) for norm in (False, True)
    )
    own = torch.einsum("bltw,bltw->blt", published.ecg_local, mended.ecg_local).mean()
    yield Change("norm_local_tokens", "cosine of local vectors with the mended ones", float(own), 1.0, len(rows))
    forms = (float(cosine_map(p.ecg_local, p.ecg).mean()) for p in (published, mended))
    yield Change("norm_local_tokens", "cosine of local vectors with the global one", *forms, len(rows))
    if store.labels is not None:
        heart = np.isin(store.labels[rows, FRAME], REGIONS["heart"])
        maps = (pairwise(p).mean(dim=1).numpy() for p in (published, mended))
        shares = (positive_share(values, heart) for values in maps)
        forms = (float(np.nanmean(share)) if np.isfinite(share).any() else np.nan for share in shares)
        measure = "share of the map over the beat inside the heart"
        yield Change("norm_local_tokens", measure, *forms, len(rows), f"area {heart.mean():.3g}")


def _of_frames(setting: Setting, store: Store, raw: Path) -> Iterator[Change]:
    """Whole frames against heart crops, and a fixed crop against a found one, from raw files."""
    manifest = cohort_manifest(setting.run.cohort)
    parts = _some(store, PROBED)
    rows = np.concatenate(list(parts.values()))
    subjects = store.subjects.loc[rows, ["subject", "visit"]]
    if store.frame is None and not _has_images(manifest, raw):
        yield Change("crop_in_evaluation", "mean R2 of phenotypes, linear probe", np.nan, np.nan, 0, "no raw images")
    else:
        frames = store.frame[rows] if store.frame is not None else _whole_frames(setting, manifest, raw, subjects)
        encoder = load_module(pretrain(METHOD, setting), METHOD, setting.profile, setting.preset).model.encoder_imaging
        view = setting.profile.cmr
        forms = (cmr_features(encoder, images, view, setting.device) for images in (frames, store.cmr[rows]))
        yield from _probed("crop_in_evaluation", *forms, parts, store)
    measure = "share of the heart inside the crop"
    if not manifest.files.segmentation or not _has_images(manifest, raw):
        yield Change("centre_crop", measure, np.nan, np.nan, 0, "no raw segmentations")
        return
    test = store.subjects.loc[parts["test"][:MAPPED], ["subject", "visit"]]
    shares = np.array([_heart_kept(setting, manifest, entry) for entry in _entries(manifest, raw, test)])
    shares = shares[np.isfinite(shares).all(axis=1)]
    for name, quantile in (("mean", None), ("tenth percentile of the", 0.1)):
        forms = shares.mean(axis=0) if quantile is None else np.quantile(shares, quantile, axis=0)
        yield Change("centre_crop", f"{name} {measure}", *map(float, forms), len(shares))


def _has_images(manifest: Manifest, raw: Path) -> bool:
    return bool(manifest.files.cmr) and (raw / manifest.files.cmr).parent.is_dir()


def _entries(manifest: Manifest, raw: Path, subjects: pd.DataFrame) -> list[Entry]:
    """Entries with their raw files of the store's rows `subjects` (columns subject and visit), in order."""
    by_name = {(entry.subject, entry.visit): entry for entry in list_cohort(manifest, raw).entries}
    return [by_name[subject, str(visit)] for subject, visit in subjects.itertuples(index=False)]


def _prepared(setting: Setting, manifest: Manifest, entry: Entry, centre_crop: bool, whole: int) -> HeartFrames:
    cine, crop = read_cine(manifest, entry), setting.profile.cmr.crop
    return preprocess_cine(cine, crop, centre_crop, manifest.cavity_label, whole=whole)


def _whole_frames(setting: Setting, manifest: Manifest, raw: Path, subjects: pd.DataFrame) -> np.ndarray:
    side, centre_crop = min(CANVAS, image_side(manifest, setting.profile)), setting.preset.centre_crop
    entries = _entries(manifest, raw, subjects)
    return np.stack([_prepared(setting, manifest, entry, centre_crop, side).whole for entry in entries])


def _heart_kept(setting: Setting, manifest: Manifest, entry: Entry) -> tuple[float, float]:
    """Share of the heart at end-diastole inside the fixed and inside the found crop; NaN without a segmentation."""
    shares = []
    for centre_crop in (False, True):
        frames = _prepared(setting, manifest, entry, centre_crop, CANVAS)
        if frames.labels is None or not (heart := np.isin(frames.whole_labels[FRAME], REGIONS["heart"])).any():
            return np.nan, np.nan
        shares.append(float(np.isin(frames.labels[FRAME], REGIONS["heart"]).sum() / heart.sum()))
    return shares[0], shares[1]
