"""Many small tasks over processes, a bounded number of them at a time, so that memory does not grow with the work."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, get_context
from typing import TypeVar

Task = TypeVar("Task")
Answer = TypeVar("Answer")

_WAITING = 3
"""Tasks that lie ready for each worker."""


def in_processes(work: Callable[[Task], Answer], tasks: Iterator[Task], workers: int) -> Iterator[Answer]:
    """Yield the answers as they come, in any order.

    Parameters
    ----------
    work : callable
        Of a module, so that a process can be told of it.
    workers : int
        Processes; 0 does the work in this one.

    Raises
    ------
    RuntimeError
        A worker ended without an answer.
    """
    if workers == 0:
        yield from map(work, tasks)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_end_with_parent) as pool:
        running: set[Future[Answer]] = set()
        try:
            for task in tasks:
                running.add(pool.submit(work, task))
                if len(running) >= workers * _WAITING:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from (one.result() for one in done)
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (one.result() for one in done)
        except BrokenProcessPool as exc:
            raise RuntimeError(
                "a worker process ended without an answer, perhaps for want of memory; the same command goes on "
                "where it stopped, with --workers 1 it needs less"
            ) from exc
        finally:
            for one in running:
                one.cancel()


def _end_with_parent() -> None:
    """A pool whose owner was killed would otherwise wait for tasks for ever; Ctrl-C is for the owner to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent.sentinel,), daemon=True).start()


def _watch(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
