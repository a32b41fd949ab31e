# %% [markdown]
# # 04 Predict disease risk
#
# The paper's first claim: pre-trained with MMCL, the ECG alone predicts coronary artery disease (CAD), atrial
# fibrillation (AF) and diabetes (DM) better, most of all from few labels. Every encoder is probed (frozen; by
# a linear model and by nearest neighbours) and fine-tuned, with few labels and with all, beside references that use no
# encoder.
#
# - **Reads** `store/`, `checkpoints/`.
# - **Writes** `predictions/risk/`; `results/04_finetune_risk.json`; figures `risk_auroc`, `risk_labels`, `risk_roc`.
# - **Expected time** smoke 20 s, demo 6 min (1 core); paper not measured.

# %%
import numpy as np

from mmcl.config import DISEASES
from mmcl.environment import report
from mmcl.evaluation.tables import pivot, write_results
from mmcl.plotting.predictions import draw_roc
from mmcl.plotting.results import draw_label_efficiency, draw_results
from mmcl.plotting.style import show
from mmcl.setting import open_setting
from mmcl.training.comparison import compare, score

# %% tags=["parameters"]
profile = "demo"
cohort = "simulated"
seed = 0
device = "auto"
preset = "corrected"

# %%
setting = open_setting(profile, cohort, seed, device, preset)
few = str(setting.profile.downstream.few_labels[0])
report(setting.device)

# %%
entries = compare("risk", setting)
results = score(entries, "risk", setting)
write_results(setting.run.results("04_finetune_risk"), results)
plain = results[results["reference"] == ""]
arms = list(plain["arm"].unique())

# %% [markdown]
# ## AUROC with all labels: linear probes, then fine-tuned
# 95 % intervals by bootstrap over test subjects. `cmr` is the CMR encoder, an upper reference that needs an image.

# %%
auroc = plain[plain["metric"] == "AUROC"]
probed = auroc[auroc["mode"].isin(["probe", ""])]
tuned = auroc[auroc["mode"] == "finetune"]
near = auroc[auroc["mode"] == "knn"]
probed_arms, tuned_arms = list(probed["arm"].unique()), list(tuned["arm"].unique())
pivot(probed[probed["labels"] == "all"], probed_arms, DISEASES, digits=3)

# %%
pivot(tuned[tuned["labels"] == "all"], tuned_arms, DISEASES, digits=3)

# %% [markdown]
# ## The same by nearest neighbours
# The weighted share of cases among the nearest training subjects, all labels; their number is chosen on validation.

# %%
pivot(near[near["labels"] == "all"], list(near["arm"].unique()), DISEASES, digits=3)

# %% [markdown]
# ## AUROC with few labels

# %%
pivot(probed[probed["labels"] == few], probed_arms, DISEASES, digits=3)

# %%
pivot(tuned[tuned["labels"] == few], tuned_arms, DISEASES, digits=3)

# %%
drawn = auroc[(auroc["labels"] == "all") & (auroc["mode"] != "knn")]
figure = draw_results(drawn, DISEASES, "AUROC", f"{setting.footer}, all labels")
show(figure, setting.run.figures / "risk_auroc", drawn)

# %%
figure = draw_label_efficiency(plain, DISEASES, "AUROC", f"{setting.footer}, linear probes")
show(figure, setting.run.figures / "risk_labels", probed)

# %% [markdown]
# ## Are the probabilities right? CAD, all labels
# A slope of 1 and an intercept of 0 are best: a slope below 1 says that probabilities are too extreme, an intercept
# below 0 that they are too high. ECE is the expected calibration error.

# %%
calibrated = plain[(plain["target"] == "CAD") & (plain["labels"] == "all") & plain["mode"].isin(["probe", ""])]
pivot(calibrated, probed_arms, ["Brier", "ECE", "calibration slope", "calibration intercept"], column="metric")

# %% [markdown]
# ## Beyond age, sex and body size
# What the score adds to the AUROC of demographics alone.

# %%
gain = plain[(plain["metric"] == "AUROC gain") & (plain["labels"] == "all") & plain["mode"].isin(["probe", ""])]
pivot(gain, probed_arms, DISEASES, digits=3)

# %%
curves = {e.arm: e.load("test")[seed] for e in entries if e.mode == "probe" and e.labels == "all"}
curves |= {e.arm: e.load("test")[seed] for e in entries if e.arm == "demographics" and e.labels == "all"}
figure = draw_roc(curves, "CAD", f"{setting.footer}, linear probes, all labels", np.random.default_rng(seed))
show(figure, setting.run.figures / "risk_roc", probed[probed["target"] == "CAD"])

# %%
assert auroc["value"].dropna().between(0, 1).all(), "an AUROC outside 0 to 1"
assert set(arms) >= {"random", "scratch", "mdm", "mmcl", "mdm+mmcl", "cmr", "demographics"}, "an arm is missing"
