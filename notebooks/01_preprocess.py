# %% [markdown]
# # 01 Preprocess
#
# From raw files to a training-ready store, as the paper does (section 3 of the method for the ECG, section 4 for the
# CMR): baseline by asymmetric least squares, z-scores per lead group; three frames of the middle slice, cropped to the
# heart.
#
# - **Reads** the folder `raw` of a cohort's raw files, or those of the simulated one, as `data_manifests/` says.
# - **Writes** `store/` (memory-mapped arrays, table of subjects, quarantine); figures `preprocessing_ecg`,
#   `preprocessing_cmr` and, when the folder `ecg` is given, `preprocessing_real_ecg`.
# - **Expected time** smoke 10 s, demo 1 min (2 cores); paper not measured.

# %%
from mmcl.data.manifest import cohort_manifest
from mmcl.data.quality import quality_table
from mmcl.data.request import request_store
from mmcl.data.samples import before_and_after, first_header
from mmcl.environment import report
from mmcl.plotting.cine import draw_frames
from mmcl.plotting.electrocardiogram import draw_preprocessing
from mmcl.plotting.style import show
from mmcl.provenance import write_json
from mmcl.setting import open_setting

# %% tags=["parameters"]
profile = "demo"
cohort = "simulated"
seed = 0
device = "auto"
preset = "corrected"
raw = ""
ecg = ""

# %%
setting = open_setting(profile, cohort, seed, device, preset)
report(setting.device)

# %%
store = request_store(setting, raw, setting.workers)
store.verify()
counts = store.meta["counts"]
counts

# %%
people = store.subjects.groupby("split")[["age", "height", "weight", "CAD", "AF", "DM", "LVEDV", "LVM"]]
people.mean().join(store.subjects["split"].value_counts().rename("n")).round(3)

# %% [markdown]
# ## What came in, what was mended, what was left out
# A recording that cannot be used is left out with a reason, and the rest goes on; `quarantine.csv` in the store names
# file, subject, value and expectation of each. What was mended or noted stands in the column `flags` of `subjects.csv`.
# One example of each; subjects of a restricted cohort have pseudonyms.

# %%
quality = quality_table(store)
print(f"{counts['summary']}; {counts['as_they_came']} as they came, {counts['repaired']} repaired")
quality.style.hide(axis="index").set_properties(**{"text-align": "left"})

# %% [markdown]
# ## One recording before and after
# The first test subject of the simulated cohort; and the first record in the folder `ecg`, if one is given.

# %%
manifest = cohort_manifest(cohort)
shown_rows = store.indices("test")[:4] if len(store.indices("test")) else store.indices("train")[:4]
subject = store.subjects.loc[shown_rows[0], "subject"]
record = setting.run.raw / "ecg" / f"{subject}.hea"  # of the simulated cohort; others may lie elsewhere
if manifest.shareable and record.exists():
    before, after = before_and_after(record)
    figure = draw_preprocessing(before, after, setting.footer)
    shown = {"record": subject, "before_mV": before[1].astype(float).round(3), "after": after[1].astype(float).round(3)}
    show(figure, setting.run.figures / "preprocessing_ecg", shown)

# %%
real = first_header(ecg)
if real:
    before, after = before_and_after(real)
    figure = draw_preprocessing(before, after, f"real recording {real.stem}, WFDB")
    lead_2 = {"before_mV": before[1].astype(float).round(3), "after": after[1].astype(float).round(3)}
    show(figure, setting.run.figures / "preprocessing_real_ecg", {"record": real.stem, **lead_2})

# %% [markdown]
# ## Hearts as the encoder sees them
# The first four test subjects: end-diastole and end-systole of the middle slice, contours where labels exist.

# %%
rows = shown_rows
if manifest.shareable and store.cmr is not None:
    images, labels = store.cmr[rows], store.labels[rows] if store.labels is not None else None
    masks = {} if labels is None else {"end_diastole_labels": labels[:, 2], "end_systole_labels": labels[:, 0]}
    names = list(store.subjects.loc[rows, "subject"])
    figure = draw_frames(names, images[:, 2], images[:, 0], setting.footer, **masks)
    show(figure, setting.run.figures / "preprocessing_cmr", {"subjects": names})

# %%
splits = store.subjects["split"].value_counts().to_dict()
shown = quality if manifest.shareable else quality.drop(columns=["example", "meaning"])
quality_rows = shown.to_dict("records")
results = {"source": setting.footer, "counts": counts, "quality": quality_rows, "splits": splits}
results["checksums"] = store.meta["checksums"]
write_json(setting.run.results("01_preprocess"), results)

# %%
assert counts["used"] == len(store) and counts["used"] + sum(counts["quarantined"].values()) == counts["found"]
if store.ecg is not None:
    assert abs(float(store.ecg[:64].astype("float32").std()) - 1) < 0.2, "ECGs are not standardised"
