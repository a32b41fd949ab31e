# %% [markdown]
# # 02 Pre-train by masked data modelling
#
# The first of the method's two steps: an autoencoder sees a fifth of an ECG's patches and rebuilds the rest, so that
# its
# encoder learns what ECGs look like without any label. The paper's claim it bears on: MDM is a good start for MMCL.
#
# - **Reads** `store/`.
# - **Writes** `checkpoints/mdm/` (last, best, finished weights, log); figures `mdm_training`, `mdm_reconstruction`.
# - **Expected time** smoke 10 s, demo 5 min (1 core); paper not measured. An interrupted training goes on from its last
#   epoch; the same training from a shell: `python -m mmcl pretrain mdm --profile demo`.

# %%
from mmcl.data.manifest import cohort_manifest
from mmcl.data.store import Store
from mmcl.environment import report
from mmcl.plotting.reconstruction import draw_reconstruction
from mmcl.plotting.style import show
from mmcl.plotting.training import draw_training
from mmcl.provenance import write_json
from mmcl.setting import open_setting
from mmcl.training.features import stored_features
from mmcl.training.pretraining import history, pretrain, summary
from mmcl.training.reconstruction import reconstruct

# %% tags=["parameters"]
profile = "demo"
cohort = "simulated"
seed = 0
device = "auto"
preset = "corrected"

# %%
setting = open_setting(profile, cohort, seed, device, preset)
store = Store.open(setting.run.store)
report(setting.device)

# %%
folder = pretrain("mdm", setting)
epochs = history(folder)
figure = draw_training({"mdm": epochs}, setting.footer)
show(figure, setting.run.figures / "mdm_training", epochs.reset_index())

# %% [markdown]
# ## What it rebuilds
# The test subject whose reconstruction is of median quality, so neither the best nor the worst.

# %%
median = reconstruct("mdm", setting, store)
shown = {
    "leads": "I, II, V2, V5",
    "ecg": median.ecg.astype(float).round(3),
    "prediction": median.prediction.astype(float).round(3),
}
if cohort_manifest(cohort).shareable:
    rate = setting.profile.ecg.sampling_rate
    figure = draw_reconstruction(median.ecg, median.prediction, median.masked, rate, median.correlation, setting.footer)
    show(figure, setting.run.figures / "mdm_reconstruction", shown)

# %% [markdown]
# ## Frozen features
# Of every subject, for the notebooks that follow: the encoder as it is, and one of random weights to compare with.

# %%
{arm: stored_features(arm, setting).shape for arm in ("random", "mdm")}

# %%
scores = summary(folder)
results = {
    "source": setting.footer,
    "test_ncc": {"value": median.mean, "low": median.low, "high": median.high, "n": median.n, "seed": seed},
    **{name: scores[name] for name in ("epochs", "best_epoch", "validation_loss", "validation_ncc")},
}
write_json(setting.run.results("02_pretrain_mdm"), results)
results

# %%
assert len(epochs) == setting.profile.mdm.epochs, "training did not run to its end"
assert epochs["train_loss"].iloc[-1] < epochs["train_loss"].iloc[0], "training did not lower its loss"
