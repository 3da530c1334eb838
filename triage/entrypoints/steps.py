"""Claim, do, repeat; idle for a moment when nothing is due."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from triage.domain.errors import ProviderUnavailable, TriageError

log = structlog.get_logger()

IDLE_SECONDS = 0.1
TROUBLE_SECONDS = 2.0


def repeat(step: Callable[[], bool], stop: threading.Event) -> None:
    """Take steps until ``stop`` is set; what a step runs into is logged, and after a pause the next one follows.

    So it is with a store that does not answer, and with a fault of ours: one destination, or one row, that trips over
    it must not end what serves all the others.

    Raises
    ------
    ProviderUnavailable
        The GPU was lost. The process ends, and the one that follows takes what is there then.
    """
    while not stop.is_set():
        try:
            busy = step()
        except ProviderUnavailable:
            raise
        except TriageError as exc:
            log.error("step_failed", code=exc.code, why=str(exc))
            stop.wait(TROUBLE_SECONDS)
        except Exception:  # in a thread it would end the loop, while the process and its heartbeat went on
            log.exception("step_failed")
            stop.wait(TROUBLE_SECONDS)
        else:
            if not busy:
                stop.wait(IDLE_SECONDS)
