# %% [markdown]
# # 04 Predict disease risk
#
# The paper's first claim: pre-trained with MMCL, the ECG alone predicts coronary artery disease (CAD), atrial
# fibrillation (AF) and diabetes (DM) better, most of all from few labels. Every encoder is probed (frozen; by
# a linear model and by nearest neighbours) and fine-tuned, with few labels and with all, beside references that use no
# encoder.
#
# - **Reads** `store/`, `checkpoints/`.
# - **Writes** `predictions/risk/`; `results/04_finetune_risk.json`; figures `risk_auroc`, `risk_labels`, `risk_roc`,
#   `risk_calibration`, `risk_subgroups`, `risk_scars`.
# - **Expected time** smoke 20 s, demo 6 min (1 core); paper not measured.

# %%
import numpy as np
import pandas as pd

from mmcl.config import DISEASES
from mmcl.environment import report
from mmcl.evaluation.tables import pivot, write_results
from mmcl.plotting.forest import draw_forest
from mmcl.plotting.marks import without_ablations
from mmcl.plotting.predictions import draw_reliability, draw_roc
from mmcl.plotting.results import draw_label_efficiency
from mmcl.plotting.style import show
from mmcl.plotting.subgroups import draw_subgroups
from mmcl.setting import open_setting
from mmcl.training.comparison import METHOD, compare, score
from mmcl.training.subgroups import score_subgroups

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
shown = [e for e in entries if e.arm in (METHOD, "mdm", "demographics") and e.mode in ("probe", "")]
subgroups = score_subgroups([e for e in shown if e.labels == "all"], "risk", setting)
write_results(setting.run.results("04_finetune_risk"), pd.concat([results, subgroups]))
plain = without_ablations(results[results["reference"] == ""])
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
figure = draw_forest(drawn, DISEASES, "AUROC", f"{setting.footer}, all labels")
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

# %%
probabilities = {e.arm: e.load("test")[seed] for e in shown if e.labels == "all" and e.outcomes}
figure = draw_reliability(probabilities, "CAD", f"{setting.footer}, linear probes, all labels")
show(figure, setting.run.figures / "risk_calibration", calibrated)

# %% [markdown]
# ## Is it the same for everybody?
# AUROC in parts of the test set, and how far two parts differ; their subjects are others, so differences are unpaired.

# %%
coronary = subgroups["subgroup"].str.contains("scar|LAD|RCA|LCX")
people = subgroups[~coronary]
figure = draw_subgroups(people, DISEASES, "AUROC", f"{setting.footer}, linear probes, all labels")
show(figure, setting.run.figures / "risk_subgroups", people)

# %% [markdown]
# ## CAD by scar and artery
# Cases of each kind against all controls: simulated subjects have a true scar and a culprit artery, which no ECG or
# image had to find. A real cohort does not know them, and this stays empty.

# %%
scars = subgroups[coronary]
figure = draw_subgroups(scars, ["CAD"], "AUROC", f"{setting.footer}, linear probes, all labels")
show(figure, setting.run.figures / "risk_scars", scars)

# %% [markdown]
# ## Beyond age, sex and body size
# What the score adds to the AUROC of demographics alone.

# %%
gain = plain[(plain["metric"] == "AUROC gain") & (plain["labels"] == "all") & plain["mode"].isin(["probe", ""])]
pivot(gain, probed_arms, DISEASES, digits=3)

# %%
curved = [e for e in entries if e.labels == "all" and e.outcomes]
curves = {e.arm: e.load("test")[seed] for e in curved if e.mode == "probe" or e.arm == "demographics"}
figure = draw_roc(curves, "CAD", f"{setting.footer}, linear probes, all labels", np.random.default_rng(seed))
show(figure, setting.run.figures / "risk_roc", probed[probed["target"] == "CAD"])

# %%
assert auroc["value"].dropna().between(0, 1).all(), "an AUROC outside 0 to 1"
assert set(arms) >= {"random", "scratch", "mdm", "mmcl", "mdm+mmcl", "cmr", "demographics"}, "an arm is missing"
