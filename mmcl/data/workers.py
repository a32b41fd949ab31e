"""One function over many items, in this process, on all cores, or on a Dask cluster; results in the order of the items.

The three differ in who computes alone: each takes pieces of the work by `submit`, and at most a few pieces a worker are
under way or waiting to be collected, so that memory does not grow with the number of items.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

PIECE = 16
"""Items that are sent together, so that the cost of sending is shared."""

_AHEAD = 3
"""Pieces a worker that may be under way or done before they are collected."""

_ONE_THREAD = {
    name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
}


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int = 1, dask: str = ""
) -> Iterator[Result]:
    """`function` of every item, as they come. `workers` processes, or the cluster whose scheduler listens at `dask`.

    A cluster's workers need this package in the same version, and the same paths to the files that `function` opens.
    ValueError when no scheduler answers at `dask`. An exception of `function` is raised here.
    """
    with _submitter(workers, dask) as (submit, width):
        waiting: deque = deque()
        iterator = iter(items)
        while piece := tuple(itertools.islice(iterator, PIECE)):
            waiting.append(submit(_each, function, piece))
            if len(waiting) >= _AHEAD * width:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _each(function: Callable[[Item], Result], piece: Iterable[Item]) -> list[Result]:
    return [function(item) for item in piece]


@contextmanager
def _submitter(workers: int, dask: str) -> Iterator[tuple[Callable[..., Any], int]]:
    """A function like `concurrent.futures.Executor.submit`, and how many pieces it can work on at once."""
    if dask:
        with _dask_client(dask) as client:
            width = sum(client.nthreads().values()) or 1
            # Pieces have no key of their contents: two equal subjects would else be one task.
            yield lambda *work: client.submit(*work, pure=False), width
    elif workers > 1:
        # Not the pool that joblib shares among its own callers, who expect it to be of joblib's making.
        from joblib.externals.loky import ProcessPoolExecutor

        executor = ProcessPoolExecutor(max_workers=workers, env=_ONE_THREAD)
        whole = False
        try:
            yield executor.submit, workers
            whole = True
        finally:
            # After an error what is under way is of no use any more, and must not hold up the end of this process.
            executor.shutdown(wait=True, kill_workers=not whole)
    else:
        yield lambda *work: _Done(work), 1


class _Done:
    """The result of work in this process, computed when it is collected."""

    def __init__(self, work: tuple):
        self._work = work

    def result(self) -> Any:
        function, *arguments = self._work
        return function(*arguments)


@contextmanager
def _dask_client(address: str) -> Iterator[Any]:
    try:
        from distributed import Client
    except ImportError as error:
        raise ValueError("a Dask cluster needs the package distributed: pip install 'mmcl[cluster]'") from error
    try:
        client = Client(address, timeout="20s", set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ValueError(f"no Dask scheduler answers at {address!r}: {error}") from error
    with client:
        lacking = [where for where, there in _importable(client).items() if not there]
        if lacking:
            raise ValueError(
                f"{', '.join(lacking[:3])} of the cluster cannot import mmcl; start scheduler and workers with its "
                "folder in PYTHONPATH, or with the package installed"
            )
        yield client


def _importable(client: Any) -> dict[str, bool]:
    """Whether the scheduler and each worker can import this package."""

    # Defined here, so that it is sent by value: what is asked is just whether the module can be found there.
    def found() -> bool:
        import importlib.util

        return importlib.util.find_spec("mmcl") is not None

    return {"the scheduler": client.run_on_scheduler(found), **client.run(found)}
