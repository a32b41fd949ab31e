"""The compendium as a user runs it: all notebooks by make, at their smallest, and what make then does again."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow


def make(*arguments, build, check=True):
    """Run make with this test's Python environment and its products in the folder `build`."""
    env = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    env |= {"VIRTUAL_ENV": sys.prefix, "MMCL_BUILD": str(build)}
    env.pop("OMP_NUM_THREADS", None)
    return subprocess.run(["make", *arguments], cwd=ROOT, env=env, check=check, capture_output=True, text=True)


@pytest.fixture(scope="module")
def build():
    """Products of the smoke profile, kept between test sessions: make knows what is stale."""
    folder = ROOT / "build"
    done = make("smoke", build=folder, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def run(build):
    return build / "smoke" / "simulated-seed0"


def ran(done) -> list[str]:
    return [line.removeprefix("running ") for line in done.stdout.splitlines() if line.startswith("running ")]


def test_every_notebook_left_its_results_and_figures(run):
    stories = [path.stem for path in sorted((ROOT / "notebooks").glob("*.py"))]
    assert len(stories) == 11
    for story in stories:
        assert (run / f"{story}.ipynb").is_file()
        assert json.loads((run / "results" / f"{story}.json").read_text())
    figures = {path.stem for path in (run / "figures").glob("*.png")}
    assert {"cohort_examples", "mdm_training", "risk_auroc", "phenotype_r2", "localisation_cmr"} <= figures
    assert all((run / "figures" / f"{name}.json").is_file() for name in figures)


def test_a_second_run_does_nothing(build):
    assert ran(make("smoke", build=build)) == []


def test_touching_a_module_runs_only_the_notebooks_that_use_it(build, tmp_path):
    copy = tmp_path / "build"
    shutil.copytree(build / "smoke", copy / "smoke")
    done = make("PROFILE=smoke", "notebooks", "--what-if=mmcl/plotting/latent.py", build=copy)
    assert ran(done) == ["06_interpret_latent_space"]


def test_a_mistyped_variable_is_an_error(build):
    done = make("smoke", "PROFILE=smoek", build=build, check=False)
    assert done.returncode != 0 and "smoek is unknown" in done.stderr


def test_a_mistyped_preset_is_an_error_at_once(tmp_path):
    done = make("smoke", "PRESET=paper+tile_crop", build=tmp_path / "build", check=False)
    assert done.returncode != 0 and "unknown choice 'tile_crop'" in done.stderr
    assert not (tmp_path / "build").exists()
    for name in ("paper", "corrected-tile_crops"):
        done = make("--dry-run", "notebooks", "PROFILE=smoke", f"PRESET={name}", build=tmp_path / "build")
        assert f"simulated-seed0-{name}/01_preprocess.ipynb" in done.stdout and f"preset={name}" in done.stdout
        assert f"simulated-seed0-{name}/00_simulate_cohort.ipynb" not in done.stdout, "the cohort is simulated once"


def test_embedding_a_folder_keeps_a_row_for_every_record(build, run, tmp_path, shared):
    folder = tmp_path / "records"
    shutil.copytree(shared / "real" / "ecg", folder)
    for path in folder.iterdir():
        path.chmod(0o644)
    (folder / "E07500.mat").write_bytes(b"MATLAB")
    make("embed", "PROFILE=smoke", f"ECG={folder}", build=build)
    with open(run / "embeddings.csv", newline="") as file:
        rows = {row["record"]: row for row in csv.DictReader(file)}
    assert len(rows) == 8
    assert rows["E07500"]["used"] == "False" and rows["E07500"]["reason"]
    used = [row for row in rows.values() if row["used"] == "True"]
    assert len(used) == 7
    for row in used:
        assert 0 <= float(row["risk_CAD"]) <= 1
        assert float(row["phenotype_LVEDV"]) > 0
        assert row["embedding_0"]
