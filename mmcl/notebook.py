"""Run a notebook headless: a percent script in, an executed notebook out, whole or not at all.

`python -m mmcl.notebook NOTEBOOK.py OUTPUT.ipynb name=value ...` sets the parameters named, executes, and moves the
result into place only
when every cell has succeeded. A failed run leaves its partial copy beside it as `OUTPUT.failed.ipynb`.
"""

from __future__ import annotations

import argparse
import ast
import os
import shutil
import sys
import tempfile
from pathlib import Path

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def read(source: Path):
    """The notebook in a jupytext percent script, with the kernel set that papermill asks for."""
    import jupytext

    notebook = jupytext.read(source, fmt="py:percent")
    notebook.metadata["kernelspec"] = KERNEL
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def parameters(notebook) -> dict[str, object]:
    """Names and default values in the cell tagged `parameters`; ValueError when there is not exactly one such cell."""
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise ValueError(f"a notebook needs one cell tagged 'parameters', found {len(cells)}")
    assignments = [node for node in ast.parse(cells[0].source).body if isinstance(node, ast.Assign)]
    return {node.targets[0].id: ast.literal_eval(node.value) for node in assignments}


def check(given: dict[str, str], known: dict[str, object], source: Path) -> dict[str, object]:
    """`given` as values of the types of the defaults in `known`; ValueError for an unknown name or an unfit value."""
    values = {}
    for name, text in given.items():
        if name not in known:
            raise ValueError(f"{source}: unknown parameter {name!r}; it takes {', '.join(known)}")
        try:
            values[name] = type(known[name])(text)
        except ValueError as error:
            raise ValueError(f"{source}: parameter {name}={text!r} is no {type(known[name]).__name__}") from error
    return values


def execute(source: Path, output: Path, given: dict[str, str]) -> None:
    """Execute `source` with the parameters `given` and write `output` when it has succeeded."""
    import papermill
    from traitlets.config import Config

    notebook = read(source)
    values = check(given, parameters(notebook), source)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.unlink(missing_ok=True)
    failed = output.with_suffix(".failed.ipynb")
    partial = output.with_suffix(".partial.ipynb")
    # Figures belong in the notebook: a file backend set for scripts would leave it without any.
    os.environ.pop("MPLBACKEND", None)
    # Sockets in a folder of their own: two kernels in one working folder would otherwise share their names.
    sockets = tempfile.mkdtemp(prefix="mmcl-")
    manager = {"transport": "ipc", "ip": f"{sockets}/kernel", "shutdown_wait_time": 1.0}
    try:
        papermill.execute_notebook(
            notebook,
            str(partial),
            parameters=values,
            kernel_name=KERNEL["name"],
            progress_bar=sys.stderr.isatty(),
            log_output=False,
            # Kernels talk over local sockets, and one that stalls when asked to stop is ended after a second.
            config=Config({"KernelManager": manager}),
        )
    except papermill.PapermillExecutionError as error:
        os.replace(partial, failed)
        sys.exit(f"{source} failed in cell {error.exec_count}: {error.ename}: {error.evalue}\nsee {failed}")
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    finally:
        shutil.rmtree(sockets, ignore_errors=True)
    failed.unlink(missing_ok=True)
    os.replace(partial, output)


def main(arguments: list[str] | None = None) -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m mmcl.notebook", description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("parameters", nargs="*", metavar="name=value")
    options = parser.parse_args(arguments)
    pairs = [text.partition("=") for text in options.parameters]
    if any(not separator for _, separator, _ in pairs):
        parser.error("parameters are given as name=value")
    try:
        execute(options.source, options.output, {name: value for name, _, value in pairs})
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
