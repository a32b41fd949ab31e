# %% [markdown]
# # 09 What was mended
#
# The published code has faults, and the preset `corrected`, the default, mends them; `paper` keeps them all. Each is a
# choice with a name that can be made alone: `make reproduce PRESET=paper`, or `PRESET=paper+tile_crops`, which mends
# one, or `PRESET=corrected-tile_crops`, which leaves one. Here each is measured in both forms on this run's own
# encoder, predictions and raw files, whatever the run's preset; nothing is trained but linear probes. On the simulated
# cohort every number is *simulated*: it says how much a fault can move a number, not what it did on patients.
#
# - **Reads** `store/`, `checkpoints/mdm+mmcl/`, `predictions/`, `finetuning/`; raw files of the cohort, or the folder
#   `raw`.
# - **Writes** `results/09_what_was_mended.json`; figure `what_was_mended`.
# - **Expected time** smoke 15 s, demo 16 s; paper not measured.

# %%
import pandas as pd

from mmcl.config import CHOICES
from mmcl.environment import report
from mmcl.mended import measure_changes, page
from mmcl.plotting.mended import draw_mended
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

# %%
setting = open_setting(profile, cohort, seed, device, preset)
report(setting.device)

# %%
changes = measure_changes(setting, raw)

# %% [markdown]
# ## Every fault
# What was published, what is done instead, why, and what that moves: published value -> mended value.

# %%
pd.set_option("display.max_colwidth", None)
print(f"Data: {setting.footer}")
page(changes)

# %% [markdown]
# ## The numbers
# Probes are fitted on few subjects, for speed: their level is not that of the result tables, only the difference is
# meant. Subjects are the same in both forms; there are no intervals, so a small difference says nothing. A form that is
# missing does not exist, or the run lacks the data: the note says which.

# %%
changes.assign(change=changes["mended"] - changes["published"]).round(4)

# %%
figure = draw_mended(changes, setting.footer)
show(figure, setting.run.figures / "what_was_mended", {"changes": changes})

# %%
results = {"source": setting.footer, "preset": setting.preset.name, "changes": changes.to_dict("records")}
write_json(setting.run.results("09_what_was_mended"), results)

# %%
measured = changes.set_index("measure")
assert set(changes["choice"]) == set(CHOICES), "a choice was not measured"
assert measured.loc["tokens kept, paper", ["published", "mended"]].tolist() == [59, 60], "not the published token count"
assert measured.loc["share of records inverted, paper", "published"] > 0.01, "no record was inverted"
