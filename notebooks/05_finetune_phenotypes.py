# %% [markdown]
# # 05 Predict CMR phenotypes
#
# The paper's second claim: the ECG alone predicts what CMR measures (61 phenotypes of the ventricles' volumes and mass,
# wall thickness and strain) better after MMCL. Missing phenotypes count neither in training nor in the scores.
#
# - **Reads** `store/`, `checkpoints/`.
# - **Writes** `predictions/phenotypes/`; `results/05_finetune_phenotypes.json`; figures `phenotype_r2`,
#   `phenotype_labels`, `phenotype_scatter`, `phenotype_adjusted`, `phenotype_subgroups`.
# - **Expected time** smoke 25 s, demo 6 min (1 core); paper not measured.

# %%
import numpy as np
import pandas as pd

from mmcl.environment import report
from mmcl.evaluation.tables import pivot, write_results
from mmcl.phenotypes import GROUPS, PHENOTYPES, TARGETS
from mmcl.plotting.forest import draw_forest
from mmcl.plotting.marks import without_ablations
from mmcl.plotting.predictions import draw_scatter
from mmcl.plotting.results import draw_adjusted, draw_label_efficiency
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
groups = [f"{group} mean" for group in GROUPS]
report(setting.device)

# %%
entries = compare("phenotypes", setting)
results = score(entries, "phenotypes", setting)
shown = [e for e in entries if e.arm in (METHOD, "mdm", "demographics") and e.mode in ("probe", "")]
subgroups = score_subgroups([e for e in shown if e.labels == "all"], "phenotypes", setting)
write_results(setting.run.results("05_finetune_phenotypes"), pd.concat([results, subgroups]))
plain = without_ablations(results[results["reference"] == ""])
arms = list(plain["arm"].unique())

# %% [markdown]
# ## R2 by group, all labels: linear probes, then fine-tuned
# Mean over the phenotypes of a group, 95 % intervals by bootstrap over test subjects.

# %%
r2 = plain[plain["metric"] == "R2"]
probed = r2[r2["mode"].isin(["probe", ""])]
tuned = r2[r2["mode"] == "finetune"]
near = r2[r2["mode"] == "knn"]
probed_arms, tuned_arms = list(probed["arm"].unique()), list(tuned["arm"].unique())
pivot(probed[probed["labels"] == "all"], probed_arms, groups, digits=3)

# %%
pivot(tuned[tuned["labels"] == "all"], tuned_arms, groups, digits=3)

# %% [markdown]
# ## The same by nearest neighbours
# The weighted mean of the nearest training subjects, all labels; their number is chosen on validation.

# %%
pivot(near[near["labels"] == "all"], list(near["arm"].unique()), groups, digits=3)

# %% [markdown]
# ## R2 by group, few labels

# %%
pivot(probed[probed["labels"] == few], probed_arms, groups, digits=3)

# %%
pivot(tuned[tuned["labels"] == few], tuned_arms, groups, digits=3)

# %% [markdown]
# ## R2 of the left ventricle, linear probes, all labels

# %%
pivot(probed[probed["labels"] == "all"], probed_arms, GROUPS["LV"])

# %% [markdown]
# ## r, R2 and MAE in the phenotype's unit: MDM + MMCL, linear probe, all labels

# %%
units = {phenotype.name: phenotype.unit for phenotype in PHENOTYPES}
own = plain[(plain["arm"] == METHOD) & (plain["mode"] == "probe") & (plain["labels"] == "all")]
pivot(own, TARGETS, ["r", "R2", "MAE"], row="target", column="metric").assign(unit=pd.Series(units))

# %%
drawn = r2[(r2["labels"] == "all") & (r2["mode"] != "knn")]
figure = draw_forest(drawn, groups, "R2", f"{setting.footer}, all labels")
show(figure, setting.run.figures / "phenotype_r2", drawn)

# %%
figure = draw_label_efficiency(plain, groups, "R2", f"{setting.footer}, linear probes")
show(figure, setting.run.figures / "phenotype_labels", probed[probed["target"].isin(groups)])

# %% [markdown]
# ## Beyond age, sex and body size

# %%
partial = plain[plain["metric"] == "partial R2"].assign(metric="R2")
adjusted = partial[partial["mode"].isin(["probe", ""]) & (partial["labels"] == "all")]
pivot(adjusted, probed_arms, groups, digits=3)

# %%
figure = draw_adjusted(
    probed[probed["labels"] == "all"], adjusted, groups, "R2", f"{setting.footer}, linear probes, all labels"
)
show(figure, setting.run.figures / "phenotype_adjusted", adjusted[adjusted["target"].isin(groups)])

# %% [markdown]
# ## Is it the same for everybody?
# R2 in parts of the test set, and how far two parts differ. R2 falls where a part has less spread, at equal errors.

# %%
figure = draw_subgroups(subgroups, groups[:3], "R2", f"{setting.footer}, linear probes, all labels")
show(figure, setting.run.figures / "phenotype_subgroups", subgroups[subgroups["target"].isin(groups)])

# %% [markdown]
# ## Predicted against true

# %%
scattered = ["LVEDV", "LVEF", "LVM", "RVEDV", "WT_global", "Ecc_global"]
method = next(e for e in entries if (e.arm, e.mode, e.labels) == (METHOD, "probe", "all"))
chosen = method.load("test")[seed].select(scattered)
figure = draw_scatter(chosen, units, f"{setting.footer}, linear probe, all labels", np.random.default_rng(seed))
show(figure, setting.run.figures / "phenotype_scatter", r2[r2["target"].isin(scattered)])

# %%
assert r2["value"].dropna().le(1).all(), "an R2 above 1"
assert set(arms) >= {"random", "scratch", "mdm", "mmcl", "mdm+mmcl", "cmr", "demographics"}, "an arm is missing"
