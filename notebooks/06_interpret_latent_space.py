# %% [markdown]
# # 06 Interpret the latent space
#
# The paper shows on examples that ECG representations light up CMR regions of interest. Here that is measured, and so
# are other maps: whether they lie in the heart, its muscle, its scar and the right coronary territory, whether the
# leads and times they point at are those of its activation, and whether they are maps of what was learnt at all.
# Every number stands beside three baselines that a meaningful map must beat: chance (the region's share of the area),
# pairs of an ECG and a CMR that do not belong together, and the map of random weights in the same subjects.
#
# - **Reads** `store/`, `checkpoints/`; of the simulated cohort `raw/truth.*`.
# - **Writes** `results/06_interpret_latent_space.json`; the figures named in the cells below, and
#   `figures/localisation_beat.gif`.
# - **Expected time** smoke 50 s, demo 3 min (2 cores); paper not measured.

# %%
import numpy as np
import pandas as pd

from mmcl.config import DISEASES
from mmcl.data.manifest import cohort_manifest
from mmcl.data.store import Store
from mmcl.environment import report
from mmcl.interpretation.counterfactual import follow, path_table, simulate_paths
from mmcl.interpretation.decodability import decodability
from mmcl.interpretation.examples import RULE, chosen_examples
from mmcl.interpretation.models import pair_arms
from mmcl.interpretation.pairing import neighbour_agreement, pair, phenotype_retrieval, retrieval_table
from mmcl.interpretation.plane import correlations, principal_plane, umap_plane
from mmcl.interpretation.sample import draw_sample
from mmcl.interpretation.sanity import sanity_table
from mmcl.interpretation.segments import predict_segments
from mmcl.interpretation.study import beat_map, heart_share, left_out, study_ecg, study_images
from mmcl.interpretation.verdict import findings, sanity_verdicts
from mmcl.phenotypes import GROUPS
from mmcl.plotting.animation import draw_beat, draw_stills, show_animation
from mmcl.plotting.attribution import show_attributions
from mmcl.plotting.cine import draw_maps
from mmcl.plotting.latent import draw_latent, draw_paths
from mmcl.plotting.layers import draw_layers
from mmcl.plotting.maps import draw_cascade, show_measures, show_shares
from mmcl.plotting.neighbours import draw_neighbours, neighbour_queries
from mmcl.plotting.regional import draw_predicted
from mmcl.plotting.style import arm as look
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
shareable, figures, rate = cohort_manifest(cohort).shareable, setting.run.figures, setting.profile.ecg.sampling_rate
method = look(METHOD).label
report(setting.device)

# %% [markdown]
# # Latent space

# %% [markdown]
# ## The frozen embedding
# Principal components keep distances, UMAP keeps neighbours; the axes of UMAP mean nothing. The last row is the method.

# %%
subjects = store.subjects.loc[test]
embeddings = {arm: stored_features(arm, setting)[test] for arm in ("random", "mdm", METHOD)}
names = {"LVM": "LVM", "LVEDV": "LVEDV", "Heart rate": "ecg_heart_rate"}
phenotypes = {label: subjects[name].to_numpy(float) for label, name in names.items() if name in subjects}
diseases = {name: subjects[name].to_numpy(float) for name in DISEASES}
units = {"LVM": "g", "LVEDV": "ml", "Heart rate": "/min"}
planes = {arm: principal_plane(embedding) for arm, embedding in embeddings.items()}
figure = draw_latent(planes, phenotypes, diseases, units, setting.footer, "Principal components.")
show(figure, figures / "latent_pca", {"n": len(test), "variance": {a: p.share for a, p in planes.items()}})

# %% [markdown]
# What the method's first two components go with: Pearson's r over test subjects, the strongest ten of each.

# %%
numbers, resamples = subjects.select_dtypes("number"), setting.profile.downstream.bootstrap
components = correlations(planes[METHOD], numbers, resamples, np.random.default_rng(seed)).groupby("axis").head(10)
components.round(2)

# %%
maps = {arm: umap_plane(embedding, seed) for arm, embedding in embeddings.items()}
figure = draw_latent(maps, phenotypes, diseases, units, setting.footer, "UMAP.")
show(figure, figures / "latent_umap", {"n": len(test), "arms": list(maps)})

# %% [markdown]
# ## Retrieval: which CMR belongs to this ECG?
# Among all test subjects, by cosine. Beside chance stand two references in the space of the 61 phenotypes: `phenotypes,
# predicted` asks with what linear probes read in the frozen ECG features of the method, and `phenotypes, read twice`
# (simulated cohort) with the true phenotypes, read with the errors of a published image analysis: what retrieval would
# reach if the ECG told every phenotype.

# %%
references = phenotype_retrieval(METHOD, setting, store)
retrieval = pd.concat([retrieval_table(pair_arms(setting), setting, store), references])
retrieval.round(3)

# %%
pairs = pair(METHOD, setting, store)
shown = chosen_examples(pairs.ranks, larger_is_better=False)
if shareable:
    note = f"By the rank of the own CMR: {RULE}."
    figure = draw_neighbours(neighbour_queries(pairs, store, shown), setting.footer, rate, note)
    show(figure, figures / "retrieval_neighbours", {"ranks": pairs.ranks[list(shown.values())]})

# %% [markdown]
# Are the CMRs found, the own left out, at least of similar hearts? Pearson's r of a subject's phenotype with its mean
# over the three nearest CMRs.

# %%
agreement = neighbour_agreement(pairs, setting, store)
agreement[agreement.index.isin(["LVEDV", "LVEF", "LVM", "RVEDV", "WT_global", "Ecc_global", "Err_global"])].round(3)

# %% [markdown]
# ## What is read at which depth
# Ridge probes on the mean token after the embedding, after each block, and on the pooled output.

# %%
layers = decodability(["random", "mdm", "mmcl", METHOD], setting, store)
names = [*(f"{group} mean" for group in GROUPS), "LVEDV", "LVEF", "LVM", "WT_global"]
names = [name for name in names if name in layers.index.unique("target")]
rows = layers.index.isin(names, level="target")
show(draw_layers(layers, names, setting.footer), figures / "decodability", layers[rows].reset_index().round(4))

# %% [markdown]
# ## Segments of the left ventricle
# Wall thickness, strain and scar of the 16 AHA segments, predicted by linear probes on the method's features.

# %%
measures = {measure.name: measure for measure in predict_segments(METHOD, setting, store)}
scars = measures.pop("Scar depth", None)
if measures and shareable:
    first = next(iter(measures.values()))
    note = f"By mean absolute error of {first.name.lower()}: {RULE}."
    examples = chosen_examples(first.error, larger_is_better=False)
    figure = draw_predicted([*measures.values()], examples, setting.footer, note)
    show(figure, figures / "segments_predicted", {name: m.r2.round(4) for name, m in measures.items()})

# %%
if scars is not None:
    error = np.where(scars.true.max(axis=1) > 0, scars.error, np.nan)
    note = f"Of subjects with a scar, by mean absolute error: {RULE}."
    figure = draw_predicted([scars], chosen_examples(error, larger_is_better=False), setting.footer, note)
    show(figure, figures / "segments_scar", {"Scar depth": scars.r2.round(4)})

# %% [markdown]
# ## Move one property of the heart
# New simulated hearts, in five steps each: LV mass, the depth of an anterior scar, the tilt of the long axis.
# `spearman` and `gain` tell how the probe follows within a subject, `size over` how far a path leads beside what
# misplaced electrodes and noise do. Left out on cohorts without a simulator.

# %%
recordings = simulate_paths(setting)
paths, moved = {}, pd.DataFrame()
if recordings is not None:
    paths = {arm: follow(arm, recordings, setting, store) for arm in ("random", "mdm", METHOD)}
    moved = path_table(paths, setting)
    figure = draw_paths(paths[METHOD], planes[METHOD], setting.footer)
    show(figure, figures / "counterfactual_paths", moved.reset_index().round(4))
moved.round(2)

# %% [markdown]
# # Maps
# ## ECG to CMR
# `localisation`: the published cosine of a CMR's cells with the ECG. `occlusion`: the drop of the pair's similarity
# when a square of the image is greyed. `less others`: what the subject's own ECG adds to the mean of everybody else's.
# Grad-CAM on the last layer and on the second, of the similarity and, as an upper reference, of a phenotype head (LVM)
# on the CMR encoder. The sample takes subjects with a scar first, up to one half of it.

# %%
sample = draw_sample(setting, store)
image_maps, regions = study_images(sample, setting)
print(*left_out(sample, setting), sep="\n")
final = regions[regions["epochs"] == 0]
show_measures(final, setting.footer, figures / "maps")

# %% [markdown]
# What training does to the share of the positive map in the heart, by epoch (0: the final weights), and to its gain
# over shuffled pairs.

# %%
heart = regions.query("region == 'heart' and measure == 'positive share'")
heart.pivot(index=["arm", "epochs"], columns="map", values=["value", "gain"]).round(3)

# %% [markdown]
# Examples, chosen by the published map's share in the heart.

# %%
by_heart = "the share of the published map in the heart"
shown = chosen_examples(heart_share(image_maps[METHOD]["localisation"].own, sample))
places = list(shown.values())
outlines = None if sample.labels is None else sample.labels[places]
for name, label in (
    {"localisation": "Cosine", "occlusion, less others": "Drop of the cosine"}.items() if shareable else ()
):
    overlays = image_maps[METHOD][name].own[places]
    note = f"{name.capitalize()}, {method}; {RULE}, by {by_heart}."
    figure = draw_maps(sample.images[places], overlays, list(shown), label, setting.footer, outlines, note=note)
    show(figure, figures / f"{name.split(',')[0]}_cmr", {"maps": overlays.astype(float).round(4)})

# %% [markdown]
# ## Over the beat
# Cosine of every ECG time (mean over leads) with every cell of the CMR, for the median example above: stills and
# animation.

# %%
if shareable:
    beat = beat_map(METHOD, sample, places[0], setting)
    note, data = f"{method}; median subject by {by_heart}.", {"cosine": beat.maps.astype(float).round(4)}
    show(draw_stills(beat, setting.footer, note), figures / "localisation_beat", data)
    show_animation(draw_beat(beat, setting.footer, note), figures / "localisation_beat", beat.seconds)

# %% [markdown]
# ## What of the ECG an output rests on
# Integrated gradients from the isoelectric line, occlusion of leads and waves, attention rollout and the published
# localisation, for the pair's similarity, a risk head (CAD) and a phenotype head (LVM). A head has no pair to shuffle:
# its baseline is somebody else's map, which any map that follows the beats exceeds; hence the comparison with random
# weights. Integrated gradients must add up to the change of the output that they explain.

# %%
half = draw_sample(setting, store, 1 / 2)
ecg_maps, leads, converged = study_ecg(half, setting)
converged.round(4)

# %%
show_shares(leads, setting.footer, figures)
show_measures(leads[leads["measure"] != "share"], setting.footer, figures / "attribution", "output")

# %%
if shareable:
    signals = half.ecg.cpu().numpy()
    show_attributions(ecg_maps[METHOD], signals, setting.profile.ecg, METHOD, setting.footer, figures)

# %% [markdown]
# ## Are these maps of what was learnt?
# Weights made random from the head to the input, another training, permuted labels, and a shift of the input that the
# first layer takes off again. A map that passes none of its checks means nothing.

# %%
few = draw_sample(setting, store, 1 / 8)
sanity = sanity_table(METHOD, few, setting, store, other_arm="mmcl")
show(draw_cascade(sanity, setting.footer), figures / "sanity_cascade", sanity.round(4))
sanity[sanity["check"] != "random weights"].set_index(["check", "map", "measure"]).round(3)

# %% [markdown]
# ## What is and what is not supported
# Said from the numbers: supported is what meets three conditions, each with a 95 % interval over at least ten subjects:
# above chance, above pairs (or maps) shuffled among subjects, and above random weights in the same subjects. Nothing is
# corrected for the number of comparisons. Open is what met those that could be asked: the head on the CMR encoder has
# no counterpart with random weights.

# %%
verdicts = findings(pd.concat([final, leads]).query("arm in [@METHOD, 'cmr'] and measure != 'share'"))
checks = list(sanity_verdicts(sanity)["verdict"])
print(*verdicts, *checks, sep="\n")

# %%
tables = {"maps": regions, "attribution": leads, "convergence": converged, "sanity": sanity}
indexed = {"retrieval": retrieval, "neighbours": agreement, "decodability": layers, "counterfactual": moved}
tables |= {name: table.reset_index() for name, table in (indexed | {"components": components}).items()}
results = {name: table.to_dict("records") for name, table in tables.items()} | {
    "source": setting.footer,
    "arm": METHOD,
    "n": {"maps": len(sample), "attribution": len(half), "sanity": len(few)},
    "left_out": left_out(sample, setting),
    "verdicts": [*verdicts, *checks],
    "segments_r2": {name: m.r2 for name, m in measures.items()} | ({} if scars is None else {"Scar depth": scars.r2}),
}
write_json(setting.run.results("06_interpret_latent_space"), results)

# %%
assert (converged["median"] < 0.05).all(), "integrated gradients that do not add up to the change of the output"
assert regions.loc[regions["measure"] != "pixel AUROC", "value"].dropna().between(0, 1).all(), "a share outside 0 to 1"
