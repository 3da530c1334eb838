"""Keep a lease alive while long work goes on; a killed process stops renewing and loses it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from triage.domain.errors import TriageError

log = structlog.get_logger()


@contextmanager
def kept_alive(renew: Callable[[], None], every_seconds: float, at_most_seconds: float) -> Iterator[None]:
    """Call ``renew`` every so often, in a thread, until the block ends or ``at_most_seconds`` passed.

    After that limit the lease runs out by itself, so that work that hangs is taken away from its worker.
    """
    done = threading.Event()

    def beat() -> None:
        for _ in range(max(1, int(at_most_seconds / every_seconds))):
            if done.wait(every_seconds):
                return
            try:
                renew()
            except TriageError as exc:
                # The final step of the work is guarded by the lease and will find out by itself.
                log.warning("lease_not_renewed", code=exc.code, why=str(exc))

    thread = threading.Thread(target=beat, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
