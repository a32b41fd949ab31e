# %% [markdown]
# # 03 Pre-train by multimodal contrastive learning
#
# The second step: the ECG and the CMR of one subject are pulled together, those of different subjects pushed apart
# (CLIP
# loss), starting from the MDM encoder. Beside it the arm that starts from random weights. The paper's claim it bears
# on: the ECG encoder learns what CMR shows.
#
# - **Reads** `store/`, `checkpoints/mdm/`.
# - **Writes** `checkpoints/mmcl/`, `checkpoints/mdm+mmcl/`; figure `mmcl_training`.
# - **Expected time** smoke 10 s, demo 5 min (1 core); paper not measured. From a shell:
#   `python -m mmcl pretrain mdm+mmcl --profile demo`.

# %%
import numpy as np

from mmcl.data.store import Store
from mmcl.environment import report
from mmcl.interpretation.pairing import retrieval_table
from mmcl.plotting.style import show
from mmcl.plotting.training import draw_training
from mmcl.provenance import write_json
from mmcl.setting import open_setting
from mmcl.training.features import stored_features
from mmcl.training.pretraining import history, pretrain, summary

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
arms = ["mmcl", "mdm+mmcl"]
folders = {arm: pretrain(arm, setting) for arm in arms}
histories = {arm: history(folder) for arm, folder in folders.items()}
batch = min(setting.profile.mmcl.batch, len(store.indices("train")))
chance = {"loss": np.log(batch), "top1": 1 / batch}
figure = draw_training(histories, setting.footer, chance=chance)
drawn = {arm: epochs.reset_index() for arm, epochs in histories.items()}
show(figure, setting.run.figures / "mmcl_training", drawn)

# %% [markdown]
# ## Retrieval
# Given a test subject's ECG, where does the subject's own CMR rank among those of all test subjects?

# %%
retrieval = retrieval_table(arms, setting, store)
retrieval.round(3)

# %% [markdown]
# ## Frozen features
# Of every subject, for the notebooks that follow: both ECG encoders, and the CMR encoder of `mdm+mmcl`.

# %%
{arm: stored_features(arm, setting).shape for arm in (*arms, "cmr")}

# %%
scores = {arm: summary(folder) for arm, folder in folders.items()}
results = {
    "source": setting.footer,
    "arms": {
        arm: {name: scores[arm][name] for name in ("epochs", "best_epoch", "validation_loss", "validation_top1")}
        for arm in arms
    },
    "retrieval": retrieval.reset_index().to_dict("records"),
}
write_json(setting.run.results("03_pretrain_mmcl"), results)

# %%
assert all(len(epochs) == setting.profile.mmcl.epochs for epochs in histories.values()), "training did not end"
assert all(e["train_loss"].iloc[-1] < e["train_loss"].iloc[0] for e in histories.values()), "loss did not fall"
