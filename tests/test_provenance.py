"""Fingerprints follow code and numbers, not comments; files are whole or absent."""

import dataclasses

import numpy as np
import pytest

from mmcl import provenance
from mmcl.config import fingerprint, preset
from mmcl.profiles import profile
from mmcl.provenance import code_fingerprint, is_finished, modules_used, read_json, write_json


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small tree of modules in place of the project's."""
    folder = tmp_path / "mmcl"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "a.py").write_text("from mmcl.b import f\n")
    (folder / "b.py").write_text("def f():\n    import mmcl.c\n    return mmcl.c.X\n")
    (folder / "c.py").write_text('"""Doc."""\nX = 1\n')
    (folder / "d.py").write_text("Y = 1\n")
    monkeypatch.setattr(provenance, "ROOT", tmp_path)

    def change(name, text):
        (folder / name).write_text(text)
        provenance._imports.cache_clear()
        provenance._bare_code.cache_clear()

    change("d.py", "Y = 1\n")
    yield tmp_path, change
    provenance._imports.cache_clear()
    provenance._bare_code.cache_clear()


def test_imports_are_followed_into_functions(package):
    root, _ = package
    names = [path.relative_to(root).as_posix() for path in modules_used(root / "mmcl" / "a.py")]
    assert names == ["mmcl/b.py", "mmcl/c.py"]


def test_the_fingerprint_follows_code_that_is_used_but_no_comment(package):
    _, change = package
    before = code_fingerprint("mmcl.a")
    change("c.py", '"""Another text."""\n\nX = 1  # why\n')
    change("d.py", "Y = 2\n")
    assert code_fingerprint("mmcl.a") == before
    change("c.py", "X = 2\n")
    assert code_fingerprint("mmcl.a") != before


def test_public_names_are_followed(package):
    root, change = package
    change("__init__.py", '_PUBLIC = {"f": "mmcl.b"}\n')
    change("a.py", "import mmcl\nmmcl.f()\n")
    names = [path.relative_to(root).as_posix() for path in modules_used(root / "mmcl" / "a.py")]
    assert names == ["mmcl/__init__.py", "mmcl/b.py", "mmcl/c.py"]


@pytest.mark.parametrize("name", ["c.yaml", "c.csv"])
def test_a_modules_table_counts_as_part_of_it(package, name):
    root, change = package
    change(name, "x: 1\n")
    names = [path.relative_to(root).as_posix() for path in modules_used(root / "mmcl" / "a.py")]
    assert names == sorted(["mmcl/b.py", "mmcl/c.py", f"mmcl/{name}"])
    before = code_fingerprint("mmcl.a")
    change(name, "x: 2\n")
    assert code_fingerprint("mmcl.a") != before


def test_equal_content_keeps_the_files_time(tmp_path):
    path = tmp_path / "results.json"
    assert write_json(path, {"a": np.float64("nan"), "b": np.arange(2)})
    assert read_json(path) == {"a": None, "b": [0, 1]}
    before = path.stat().st_mtime_ns
    assert not write_json(path, {"b": [0, 1], "a": float("nan")})
    assert path.stat().st_mtime_ns == before


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "results.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_finished_means_made_from_the_same(tmp_path):
    marker = tmp_path / "finished.json"
    assert not is_finished(marker, "x")
    write_json(marker, {"fingerprint": "x"})
    assert is_finished(marker, "x") and not is_finished(marker, "y")
    marker.write_text("{")
    with pytest.raises(ValueError, match="finished.json: not a JSON file"):
        is_finished(marker, "x")


def test_numbers_change_their_fingerprint():
    demo = profile("demo")
    other = dataclasses.replace(demo, mdm=dataclasses.replace(demo.mdm, epochs=demo.mdm.epochs + 1))
    assert fingerprint(demo) == fingerprint(profile("demo")) != fingerprint(other)


def test_unknown_names_are_told_the_known_ones():
    with pytest.raises(ValueError, match="unknown profile 'dmeo'; expected one of smoke, demo, paper"):
        profile("dmeo")
    with pytest.raises(ValueError, match="unknown preset 'publish'; expected one of paper, corrected"):
        preset("publish")


def test_packages_hold_no_code_of_their_own():
    """Dependencies are tracked by module, so a package that imported or computed something would escape them."""
    import ast

    # The package itself only forwards public names, which are followed.
    for path in (provenance.ROOT / "mmcl").glob("*/__init__.py"):
        tree = ast.parse(path.read_text())
        assert all(isinstance(node, ast.Expr | ast.Assign) for node in tree.body), path


def test_a_registry_is_not_followed_but_its_entries_can_be_named():
    def used(module, closed=provenance._REGISTRIES):
        names = provenance.modules_used(provenance.ROOT / f"mmcl/training/{module}.py", closed)
        return {path.relative_to(provenance.ROOT).as_posix() for path in names}

    registry, loss = "mmcl/training/objectives/__init__.py", "mmcl/losses/sigmoid.py"
    for module in ("pretraining", "finetuning", "probing"):
        assert registry in used(module) and loss not in used(module), module
        assert loss in used(module, closed=())
    assert loss in used("objectives/contrastive") and loss not in used("objectives/masked_modelling")
