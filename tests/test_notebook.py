"""The notebook runner: parameters are checked, failures leave nothing that looks finished, notebooks only tell."""

import ast
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from mmcl.notebook import check, execute, parameters, read

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))
TEXT = """# %% tags=["parameters"]
profile = "demo"
seed = 0

# %%
print(profile, seed + 1)
"""


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "story.py"
    path.write_text(TEXT)
    return path


def test_a_run_sets_parameters_and_keeps_output(source, tmp_path):
    output = tmp_path / "out" / "story.ipynb"
    execute(source, output, {"seed": "4"})
    cells = nbformat.read(output, as_version=4).cells
    assert any("demo 5" in o.get("text", "") for cell in cells for o in cell.get("outputs", []))
    assert [path.name for path in output.parent.iterdir()] == ["story.ipynb"]


def test_a_failed_run_leaves_no_output(source, tmp_path):
    output = tmp_path / "story.ipynb"
    execute(source, output, {})
    source.write_text(TEXT + "raise RuntimeError('no')\n")
    with pytest.raises(SystemExit, match="RuntimeError: no"):
        execute(source, output, {})
    assert not output.exists()
    assert output.with_suffix(".failed.ipynb").exists()


@pytest.mark.parametrize("given, message", [({"sede": "1"}, "unknown parameter 'sede'"), ({"seed": "x"}, "is no int")])
def test_a_mistyped_parameter_is_an_error(source, given, message):
    with pytest.raises(ValueError, match=message):
        check(given, parameters(read(source)), source)


def test_the_command_line_names_the_mistake(source, tmp_path):
    command = [sys.executable, "-m", "mmcl.notebook", str(source), str(tmp_path / "o.ipynb"), "prfile=demo"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode != 0
    assert "unknown parameter 'prfile'; it takes profile, seed" in done.stderr


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_only_tell(path):
    tree = ast.parse(path.read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    code = [line for line in path.read_text().splitlines() if line.strip() and not line.strip().startswith("#")]
    assert len(code) <= 150
    assert {"profile", "cohort", "seed", "device"} <= parameters(read(path)).keys()
    opening = read(path).cells[0].source
    assert all(word in opening for word in ("**Reads**", "**Writes**", "**Expected time**"))


def test_two_notebooks_run_at_once_without_hearing_each_other(source, tmp_path):
    outputs = [tmp_path / f"{k}.ipynb" for k in (1, 2)]
    commands = [
        [sys.executable, "-m", "mmcl.notebook", str(source), str(output), f"seed={k}"]
        for k, output in zip((10, 20), outputs, strict=True)
    ]
    running = [subprocess.Popen(c, cwd=ROOT, stderr=subprocess.PIPE, text=True) for c in commands]
    errors = [process.communicate()[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], errors
    for output, printed in zip(outputs, ("demo 11", "demo 21"), strict=True):
        assert printed in output.read_text()
        # A message meant for the other kernel has an invalid signature. A kernel that is slow to stop is interrupted
        # and says so, which is no message from the other.
        assert not any("Invalid" in error for error in errors)
