# %% [markdown]
# # 00 Simulate the cohort
#
# No paired ECG-CMR data set is public, so the compendium makes one: each subject has one heart, from which the ECG, the
# cine, the phenotypes and the hospital record all follow by geometry and physics. Nothing is injected into the ECG
# because a label says so. Everything drawn from this cohort is *simulated* and makes no claim about patients.
#
# - **Reads** nothing.
# - **Writes** raw files as a user would have them (WFDB, 4-D NIfTI, tables) to `raw/`; figures `cohort_examples`,
#   `cohort_population`.
# - **Expected time** smoke 15 s, demo 2 min (2 cores); paper not measured.

# %%
from mmcl.environment import report
from mmcl.plotting.cohort import Example, draw_examples, draw_population
from mmcl.plotting.style import show
from mmcl.provenance import read_json, write_json
from mmcl.setting import open_setting
from mmcl.simulation.examples import RULE, find_exemplars
from mmcl.simulation.export import export_raw
from mmcl.simulation.reference import RANGES, SOURCE, against_reference, healthy_phenotypes
from mmcl.simulation.summary import prevalence, recorded_intervals

# %% tags=["parameters"]
profile = "demo"
cohort = "simulated"
seed = 0
device = "auto"

# %%
setting = open_setting(profile, cohort, seed, device)
numbers = setting.profile.cohort
report(setting.device)

# %% [markdown]
# ## Raw files
# Disease odds above 1 enrich the cohort with patients, so that a small cohort holds enough of them; at 1 the prevalence
# is natural.

# %%
raw = export_raw(seed, numbers, setting.run.raw, workers=setting.workers)
read_json(raw / "cohort.json")

# %%
share = prevalence(raw)
share.style.format("{:.1%}")

# %% [markdown]
# ## Four hearts, chosen by rule

# %%
exemplars = find_exemplars(seed, numbers)
examples = [Example(e.name, e.detail, e.ecg, e.frames[0], e.frames[1], e.labels[0], e.labels[1]) for e in exemplars]
figure = draw_examples(examples, f"{setting.footer}. Chosen {RULE}", spacing=numbers.spacing)
drawn = {e.name: {"detail": e.detail, "ecg_mV": e.ecg[:, ::8].astype(float).round(2)} for e in exemplars}
show(figure, setting.run.figures / "cohort_examples", drawn)

# %% [markdown]
# ## Population against published reference ranges
# Healthy subjects only: free of disease, block and obesity.

# %%
healthy = healthy_phenotypes(raw)
comparison = against_reference(healthy)
comparison.round(1)

# %%
units = {"LVEDV": "ml", "LVESV": "ml", "LVEF": "%", "LVM": "g", "RVEDV": "ml", "RVEF": "%"}
figure = draw_population(healthy[list(RANGES)], healthy["sex"], RANGES, units, SOURCE, setting.footer)
show(figure, setting.run.figures / "cohort_population", comparison.reset_index())

# %% [markdown]
# ## Intervals of the ECG
# Measured without noise, subjects without bundle branch block.

# %%
intervals = recorded_intervals(raw)
intervals.round(1)

# %%
results = {
    "source": setting.footer,
    "subjects": numbers.size,
    "prevalence": share.to_dict("index"),
    "population": comparison.reset_index().to_dict("records"),
    "intervals": intervals.to_dict("index"),
}
write_json(setting.run.results("00_simulate_cohort"), results)

# %%
assert 60 < intervals.loc["qrs", "mean"] < 120, "QRS duration outside clinical ranges"
assert 340 < intervals.loc["qt", "mean"] < 460, "QT interval outside clinical ranges"
assert len(share) == 3 and (share["simulated"] > 0).all(), "a disease that nobody has"
