# %% [markdown]
# # 07 Summarise
#
# What holds of the paper's claims, and what does not: MDM + MMCL against training from scratch, each of its stages
# alone, other objectives, the CMR encoder, classical ECG features and demographics; few labels and all; as they are and
# beyond age, sex and body size. Every sentence below is made from its numbers.
#
# - **Reads** `results/` of the other notebooks.
# - **Writes** `results/07_summarise.json`, `tables/`; figures `summary_few_labels`, `summary_risk`,
#   `summary_phenotypes`, `summary_scaling`, `summary_ablations` and the record `summary` of the README.
# - **Expected time** 10 s.

# %%
import pandas as pd
from IPython.display import Markdown

from mmcl.config import DISEASES
from mmcl.environment import report
from mmcl.evaluation.published import beside_published, largest_gains, published_claims
from mmcl.evaluation.tables import pivot, read_results
from mmcl.evaluation.typeset import blocks, caption, markdown_table, write_tables
from mmcl.evaluation.verdict import best_of, ideas_on, judge, sentences, summary, tally
from mmcl.findings import markdown, record, table_rows
from mmcl.phenotypes import GROUPS, TARGETS
from mmcl.plotting.curves import draw_ablations, draw_scaling
from mmcl.plotting.forest import draw_forest
from mmcl.plotting.marks import without_ablations
from mmcl.plotting.results import draw_adjusted
from mmcl.plotting.style import show
from mmcl.provenance import read_json, write_json
from mmcl.setting import open_setting
from mmcl.training.comparison import METHOD

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
risk = read_results(setting.run.results("04_finetune_risk")).query("subgroup == ''")
phenotypes = read_results(setting.run.results("05_finetune_phenotypes")).query("subgroup == ''")
cohort_results["counts"]["summary"], cohort_results["splits"]

# %% [markdown]
# ## Disease risk: AUROC
# Linear probes of frozen encoders, references, and fine-tuned encoders; `tables/` holds the same in LaTeX. `scratch`
# starts from random weights, and so does the fine-tuned `cmr`, the supervised CMR encoder, which sees the image.

# %%
auroc, r2 = risk[risk["metric"] == "AUROC"], phenotypes[phenotypes["metric"] == "R2"]
plain_auroc, plain_r2 = auroc[auroc["reference"] == ""], r2[r2["reference"] == ""]
tables = setting.run.folder / "tables"
risk_blocks = blocks(auroc, DISEASES, "AUROC", table_rows(plain_auroc), METHOD)
risk_caption = caption(plain_auroc, "AUROC", setting.footer)
write_tables(tables, "risk", risk_blocks, risk_caption)
Markdown(markdown_table(risk_blocks, risk_caption))

# %% [markdown]
# ## CMR phenotypes: mean R2 of each group

# %%
phenotype_blocks = blocks(r2, groups, "R2", table_rows(plain_r2), METHOD)
phenotype_caption = caption(plain_r2[plain_r2["target"].isin(groups)], "R2", setting.footer)
write_tables(tables, "phenotypes", phenotype_blocks, phenotype_caption)
Markdown(markdown_table(phenotype_blocks, phenotype_caption))

# %% [markdown]
# ## Beyond age, sex and body size (linear probes, few labels)
# AUROC gained on demographics; partial R2.

# %%
linear = ["probe", ""]
probed_r2 = without_ablations(plain_r2[plain_r2["mode"].isin(linear) & (plain_r2["labels"] == few)])
probed = list(probed_r2["arm"].unique())
gain = risk[(risk["metric"] == "AUROC gain") & risk["mode"].isin(linear) & (risk["labels"] == few)]
partial = phenotypes[(phenotypes["metric"] == "partial R2") & phenotypes["mode"].isin(linear)]
partial = without_ablations(partial[partial["labels"] == few])
adjusted_table = pivot(gain, probed, DISEASES).join(pivot(partial, probed, groups))
adjusted_table

# %%
figure = draw_adjusted(
    probed_r2, partial.assign(metric="R2"), groups, "R2", f"{setting.footer}, linear probes, {few} labels"
)
show(figure, setting.run.figures / "summary_few_labels", probed_r2[probed_r2["target"].isin(groups)])

# %% [markdown]
# ## MDM + MMCL less every other arm
# Paired on the same test subjects. p is DeLong's for AUROC and from the bootstrap for R2; Holm's correction counts all
# comparisons of one task, metric and number of labels; means over groups and single phenotypes are counted apart, and
# so are nearest neighbours, ablations, and arms beyond the paper.

# %%
compared = without_ablations(auroc[(auroc["reference"] != "") & (auroc["labels"] == few) & (auroc["mode"] != "knn")])
figure = draw_forest(compared, DISEASES, "AUROC", f"{setting.footer}, {few} labels")
show(figure, setting.run.figures / "summary_risk", compared)

# %%
compared = without_ablations(r2[(r2["reference"] != "") & (r2["labels"] == few) & (r2["mode"] != "knn")])
compared = compared[compared["target"].isin(groups)]
figure = draw_forest(compared, groups, "R2", f"{setting.footer}, {few} labels")
show(figure, setting.run.figures / "summary_phenotypes", compared)

# %% [markdown]
# ## How much data, and which numbers: scaling and ablations

# %%
scaled = plain_auroc[(plain_auroc["mode"] == "probe") & (plain_auroc["labels"] == "all")]
figure = draw_scaling(scaled, DISEASES, "AUROC", f"{setting.footer}, linear probes", cohort_results["splits"]["train"])
show(figure, setting.run.figures / "summary_scaling", scaled)

# %%
mdm, mmcl = setting.profile.mdm, setting.profile.mmcl
defaults = {"mask": mdm.mask_ratio, "ncc": mdm.ncc_weight, "temperature": mmcl.temperature, "lambda": mmcl.lambda_0}
defaults |= {"projection": mmcl.projection, "batch": mmcl.batch, "window": setting.profile.ecg.window}
defaults |= {"image": setting.profile.cmr.image_size}
ablated = plain_r2[(plain_r2["mode"] == "probe") & (plain_r2["labels"] == "all")]
figure = draw_ablations(ablated, "LV mean", "R2", f"{setting.footer}, linear probes", defaults)
show(figure, setting.run.figures / "summary_ablations", ablated[ablated["target"] == "LV mean"])

# %% [markdown]
# ## In words
# A claim holds for a target where the 95 % interval of the difference leaves out 0 and p is below 0.05 after Holm's
# correction, does not hold where the same is true the other way round, and cannot be told elsewhere. Numbers are MDM +
# MMCL less the other, and in per cent of the other.

# %%
judged = pd.concat([judge(risk, DISEASES, "AUROC", few), judge(phenotypes, groups, "R2", few)])
found = sentences(judged)
print(*(line for line in found if "linear probe" in line), sep="\n")

# %%
print(*(line for line in found if "fine-tuned" in line), sep="\n")

# %%
pd.set_option("display.max_rows", 200)
summary(judged)

# %% [markdown]
# ## Which idea beyond the paper wins

# %%
ideas = [METHOD, *ideas_on(pd.concat([risk, phenotypes]))]
best = [best_of(risk, ideas, DISEASES, "AUROC", "probe", labels) for labels in (few, "all")]
best += [best_of(phenotypes, ideas, groups, "R2", "probe", labels) for labels in (few, "all")]
print(*best, sep="\n")

# %% [markdown]
# ## How many of the 61 phenotypes fell which way

# %%
tally(phenotypes, TARGETS, "R2")

# %% [markdown]
# ## Beside what was published
# Clearly apart: the published numbers are of patients of the UK Biobank; ours are of the cohort named above. Fine-tuned
# with all labels.

# %%
beside = beside_published(phenotypes, setting.run.cohort)
beside

# %%
published_claims()

# %%
largest = largest_gains(pd.concat([risk, phenotypes]))
largest

# %%
maps = read_json(setting.run.results("06_interpret_latent_space"))["maps"]
retrieval = read_json(setting.run.results("03_pretrain_mmcl"))["retrieval"]
scores = {"AUROC": plain_auroc, "R2": plain_r2[plain_r2["target"].isin(groups)]}
same = {"source": setting.footer, "few": few, "subjects": cohort_results["splits"], "retrieval": retrieval}
summarised = record(scores, judged, **same)
write_json(setting.run.figures / "summary.json", summarised)
Markdown(markdown(summarised))

# %%
results = summarised | {
    "adjusted probes, few labels": adjusted_table.to_dict("index"),
    "comparisons": judged.to_dict("records"),
    "sentences": found,
    "beyond the paper": best,
    "largest gains": largest.to_dict("records"),
    "maps": maps,
}
write_json(setting.run.results("07_summarise"), results)

# %%
assert judged["value"].notna().sum() >= 2 * (len(DISEASES) + len(groups)), "comparisons are missing"
