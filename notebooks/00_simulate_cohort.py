# %% [markdown]
# # 00 Simulate the cohort
#
# No paired ECG-CMR data set is public, so the compendium makes one: each subject has one heart, from which the ECG, the
# cine, the phenotypes and the hospital record all follow by geometry and physics. Nothing is injected into the ECG
# because a label says so. Everything drawn from this cohort is *simulated* and makes no claim about patients; its card
# is `data_manifests/simulated.md`.
#
# - **Reads** nothing; where the folder `real` is given, its recordings in `ecg/` and its volumes in `cmr/`.
# - **Writes** raw files as a user would have them (WFDB, 4-D NIfTI, tables, truth) to `raw/`; figures
#   `cohort_examples`, `cohort_subjects`, `cohort_effects`, `cohort_population`; with `real`, three figures in
#   `beside_real/`, which are not for passing on.
# - **Expected time** smoke 35 s, demo 2 min (2 cores); paper not measured.

# %%
import pandas as pd
import torch

from mmcl.config import DISEASES
from mmcl.data.labels import label_subjects
from mmcl.data.samples import recordings
from mmcl.data.tables import ICD10, codes, read_table
from mmcl.environment import report
from mmcl.plotting.cine import SliceStack, draw_beside, read_real_stack
from mmcl.plotting.cohort import draw_examples, draw_subjects, draw_targets
from mmcl.plotting.electrocardiogram import draw_effects, draw_sheet
from mmcl.plotting.style import show
from mmcl.provenance import read_json, write_json
from mmcl.setting import open_setting
from mmcl.simulation.counterfactuals import counterfactual_beats
from mmcl.simulation.examples import RULE, find_exemplars, mix, short_axis_volumes
from mmcl.simulation.export import export_raw
from mmcl.simulation.targets import evaluate, population_table

# %% tags=["parameters"]
profile = "demo"
cohort = "simulated"
seed = 0
device = "auto"
real = ""

# %%
setting = open_setting(profile, cohort, seed, device)
numbers = setting.profile.cohort
report(setting.device)

# %% [markdown]
# ## Raw files
# Disease odds above 1 enrich the cohort with patients, so that a small cohort holds enough of them; at 1 the prevalence
# is natural. What no hospital knows of is simulated, but not recorded.

# %%
raw = export_raw(seed, numbers, setting.run.raw, workers=setting.workers)
read_json(raw / "cohort.json")

# %%
truth = pd.read_csv(raw / "truth.tsv", sep="\t").rename(columns=str.upper)[list(DISEASES)]
recorded = label_subjects(codes(read_table(raw / "records.tsv", [ICD10])))[list(DISEASES)]
share = pd.DataFrame({"simulated": truth.mean(), "recorded": recorded.mean()})
share.style.format("{:.1%}")

# %% [markdown]
# ## Twelve hearts, chosen by rule

# %%
exemplars = find_exemplars(seed, numbers)
drawn = {e.name: {"subject": e.index, "detail": e.detail, "activation_ms": e.activation.round(1)} for e in exemplars}
figure = draw_subjects(exemplars, f"{setting.footer}. Chosen {RULE}", spacing=numbers.spacing)
show(figure, setting.run.figures / "cohort_subjects", drawn)

# %%
four = [e for e in exemplars if e.name in ("Healthy man", "LAD infarct", "Atrial fibrillation", "Hypertrophy")]
figure = draw_examples(four, f"{setting.footer}. Chosen {RULE}", spacing=numbers.spacing)
drawn = {e.name: {"detail": e.detail, "ecg_mV": e.ecg[:, ::8].astype(float).round(2)} for e in four}
show(figure, setting.run.figures / "cohort_examples", drawn)

# %% [markdown]
# ## One heart, one thing changed
# The healthy man again, once with each property replaced and every draw the same: the mass of his ventricle, a scar in
# each coronary territory, how his heart lies, and the body around it.

# %%
beats = counterfactual_beats(seed, exemplars[0].index)
figure = draw_effects(beats, f"{setting.footer}, subject {exemplars[0].index}")
drawn = {effect: {name: beat[:, ::4].round(2) for name, beat in beats[effect].items()} for effect in beats}
show(figure, setting.run.figures / "cohort_effects", drawn)

# %% [markdown]
# ## Population against published targets
# Subjects at natural prevalence, measured without noise. Each target has a source and a tolerance in
# `mmcl/simulation/targets.yaml`; what a small number of subjects can tell is shown by its interval.

# %%
table = population_table(seed, torch.arange(min(numbers.size, 1500)))
targets = evaluate(table)
figure = draw_targets(
    targets, f"{setting.footer.replace(' profile', ' size')}, {len(table):,} subjects at natural odds"
)
columns = ["name", "group", "unit", "target", "tolerance", "got", "standard error", "n", "met", "source"]
show(figure, setting.run.figures / "cohort_population", targets[columns])

# %%
targets[~targets["met"]][["name", "target", "tolerance", "got", "standard error", "n"]].round(2)

# %%
plain = table[~(table["lbbb"] | table["rbbb"] | table["in_af"])]
intervals = plain[["pr", "qrs", "qt", "axis", "hr"]].describe(percentiles=[0.05, 0.95]).T
intervals = intervals.drop(columns=["min", "max", "50%"], errors="ignore")
intervals.round(1)

# %% [markdown]
# ## Among real recordings
# With a folder `real`: its recordings and as many simulated ones on a sheet that does not tell which is which, the key
# on the next, and real short-axis slices above simulated ones. Look at the sheet first.

# %%
sheet = mix(seed, recordings(f"{real}/ecg")) if real else []
if sheet:
    source = f"{setting.footer}, and real recordings"
    figure = draw_sheet([signal for _, _, signal in sheet], [str(k + 1) for k in range(len(sheet))], source)
    show(figure, setting.run.folder / "beside_real" / "sheet", {"recordings": len(sheet)})

# %%
if sheet:
    titles = [f"{k + 1}  {'real' if is_real else 'simulated'} {name}" for k, (name, is_real, _) in enumerate(sheet)]
    marked = [is_real for _, is_real, _ in sheet]
    figure = draw_sheet([signal for _, _, signal in sheet], titles, source, marked=marked)
    show(figure, setting.run.folder / "beside_real" / "key", {"titles": titles})

# %%
if real:
    stacks = [SliceStack(*volumes, numbers.spacing) for volumes in short_axis_volumes(seed, numbers)]
    figure = draw_beside([read_real_stack(f"{real}/cmr"), *stacks], (2, 4, 6, 8), f"{setting.footer}, and ACDC")
    show(figure, setting.run.folder / "beside_real" / "short_axis", {"rows": [stack.title for stack in stacks]})

# %%
results = {
    "source": setting.footer,
    "subjects": numbers.size,
    "prevalence": share.to_dict("index"),
    "targets": targets[columns].to_dict("records"),
    "targets_met": int(targets["met"].sum()),
    "intervals": intervals.to_dict("index"),
}
write_json(setting.run.results("00_simulate_cohort"), results)

# %%
assert 60 < intervals.loc["qrs", "mean"] < 120, "QRS duration outside clinical ranges"
assert 340 < intervals.loc["qt", "mean"] < 460, "QT interval outside clinical ranges"
assert (share["simulated"] > 0).all() and (share["recorded"] <= share["simulated"]).all(), "diseases that nobody has"
assert len(exemplars) == 12 and len(beats) == 5, "a figure lacks hearts"
