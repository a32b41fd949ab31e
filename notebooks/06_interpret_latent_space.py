# %% [markdown]
# # 06 Interpret the latent space
#
# The paper shows on examples that ECG representations light up CMR regions. Here that is measured: what share of the
# map's positive part lies in the heart, beside two baselines that a meaningful map must beat, the heart's share of the
# area and the map of other subjects' ECGs.
#
# - **Reads** `store/`, `checkpoints/mdm+mmcl/`.
# - **Writes** `results/06_interpret_latent_space.json`; figures `latent_space`, `localisation_cmr`,
#   `localisation_beat`, `localisation_ecg`.
# - **Expected time** smoke 10 s, demo 1 min (1 core); paper not measured.

# %%
from mmcl.config import DISEASES
from mmcl.data.manifest import cohort_manifest
from mmcl.data.store import Store
from mmcl.environment import report
from mmcl.interpretation.study import localise, median_subjects, share_table
from mmcl.plotting.cine import draw_maps
from mmcl.plotting.latent import draw_latent
from mmcl.plotting.segments import draw_segments
from mmcl.plotting.style import show
from mmcl.provenance import write_json
from mmcl.setting import open_setting
from mmcl.training.comparison import METHOD
from mmcl.training.features import stored_features

# %% tags=["parameters"]
profile = "demo"
cohort = "simulated"
seed = 0
device = "auto"
preset = "corrected"

# %%
setting = open_setting(profile, cohort, seed, device, preset)
store = Store.open(setting.run.store)
test = store.indices("test", one_each=True)
report(setting.device)

# %% [markdown]
# ## The frozen embedding
# First two principal components of test subjects, before and after each step of pre-training.

# %%
subjects = store.subjects.loc[test]
embeddings = {arm: stored_features(arm, setting)[test] for arm in ("random", "mdm", METHOD)}
phenotypes = {name: subjects[name].to_numpy(float) for name in ("LVEDV", "LVM")}
diseases = {name: subjects[name].to_numpy(float) for name in DISEASES}
figure = draw_latent(embeddings, phenotypes, diseases, {"LVEDV": "ml", "LVM": "g"}, setting.footer)
show(figure, setting.run.figures / "latent_space", {"n": len(test), "arms": list(embeddings)})

# %% [markdown]
# ## Localisation: ECG to CMR
# `matched`: the published cosine map of a CMR's cells with the subject's own ECG. `shuffled`: with everybody else's.
# `matched - shuffled`: what the subject's own ECG adds. A map that does not beat area and shuffled says nothing about
# the heart.

# %%
study = localise(METHOD, setting, store)
shares = share_table(study, setting)
shares.round(3)

# %%
shown = median_subjects(study)
if cohort_manifest(cohort).shareable:
    figure = draw_maps(
        list(study.images[shown]) * 2,
        [*study.maps.matched[shown], *study.maps.difference[shown]],
        ["own, Q1", "own, Q2", "own, Q3", "less others, Q1", "less others, Q2", "less others, Q3"],
        "Cosine with the ECG",
        f"{setting.footer}; test subjects at the quartiles (Q1 to Q3) of the share of the map inside the heart",
        labels=list(study.labels[shown]) * 2 if study.labels is not None else None,
    )
    show(figure, setting.run.figures / "localisation_cmr", shares.reset_index())

# %% [markdown]
# ## Over the beat
# Pairwise map of the median subject: cosine of every ECG time (mean over leads) with every cell of the CMR, in six
# stills of the window.

# %%
beat = study.over_time(shown[1])[::2][:6]
seconds = setting.profile.ecg.window / setting.profile.ecg.sampling_rate
if cohort_manifest(cohort).shareable:
    figure = draw_maps(
        [study.images[shown[1]]] * len(beat),
        list(beat),
        [f"{seconds * k / len(beat):.1f} s" for k in range(len(beat))],
        "Cosine with the ECG",
        f"{setting.footer}; the test subject of median share of the map inside the heart",
        labels=[study.labels[shown[1]]] * len(beat) if study.labels is not None else None,
    )
    show(figure, setting.run.figures / "localisation_beat", {"cosine": beat.astype(float).round(4)})

# %% [markdown]
# ## Localisation: CMR to ECG
# Mean over test subjects of the cosine of every ECG patch with the subject's CMR.

# %%
mean_map = study.segments.mean(axis=0)
figure = draw_segments(mean_map, setting.profile.ecg, f"{setting.footer}, n = {len(study.segments):,}")
show(figure, setting.run.figures / "localisation_ecg", {"cosine": mean_map.astype(float).round(4)})

# %%
results = {"source": setting.footer, "arm": METHOD, "shares": shares.reset_index().to_dict("records")}
write_json(setting.run.results("06_interpret_latent_space"), results)

# %%
assert shares["value"].dropna().between(0, 1).all(), "a share outside 0 to 1"
