"""What a product was made from: fingerprints of code and numbers, and files that are written whole or not at all.

Only the standard library is imported, so that make can ask which modules a notebook uses before anything is installed:
`python mmcl/provenance.py notebooks/*.py` prints that as Makefile variables.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import sys
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_NUMBERS_ALONE = ("mmcl/config.py", "mmcl/profiles.py", "mmcl/paths.py", "mmcl/training/experiments.yaml")
"""Left out of code fingerprints: their numbers are hashed by value, where they matter."""

_REGISTRIES = ("mmcl/training/objectives/__init__.py",)
"""Modules that list others by name."""


def modules_used(source: Path, closed: Collection[str] = ()) -> list[Path]:
    """Files of `mmcl` that `source` imports, directly or not, inside functions too; sorted, without `source`.

    What the files `closed` (paths from the root) import is not followed.
    A YAML or CSV file beside a module, of its name, belongs to it.
    """
    seen: set[Path] = set()
    waiting = [source.resolve()]
    while waiting:
        current = waiting.pop()
        if current.relative_to(ROOT).as_posix() in closed:
            continue
        for module in _imports(current):
            if module not in seen:
                seen.add(module)
                waiting.append(module)
    return sorted(seen - {source.resolve()})


def code_fingerprint(*modules: str) -> str:
    """Short SHA-256 of the code of `modules` (dotted names) and all they import of `mmcl`.

    Comments, docstrings and layout do not count: they change no result. What a registry lists does not count either:
    who uses an entry names its module among `modules`, so that a change of another entry changes nothing.
    """
    files: set[Path] = set()
    for name in modules:
        path = ROOT / (name.replace(".", "/") + ".py")
        files |= {path, *modules_used(path, _REGISTRIES)}
    digest = hashlib.sha256()
    for path in sorted(files):
        relative = path.relative_to(ROOT).as_posix()
        if relative not in _NUMBERS_ALONE:
            digest.update(relative.encode() + _bare_code(path).encode())
    return digest.hexdigest()[:16]


def write_text(path: Path, text: str) -> bool:
    """Write `text` to `path` atomically, unless the file holds it already; whether it wrote.

    A file left untouched keeps its time, so make re-runs nothing that depends on it.
    """
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    from mmcl.atomic import atomic_path

    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")
    return True


def write_json(path: Path, content: object) -> bool:
    """Write `content` as sorted, indented JSON by `write_text`; NaN becomes null."""
    return write_text(path, json.dumps(_plain(content), indent=1, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> dict:
    """Content of a JSON file; ValueError names the file when it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not a JSON file ({error})") from error


def is_finished(marker: Path, fingerprint: str) -> bool:
    """Whether `marker` says that its product is whole and was made from what `fingerprint` stands for."""
    return marker.exists() and read_json(marker).get("fingerprint") == fingerprint


def _plain(value: object) -> object:
    """Python numbers, strings, lists and dictionaries from NumPy's and others'."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, Path):
        return value.as_posix()
    return value


@functools.cache
def _imports(source: Path) -> tuple[Path, ...]:
    if source.suffix != ".py":
        return ()
    return tuple(_imported(ast.parse(source.read_text(encoding="utf-8"))))


def _imported(tree: ast.Module) -> Iterator[Path]:
    public = _public_names()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "mmcl":
            # A public name such as mmcl.load_encoder is imported when it is asked for.
            names = [public[node.attr]] if node.attr in public else []
        else:
            continue
        for name in names:
            if name.split(".")[0] == "mmcl":
                path = ROOT / name.replace(".", "/")
                files = (path / "__init__.py", *(path.with_suffix(ending) for ending in (".py", ".yaml", ".csv")))
                yield from (p for p in files if p.is_file())


def _public_names() -> dict[str, str]:
    """Module of each name that the package offers lazily, read from `_PUBLIC` in its `__init__.py`."""
    tree = ast.parse((ROOT / "mmcl" / "__init__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "_PUBLIC" for t in node.targets):
            return ast.literal_eval(node.value)
    return {}


@functools.cache
def _bare_code(path: Path) -> str:
    if path.suffix != ".py":
        return path.read_text(encoding="utf-8")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            # A string alone in a body is a docstring, of a module, a function or an attribute.
            node.body = [s for s in body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
    return ast.dump(tree)


def _print_makefile(sources: Iterable[Path]) -> None:
    for source in sources:
        names = (path.relative_to(ROOT).as_posix() for path in modules_used(source))
        print(f"MODULES_{source.stem} := {' '.join(names)}")


if __name__ == "__main__":
    _print_makefile(map(Path, sys.argv[1:]))
