# %% [markdown]
# # 08 Use your own ECGs
#
# From weight file and recordings to features in three lines, then to a classifier. Without recordings of your own the
# notebook takes new simulated subjects, whom the encoder has never met; with `signals`, a NumPy file (n, leads,
# samples), and `leads`, their names with commas between, it embeds those instead. `weights` may be any file that
# `mmcl.load_encoder` reads: the released ones, a training checkpoint, an export of this project. Research only: nothing
# here is a medical device.
#
# - **Reads** the encoder of MDM + MMCL of this run, or `weights`; simulated subjects, or `signals`.
# - **Writes** `results/08_use_your_own_ecgs.json`; `encoder.safetensors` with its card `encoder.md`; figure
#   `own_ecgs_classifier` (with simulated subjects, whose LV mass is known).
# - **Expected time** smoke 8 s, demo 30 s; paper not measured.

# %%
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import mmcl
from mmcl.config import LEADS
from mmcl.environment import report
from mmcl.evaluation.predictions import Predictions
from mmcl.evaluation.tables import score_predictions
from mmcl.plotting.predictions import draw_roc
from mmcl.plotting.style import show
from mmcl.provenance import read_json, write_json
from mmcl.setting import open_setting

# %% tags=["parameters"]
profile = "demo"
cohort = "simulated"
seed = 0
device = "auto"
preset = "corrected"
weights = ""
signals = ""
leads = ""
sampling_rate = 500
unit = "mV"

# %%
setting = open_setting(profile, cohort, seed, device, preset)
arm = setting.run.checkpoints / "mdm+mmcl"
report(setting.device)

# %% [markdown]
# ## An encoder from a file
# Its width, depth, patch, window and leads are read from the tensors; no code of the file runs.

# %%
encoder = mmcl.load_encoder(weights or arm / "weights.safetensors", device=setting.device)
print(
    f"{encoder.width} features from {len(encoder.leads)} leads, {encoder.window} samples at {encoder.sampling_rate} Hz"
)

# %% [markdown]
# ## Recordings
# Leads may be in any order and spelling, in volt to nanovolt, at any sampling rate; preprocessing is inside `embed`.

# %%
subjects = min(300, setting.profile.cohort.train)
simulated = None if signals else mmcl.simulate_cohort(subjects, seed + 1_000_003, images=False, device=setting.device)
recordings = np.load(signals, allow_pickle=False) if signals else simulated.ecg
source = "own recordings" if signals else f"{setting.footer}; {subjects} new subjects"
recordings.shape

# %%
names = tuple(leads.replace(" ", "").split(",")) if leads else LEADS
features = encoder.embed(recordings, sampling_rate=sampling_rate, leads=names, unit=unit)
features.shape

# %% [markdown]
# ## A classifier on the features
# An LV mass above the median of the sex, from a pipeline of raw ECGs: transformer, scaling, logistic regression; each
# subject is scored by a classifier that did not see it (5 folds).

# %%
results = {"source": source, "recordings": len(recordings), "width": int(features.shape[1])}
if simulated is not None:
    mass = simulated.phenotypes["LVM"]
    heavy = (mass > mass.groupby(simulated.subjects["sex"].to_numpy()).transform("median")).to_numpy(float)
    transformer = mmcl.EcgFeatures(encoder, sampling_rate=sampling_rate, leads=names, unit=unit)
    classifier = make_pipeline(transformer, StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    chance = cross_val_predict(classifier, recordings, heavy, cv=5, method="predict_proba")[:, 1]
    held_out = Predictions(mass.index.to_numpy(str), ("LV mass",), heavy[:, None], chance[:, None])
    columns = {"task": "own ECGs", "arm": "mdm+mmcl", "mode": "probe", "labels": str(subjects)}
    scores = score_predictions({seed: held_out}, ("AUROC", "Brier"), 500, np.random.default_rng(seed), **columns)
    results["scores"] = scores.to_dict("records")
    print(scores[["metric", "value", "low", "high", "n"]].round(3).to_string(index=False))

# %%
if simulated is not None:
    figure = draw_roc({"mdm+mmcl": held_out}, "LV mass", source, np.random.default_rng(seed))
    show(figure, setting.run.figures / "own_ecgs_classifier", {"scores": scores})

# %% [markdown]
# ## The encoder to hand on
# Weights as safetensors, and a card that says what they are and are not; of `weights` from elsewhere it says what their
# file says.

# %%
card = None
if not weights:
    trained = read_json(arm / "finished.json")
    card = {
        "data": setting.footer,
        "preset": setting.preset.name,
        "metrics": f"validation loss {trained['validation_loss']:.3f}",
        "licence": "MIT",
    }
path = mmcl.export_encoder(encoder, setting.run.folder / "encoder", card)
again = mmcl.load_encoder(path, device=setting.device)
print(path.with_suffix(".md").read_text())

# %%
write_json(setting.run.results("08_use_your_own_ecgs"), results)

# %%
assert np.isfinite(features).all(), "features that are no numbers"
assert np.allclose(again.embed(recordings[:4], sampling_rate, names, unit), features[:4], atol=1e-5), "export differs"
