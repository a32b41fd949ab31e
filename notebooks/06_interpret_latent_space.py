# %% [markdown]
# # 06 Interpret the latent space
#
# The paper shows on examples that ECG representations light up CMR regions of interest. Here that is measured, and
# so are other maps: whether they lie in the heart, its muscle, its scar and the right coronary territory, whether the
# leads and times they point at are those of the heart's activation, and whether they are maps of what was learnt at all.
# Every number stands beside two baselines that a meaningful map must beat: chance (the region's share of the area), and
# pairs of an ECG and a CMR that do not belong together.
#
# - **Reads** `store/`, `checkpoints/`; of the simulated cohort `raw/truth.*`.
# - **Writes** `results/06_interpret_latent_space.json`; the figures named in the cells below, and
#   `figures/localisation_beat.gif`.
# - **Expected time** smoke 30 s, demo 4 min (2 cores); paper not measured.

# %%
import numpy as np
import pandas as pd

from mmcl.config import DISEASES, LEADS
from mmcl.data.manifest import cohort_manifest
from mmcl.data.store import Store
from mmcl.environment import report
from mmcl.interpretation.counterfactual import follow, path_table, simulate_paths
from mmcl.interpretation.decodability import decodability
from mmcl.interpretation.examples import RULE, chosen_examples
from mmcl.interpretation.measures import positive_share
from mmcl.interpretation.pairing import pair, phenotype_retrieval, retrieval_table
from mmcl.interpretation.plane import principal_plane, umap_plane
from mmcl.interpretation.sample import draw_sample
from mmcl.interpretation.sanity import sanity_table
from mmcl.interpretation.segments import predict_segments
from mmcl.interpretation.study import beat_map, left_out, study_ecg, study_images
from mmcl.interpretation.verdict import findings, sanity_verdicts
from mmcl.interpretation.waves import WAVES
from mmcl.phenotypes import GROUPS
from mmcl.plotting.animation import draw_beat, show_animation
from mmcl.plotting.cine import draw_maps
from mmcl.plotting.electrocardiogram import draw_electrocardiogram
from mmcl.plotting.latent import draw_latent, draw_paths
from mmcl.plotting.layers import draw_layers
from mmcl.plotting.maps import draw_cascade, draw_measures
from mmcl.plotting.neighbours import draw_neighbours, neighbour_queries
from mmcl.plotting.regional import draw_predicted
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
shareable, figures, rate = cohort_manifest(cohort).shareable, setting.run.figures, setting.profile.ecg.sampling_rate
report(setting.device)

# %% [markdown]
# # Latent space

# %% [markdown]
# ## The frozen embedding
# Principal components keep distances, UMAP keeps neighbours; the axes of UMAP mean nothing. The last row is the method.

# %%
subjects = store.subjects.loc[test]
embeddings = {arm: stored_features(arm, setting)[test] for arm in ("random", "mdm", METHOD)}
phenotypes = {name: subjects[name].to_numpy(float) for name in ("LVEDV", "LVM")}
diseases = {name: subjects[name].to_numpy(float) for name in DISEASES}
units = {"LVEDV": "ml", "LVM": "g"}
planes = {arm: principal_plane(embedding) for arm, embedding in embeddings.items()}
figure = draw_latent(planes, phenotypes, diseases, units, setting.footer, "Principal components.")
show(figure, figures / "latent_pca", {"n": len(test), "variance": {a: p.share for a, p in planes.items()}})

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
retrieval = pd.concat(
    [retrieval_table(["random", "mmcl", METHOD], setting, store), phenotype_retrieval(METHOD, setting, store)]
)
retrieval.round(3)

# %%
pairs = pair(METHOD, setting, store)
shown = chosen_examples(pairs.ranks, larger_is_better=False)
if shareable:
    note = f"By the rank of the own CMR: {RULE}."
    rate = setting.profile.ecg.sampling_rate
    figure = draw_neighbours(neighbour_queries(pairs, store, shown), setting.footer, rate, note)
    show(figure, figures / "retrieval_neighbours", {"ranks": pairs.ranks[list(shown.values())]})

# %% [markdown]
# ## What is read at which depth
# Ridge probes on the mean token after the embedding, after each block, and on the pooled output.

# %%
layers = decodability(["random", "mdm", "mmcl", METHOD], setting, store)
groups = [name for name in (f"{group} mean" for group in GROUPS) if name in layers.index.unique("target")]
single = [name for name in ("LVEDV", "LVEF", "LVM", "WT_global") if name in layers.index.unique("target")]
chosen_rows = layers[layers.index.isin([*groups, *single], level="target")].reset_index()
figure = draw_layers(layers, [*groups, *single], setting.footer)
show(figure, figures / "decodability", chosen_rows.round(4))

# %% [markdown]
# ## Segments of the left ventricle
# Wall thickness, strain and scar of the 16 AHA segments, predicted by linear probes on the method's features.

# %%
measures = {measure.name: measure for measure in predict_segments(METHOD, setting, store)}
scars = measures.pop("Scar depth", None)
if measures and shareable:
    first = next(iter(measures.values()))
    note = f"By mean absolute error of {first.name.lower()}: {RULE}."
    figure = draw_predicted(
        list(measures.values()), chosen_examples(first.error, larger_is_better=False), setting.footer, note
    )
    show(figure, figures / "segments_predicted", {name: m.r2.round(4) for name, m in measures.items()})

# %%
if scars is not None:
    error = np.where(scars.true.max(axis=1) > 0, scars.error, np.nan)
    note = f"Of subjects with a scar, by mean absolute error: {RULE}."
    figure = draw_predicted([scars], chosen_examples(error, larger_is_better=False), setting.footer, note)
    show(figure, figures / "segments_scar", {"Scar depth": scars.r2.round(4)})

# %% [markdown]
# ## Move one property of the heart
# New simulated hearts, in five steps each: LV mass, the depth of an anterior scar, the tilt of the long axis. `spearman`
# and `gain` tell how the probe follows within a subject, `size over` how far a path leads beside what misplaced
# electrodes and noise do. Left out on cohorts without a simulator.

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
# `localisation`: the published cosine of a CMR's cells with the ECG. `occlusion`: the drop of the pair's similarity when a
# square of the image is greyed. `less others`: what the subject's own ECG adds to the mean of everybody else's. Grad-CAM
# on the last layer and on the second. The sample takes subjects with a scar first, up to one half of it.

# %%
sample = draw_sample(setting, store)
image_maps, regions = study_images(sample, setting)
print(*left_out(sample), sep="\n")
final = regions[regions["epochs"] == 0]
final[final["arm"] == METHOD].set_index(["map", "measure", "region"]).round(3)

# %%
for measure, label, baseline in (
    ("positive share", "Share of the positive map", "the region's share of the area"),
    ("pixel AUROC", "AUROC of pixels", "0.5, no information"),
    ("pointing game", "Share of largest values inside", "the region's share of the area"),
    ("territory of the scar", "Share of scars", "chance, one over the territories"),
):
    chosen = final[final["measure"] == measure]
    if len(chosen):
        titles = list(chosen["region"].unique())
        figure = draw_measures(chosen, "region", "map", titles, label, setting.footer, baseline)
        show(figure, figures / f"maps_{measure.replace(' ', '_')}", chosen.round(4))

# %% [markdown]
# Training moves the maps like this (share of the positive map in the heart by epoch; 0 stands for the final weights).

# %%
heart = (regions["region"] == "heart") & (regions["measure"] == "positive share")
regions[heart].pivot(index=["arm", "epochs"], columns="map", values=["value", "gain"]).round(3)

# %% [markdown]
# Examples by a rule: the published map's share in the heart, median, lower quartile and worst.

# %%
shares = (
    positive_share(image_maps[METHOD]["localisation"].own, sample.mask("heart")) if sample.labels is not None else None
)
shown = chosen_examples(image_maps[METHOD]["localisation"].own.mean(axis=(1, 2)) if shares is None else shares)
places = list(shown.values())
if shareable:
    labels = None if sample.labels is None else list(sample.labels[places])
    for name, label in (("localisation", "Cosine with the ECG"), ("occlusion, less others", "Drop of the cosine")):
        overlays = list(image_maps[METHOD][name].own[places])
        note = f"{name.capitalize()}; {RULE}, by the share of the published map in the heart."
        figure = draw_maps(list(sample.images[places]), overlays, list(shown), label, setting.footer, labels, note=note)
        show(figure, figures / f"{name.split(',')[0]}_cmr", {"maps": np.array(overlays, dtype=float).round(4)})

# %% [markdown]
# ## Over the beat
# Cosine of every ECG time (mean over leads) with every cell of the CMR, for the median subject: stills and animation.

# %%
median = shown["median"]
beat = beat_map(METHOD, sample, median, setting)
seconds = setting.profile.ecg.window / rate
if shareable:
    outline = None if sample.labels is None else sample.labels[median]
    stills = np.linspace(0, len(beat) - 1, 6).round().astype(int)
    titles = [f"{seconds * k / len(beat):.1f} s" for k in stills]
    contours = None if outline is None else [outline] * len(stills)
    image = sample.images[median]
    figure = draw_maps([image] * 6, list(beat[stills]), titles, "Cosine with the ECG", setting.footer, contours)
    show(figure, figures / "localisation_beat", {"cosine": beat.astype(float).round(4)})
    trace = sample.ecg[median, LEADS.index("II")].cpu().numpy()
    show_animation(
        draw_beat(image, beat, trace, seconds, setting.footer, outline), figures / "localisation_beat", seconds
    )

# %% [markdown]
# ## What of the ECG an output rests on
# Integrated gradients from the isoelectric line, occlusion of leads and waves, attention rollout and the published
# localisation, for the pair's similarity, a risk head (CAD) and a phenotype head (LVM). A head has no pair to shuffle:
# its baseline is somebody else's map. The integrated gradients must add up to the change of the output they explain.

# %%
half = draw_sample(setting, store, 1 / 2)
ecg_maps, leads, converged = study_ecg(half, setting)
converged.round(4)

# %%
gradients = leads[(leads["map"] == "integrated gradients") & leads["region"].isin(WAVES)]
outputs = list(gradients["output"].unique())
figure = draw_measures(
    gradients, "output", "region", outputs, "Share of the importance", setting.footer, "the wave's share of the time"
)
show(figure, figures / "attribution_waves", gradients.round(4))
occluded = leads[(leads["map"] == "occlusion") & leads["region"].isin(LEADS)]
figure = draw_measures(occluded, "output", "region", outputs, "Share of the drop", setting.footer, "one lead in twelve")
show(figure, figures / "occlusion_leads", occluded.round(4))

# %%
for measure, label, baseline in (
    ("time correlation", "Spearman correlation", "no correlation"),
    ("lead AUROC", "AUROC of leads", "0.5, no information"),
):
    chosen = leads[leads["measure"] == measure]
    if len(chosen):
        chosen = chosen.assign(row=chosen["map"] + ", " + chosen["output"])
        figure = draw_measures(
            chosen, "region", "row", list(chosen["region"].unique()), label, setting.footer, baseline
        )
        show(figure, figures / f"attribution_{measure.replace(' ', '_')}", chosen.round(4))

# %%
own = {output: maps[0] for output, maps in ecg_maps[METHOD].items()}
mean_map = own["similarity"].localisation.mean(axis=0)
show(draw_segments(mean_map, setting.profile.ecg, f"{setting.footer}, n = {len(half):,}"),
     figures / "localisation_ecg", {"cosine": mean_map.astype(float).round(4)})  # fmt: skip
if shareable:
    for output, maps in own.items():
        position = chosen_examples(np.abs(maps.gradients).sum(axis=(1, 2)))["median"]
        title = f"Integrated gradients of {output}, {METHOD}; subject of median size"
        figure = draw_electrocardiogram(
            half.ecg[position].cpu().numpy(), setting.footer, rate, title, maps.gradients[position],
            f"Change of {output}", simultaneous=True, unit="SD",
        )  # fmt: skip
        show(
            figure,
            figures / f"attribution_ecg_{output}",
            {"gradients": maps.gradients[position].astype(float).round(5)},
        )

# %% [markdown]
# ## Are these maps of what was learnt?
# Weights made random from the head to the input, another training, permuted labels, and a shift of the input that the
# first layer takes off again. A map that passes none of its checks means nothing.

# %%
few = draw_sample(setting, store, 1 / 8)
sanity = sanity_table(METHOD, few, setting, store, other_arm="mmcl")
show(draw_cascade(sanity, setting.footer), figures / "sanity_cascade", sanity.round(4))
checks = sanity_verdicts(sanity)
sanity[sanity["check"] != "random weights"].set_index(["check", "map", "measure"]).round(3)

# %% [markdown]
# ## What is and what is not supported
# Said from the numbers: supported is what is above chance and above shuffled pairs, both with 95 % intervals, without a
# correction for the number of comparisons.

# %%
measured = final[final["arm"].eq(METHOD) & final["region"].ne("scar") & final["measure"].ne("pointing game")]
rested = leads[leads["arm"].eq(METHOD) & leads["measure"].ne("share")]
verdicts = [*findings(measured), *findings(rested), *checks["verdict"]]
print(*verdicts, sep="\n")

# %%
results = {
    "source": setting.footer,
    "arm": METHOD,
    "n": {"image maps": len(sample), "ECG maps": len(half), "sanity": len(few)},
    "left_out": left_out(sample),
    "regions": regions.to_dict("records"),
    "ecg": leads.to_dict("records"),
    "convergence": converged.to_dict("records"),
    "sanity": sanity.to_dict("records"),
    "verdicts": verdicts,
    "retrieval": retrieval.reset_index().to_dict("records"),
    "decodability": layers.reset_index().to_dict("records"),
    "segments_r2": {name: m.r2 for name, m in measures.items()} | ({} if scars is None else {"Scar depth": scars.r2}),
    "counterfactual": moved.reset_index().to_dict("records"),
}
write_json(setting.run.results("06_interpret_latent_space"), results)

# %%
assert (converged["median"] < 0.05).all(), "integrated gradients that do not add up to the change of the output"
assert regions.loc[regions["measure"] != "pixel AUROC", "value"].dropna().between(0, 1).all(), "a share outside 0 to 1"
