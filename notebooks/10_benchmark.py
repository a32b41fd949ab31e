# %% [markdown]
# # 10 Benchmark
#
# How fast the compendium is, beside a plain reference path and beside what the hardware allows; whether it learns the
# same for all its speed; and what a cohort of a million ECGs and 100,000 cines would need. It bears on no claim of the
# paper, but on what its experiments cost. The reference path augments one recording at a time on the CPU, forms the
# attention's matrix, computes in float32 with a plain optimiser and waits after every step, as published; it is kept
# in `tests/benchmarks/reference/`.
#
# - **Reads** `benchmark.json`, which `python -m tests.benchmarks.curves` writes; `build/bench_summary.json`, if
#   `make bench` has run.
# - **Writes** `results/10_benchmark.json`; figure `benchmark_curves`.
# - **Expected time** 5 s, and for `benchmark.json` smoke 30 s, demo 2 min (1 core); paper not measured.

# %%
import pandas as pd

from mmcl.environment import report
from mmcl.evaluation.agreement import agreement, compare_curves
from mmcl.paths import build_root
from mmcl.planning import best_rates, bottleneck, plan_hours, plan_storage
from mmcl.plotting.benchmark import draw_curves
from mmcl.plotting.style import show
from mmcl.profiles import profile as numbers
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
measured = read_json(setting.run.folder / "benchmark.json")
bench = build_root() / "bench_summary.json"
summary = read_json(bench) if bench.exists() else None
report(setting.device)

# %% [markdown]
# ## Whether quality moves
# The same few epochs on both paths, with several seeds each. Weights are equal at the start, hearts have the size of
# the profile in both; what is drawn at random differs.

# %%
curves = pd.DataFrame(measured["curves"])
compared = compare_curves(curves)
source = f"{setting.footer}, n = {measured['subjects']}"
show(draw_curves(curves, source), setting.run.figures / "benchmark_curves", {"source": source, "curves": curves})

# %%
compared.round(4)

# %%
sentences = agreement(compared)
print(*sentences.values(), sep="\n")

# %% [markdown]
# ## What the hardware allows
# Operations and bytes of one training step at the published sizes, counted; products and bandwidth measured on this
# device, or from the data sheet; the least time of a step, and hours of the whole published schedule at that pace.

# %%
limits = pd.DataFrame(measured["limits"])
shown = limits.assign(
    Tflop=limits["operations"] / 1e12, GB=limits["bytes"] / 1e9, milliseconds=1000 * limits["seconds"]
)
shown[["device", "step", "Tflop", "GB", "milliseconds", "hours"]].round(3)

# %% [markdown]
# ## Beside the reference path
# Rates in items a second, quartiles of paired ratios, and the share of the hardware's limit, by `make bench`.

# %%
print(f"{summary['device']}, {summary['date']}" if summary else "make bench has not run")
columns = [
    "operation",
    "size",
    "unit",
    "fast",
    "reference",
    "ratio.low",
    "ratio.median",
    "ratio.high",
    "share_of_limit",
]
pd.json_normalize(summary["rows"] if summary else []).filter(columns).round(3)

# %% [markdown]
# ## A million ECGs and 100,000 cines
# From the rates below, on this machine: those of `make bench` where it ran on the same device, else rough ones, taken
# once while other work may have gone on. Work is taken to divide evenly among cores (preprocessing) and devices
# (training), which is the best that can happen.

# %%
paper = numbers("paper")
rates = best_rates(measured["rates"], measured["device"], summary)
storage = plan_storage(rates, paper, 1_000_000, 100_000)
hours = plan_hours(rates, paper, 1_000_000, 100_000)
storage.round(2)

# %%
hours.round(1)

# %%
longest = bottleneck(hours, rates)
print(f"On {measured['device']}: {longest}")

# %%
results = {
    "source": source,
    "device": measured["device"],
    "agreement": compared.reset_index().to_dict("records"),
    "statement": sentences,
    "limits": limits.to_dict("records"),
    "rates": vars(rates),
    "plan": {"storage": storage.to_dict("index"), "hours": hours.to_dict("index"), "bottleneck": longest},
}
write_json(setting.run.results("10_benchmark"), results)

# %%
assert curves["seed"].nunique() == 3 and set(compared.index.get_level_values("arm")) == {"mdm", "mmcl"}
assert curves["loss"].notna().all(), "a training diverged"
mdm = compared.loc["mdm"]
assert (mdm.iloc[-1][["fast", "reference"]] < mdm.iloc[0][["fast", "reference"]]).all(), "MDM did not lower its loss"
