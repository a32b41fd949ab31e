"""From raw files to a store: subjects a second by one process and by all cores, and memory as the cohort grows."""

import dataclasses
import os
import subprocess
import sys
import textwrap

import pytest

from mmcl.config import preset
from mmcl.data.manifest import LabelRule, SplitRule, Tables, cohort_manifest
from mmcl.data.pipeline import preprocess_cohort
from mmcl.paths import ROOT
from mmcl.profiles import profile
from mmcl.simulation.export import export_raw
from mmcl.simulation.layouts import export_layout

SUBJECTS, COPIES = 12, 15
CORES = os.cpu_count() or 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Simulated subjects as UK Biobank gives them out: 10 slices of 50 frames of 210 x 210."""
    from mmcl.config import CohortConfig

    patch = pytest.MonkeyPatch()
    patch.setenv("MMCL_KEY", str(tmp_path_factory.mktemp("key") / "identifiers.key"))
    home = tmp_path_factory.mktemp("ukb")
    sizes = CohortConfig(train=SUBJECTS, validation=0, test=0, slices=10, frames=50, matrix=210)
    folder = export_layout("ukb", export_raw(0, sizes, home / "raw", progress=False), home / "ukb")
    # Links under other names stand for more subjects: enough for all workers, whose start then counts little.
    for path in [*folder.glob("ecg/*_2_0.xml"), *folder.glob("cmr/*_2_0.zip")]:
        for k in range(COPIES):
            path.with_name(f"{k}{path.name}").symlink_to(path)
    yield folder
    patch.undo()


@pytest.mark.parametrize("workers", sorted({1, CORES}))
def test_ukb_folder_to_store(benchmark, folder, tmp_path, workers):
    def run():
        bare = {"tables": Tables(), "labels": LabelRule(), "split": SplitRule()}
        manifest, sizes = dataclasses.replace(cohort_manifest("ukb"), **bare), profile("paper")
        name = tmp_path / f"store{len(list(tmp_path.iterdir()))}"
        return preprocess_cohort(manifest, folder, name, sizes, preset("corrected"), 0, workers, progress=False)

    store = benchmark.pedantic(run, rounds=1)
    benchmark.extra_info["subjects_a_second"] = round(len(store) / benchmark.stats.stats.min, 1)


@pytest.mark.parametrize("subjects", [64, 256, 1024])
def test_memory_as_a_cohort_grows(benchmark, tmp_path, subjects):
    """Largest resident size of a process that preprocesses so many ECGs, in MiB; links to one record stand for them."""
    program = textwrap.dedent(
        f"""
        import sys
        sys.path.insert(0, {str(ROOT)!r})
        from dataclasses import replace
        from pathlib import Path
        import numpy as np
        from mmcl.config import preset
        from mmcl.data.manifest import Files, LabelRule, SplitRule, Tables, cohort_manifest
        from mmcl.data.pipeline import preprocess_cohort
        from mmcl.profiles import profile
        from mmcl.simulation.export import write_ecg
        folder = Path({str(tmp_path)!r})
        signal = np.random.default_rng(0).normal(0, 0.5, (12, 5000))
        for k in range({subjects}):
            write_ecg(folder / f"s{{k}}", signal)
        manifest = replace(cohort_manifest("simulated"), files=Files(ecg="{{subject}}.hea"), tables=Tables(),
                           labels=LabelRule(), split=SplitRule())
        preprocess_cohort(manifest, folder, folder / "store", profile("paper"), preset("corrected"), 0, progress=False)
        status = Path("/proc/self/status").read_text().split()
        print(int(status[status.index("VmHWM:") + 1]) // 1024)
        """
    )

    def run():
        return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout

    benchmark.extra_info["largest_MiB"] = int(benchmark.pedantic(run, rounds=1).strip())
