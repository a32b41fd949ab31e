# %% [markdown]
# # 07 Summarise
#
# What was found, whichever way it fell: supervised from scratch, MDM only, MMCL only and MDM + MMCL, beside the CMR
# encoder, classical ECG features and demographics; few labels and all; as they are and beyond age, sex and body size.
# Intervals are over test subjects; with one pre-training seed they hold no spread of pre-training.
#
# - **Reads** `results/` of the other notebooks.
# - **Writes** `results/07_summarise.json`; figures `summary_few_labels`, `summary_differences`.
# - **Expected time** 10 s.

# %%
from mmcl.config import DISEASES
from mmcl.environment import report
from mmcl.evaluation.tables import pivot, read_results
from mmcl.evaluation.verdict import tally, verdicts
from mmcl.phenotypes import GROUPS, TARGETS
from mmcl.plotting.results import draw_adjusted, draw_results
from mmcl.plotting.style import show
from mmcl.provenance import read_json, write_json
from mmcl.setting import open_setting

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
cohort_results = read_json(setting.run.results("01_preprocess"))
risk = read_results(setting.run.results("04_finetune_risk"))
phenotypes = read_results(setting.run.results("05_finetune_phenotypes"))
cohort_results["counts"]["summary"], cohort_results["splits"]

# %% [markdown]
# ## Linear probes of frozen encoders, and references; few labels
# AUROC of the diseases, mean R2 of the groups of phenotypes, 95 % intervals. `cmr` sees the image.

# %%
plain_risk, plain_phenotypes = risk[risk["reference"] == ""], phenotypes[phenotypes["reference"] == ""]
auroc = plain_risk[plain_risk["metric"] == "AUROC"]
r2 = plain_phenotypes[plain_phenotypes["metric"] == "R2"]
linear = ["probe", ""]
probed_auroc, probed_r2 = auroc[auroc["mode"].isin(linear)], r2[r2["mode"].isin(linear)]
near_auroc, near_r2 = auroc[auroc["mode"] == "knn"], r2[r2["mode"] == "knn"]
tuned_auroc, tuned_r2 = auroc[auroc["mode"] == "finetune"], r2[r2["mode"] == "finetune"]
probed, tuned = list(probed_auroc["arm"].unique()), list(tuned_auroc["arm"].unique())
probe_few = pivot(probed_auroc[probed_auroc["labels"] == few], probed, DISEASES).join(
    pivot(probed_r2[probed_r2["labels"] == few], probed, groups)
)
probe_few

# %% [markdown]
# ## The same, all labels

# %%
probe_all = pivot(probed_auroc[probed_auroc["labels"] == "all"], probed, DISEASES).join(
    pivot(probed_r2[probed_r2["labels"] == "all"], probed, groups)
)
probe_all

# %% [markdown]
# ## Nearest neighbours in frozen features, few labels

# %%
near = list(near_auroc["arm"].unique())
near_few = pivot(near_auroc[near_auroc["labels"] == few], near, DISEASES).join(
    pivot(near_r2[near_r2["labels"] == few], near, groups)
)
near_few

# %% [markdown]
# ## Fine-tuned, few labels
# `scratch` starts from random weights, and so does `cmr`, the supervised CMR encoder.

# %%
tuned_few = pivot(tuned_auroc[tuned_auroc["labels"] == few], tuned, DISEASES).join(
    pivot(tuned_r2[tuned_r2["labels"] == few], tuned, groups)
)
tuned_few

# %% [markdown]
# ## Fine-tuned, all labels

# %%
tuned_all = pivot(tuned_auroc[tuned_auroc["labels"] == "all"], tuned, DISEASES).join(
    pivot(tuned_r2[tuned_r2["labels"] == "all"], tuned, groups)
)
tuned_all

# %% [markdown]
# ## Beyond age, sex and body size (few labels)
# AUROC gained on demographics; partial R2.

# %%
gain = plain_risk[(plain_risk["metric"] == "AUROC gain") & plain_risk["mode"].isin(linear)]
partial = plain_phenotypes[(plain_phenotypes["metric"] == "partial R2") & plain_phenotypes["mode"].isin(linear)]
adjusted_table = pivot(gain[gain["labels"] == few], probed, DISEASES).join(
    pivot(partial[partial["labels"] == few], probed, groups)
)
adjusted_table

# %%
figure = draw_adjusted(
    probed_r2[probed_r2["labels"] == few],
    partial[partial["labels"] == few].assign(metric="R2"),
    groups,
    "R2",
    f"{setting.footer}, linear probes, {few} labels",
)
drawn = probed_r2[(probed_r2["labels"] == few) & probed_r2["target"].isin(groups)]
show(figure, setting.run.figures / "summary_few_labels", drawn)

# %% [markdown]
# ## MDM + MMCL less MDM alone
# Paired on the same test subjects; the interval of a true gain leaves out zero.

# %%
paired = phenotypes[(phenotypes["reference"] == "mdm") & (phenotypes["metric"] == "R2") & (phenotypes["labels"] == few)]
paired = paired[paired["mode"] != "knn"]
figure = draw_results(paired, groups, "R2", f"{setting.footer}, {few} labels")
show(figure, setting.run.figures / "summary_differences", paired[paired["target"].isin(groups)])

# %% [markdown]
# ## In words
# Each sentence follows from its interval; there is no correction for the number of comparisons.

# %%
found = verdicts(risk, DISEASES, "AUROC") + verdicts(phenotypes, groups, "R2")
print(*(line for line in found if "probe" in line), sep="\n")

# %%
print(*(line for line in found if "finetune" in line), sep="\n")

# %% [markdown]
# ## How many of the 61 phenotypes fell which way

# %%
tally(phenotypes, TARGETS, "R2")

# %%
maps = read_json(setting.run.results("06_interpret_latent_space"))["maps"]
retrieval = read_json(setting.run.results("03_pretrain_mmcl"))["retrieval"]
results = {
    "source": setting.footer,
    "seeds": {"pre-training": 1, "fine-tuning": len(setting.profile.downstream.seeds)},
    "probes, few labels": probe_few.to_dict("index"),
    "probes, all labels": probe_all.to_dict("index"),
    "nearest neighbours, few labels": near_few.to_dict("index"),
    "fine-tuned, few labels": tuned_few.to_dict("index"),
    "fine-tuned, all labels": tuned_all.to_dict("index"),
    "adjusted probes, few labels": adjusted_table.to_dict("index"),
    "verdicts": found,
    "maps": maps,
    "retrieval": retrieval,
}
write_json(setting.run.results("07_summarise"), results)

# %%
assert len(found) >= 2 * (len(DISEASES) + len(groups)), "comparisons are missing"
assert not probe_few.loc["mdm+mmcl"].eq("–").all(), "the method was not scored"
