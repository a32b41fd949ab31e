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
from IPython.display import Image, display

from mmcl.config import DISEASES
from mmcl.environment import report
from mmcl.evaluation.tables import pivot, read_results
from mmcl.evaluation.verdict import tally, verdicts
from mmcl.phenotypes import GROUPS, TARGETS
from mmcl.plotting.results import draw_adjusted, draw_results
from mmcl.plotting.style import save
from mmcl.provenance import read_json, write_json
from mmcl.setting import open_setting

# %% tags=["parameters"]
profile = "demo"
cohort = "simulated"
seed = 0
device = "auto"

# %%
setting = open_setting(profile, cohort, seed, device)
few = str(setting.profile.downstream.few_labels)
groups = [f"{group} mean" for group in GROUPS]
report(setting.device)

# %%
cohort_results = read_json(setting.run.results("01_preprocess"))
risk = read_results(setting.run.results("04_finetune_risk"))
phenotypes = read_results(setting.run.results("05_finetune_phenotypes"))
cohort_results["counts"]["summary"], cohort_results["splits"]

# %% [markdown]
# ## All encoders by linear probe, few labels

# %%
plain_risk, plain_phenotypes = risk[risk["reference"] == ""], phenotypes[phenotypes["reference"] == ""]
arms = list(dict.fromkeys(plain_risk["arm"]))
auroc = plain_risk[(plain_risk["metric"] == "AUROC") & plain_risk["mode"].isin(["probe", ""])]
r2 = plain_phenotypes[(plain_phenotypes["metric"] == "R2") & plain_phenotypes["mode"].isin(["probe", ""])]
few_table = pivot(auroc[auroc["labels"] == few], arms, DISEASES).join(pivot(r2[r2["labels"] == few], arms, groups))
few_table

# %% [markdown]
# ## All labels

# %%
all_table = pivot(auroc[auroc["labels"] == "all"], arms, DISEASES).join(pivot(r2[r2["labels"] == "all"], arms, groups))
all_table

# %% [markdown]
# ## Beyond age, sex and body size (few labels)
# AUROC gained on demographics; partial R2.

# %%
gain = plain_risk[(plain_risk["metric"] == "AUROC gain") & plain_risk["mode"].isin(["probe", ""])]
partial = plain_phenotypes[(plain_phenotypes["metric"] == "partial R2") & plain_phenotypes["mode"].isin(["probe", ""])]
adjusted_table = pivot(gain[gain["labels"] == few], arms, DISEASES).join(
    pivot(partial[partial["labels"] == few], arms, groups)
)
adjusted_table

# %%
figure = draw_adjusted(
    r2[r2["labels"] == few],
    partial[partial["labels"] == few].assign(metric="R2"),
    groups,
    "R2",
    f"{setting.footer}, linear probes, {few} labels",
)
drawn = r2[(r2["labels"] == few) & r2["target"].isin(groups)]
display(Image(save(figure, setting.run.figures / "summary_few_labels", drawn)))

# %% [markdown]
# ## MDM + MMCL less MDM alone
# Paired on the same test subjects; the interval of a true gain leaves out zero.

# %%
paired = phenotypes[(phenotypes["reference"] == "mdm") & (phenotypes["metric"] == "R2") & (phenotypes["labels"] == few)]
figure = draw_results(paired, groups, "R2", f"{setting.footer}, {few} labels")
display(Image(save(figure, setting.run.figures / "summary_differences", paired[paired["target"].isin(groups)])))

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
shares = read_json(setting.run.results("06_interpret_latent_space"))["shares"]
retrieval = read_json(setting.run.results("03_pretrain_mmcl"))["retrieval"]
results = {
    "source": setting.footer,
    "seeds": {"pre-training": 1, "fine-tuning": len(setting.profile.downstream.seeds)},
    "few labels": few_table.to_dict("index"),
    "all labels": all_table.to_dict("index"),
    "adjusted, few labels": adjusted_table.to_dict("index"),
    "verdicts": found,
    "localisation": shares,
    "retrieval": retrieval,
}
write_json(setting.run.results("07_summarise"), results)

# %%
assert len(found) >= 2 * (len(DISEASES) + len(groups)), "comparisons are missing"
assert not few_table.loc["mdm+mmcl"].eq("–").all(), "the method was not scored"
