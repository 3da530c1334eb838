"""The roles ``work`` and ``send``: claim, do, repeat; idle for a moment when nothing is due."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from triage.dicom.warm import warm_up
from triage.domain.errors import ProviderUnavailable, TriageError
from triage.entrypoints.app import App
from triage.services.analyse import analyse_next
from triage.services.commit import confirm_next
from triage.services.deliver import deliver_next
from triage.services.undetermined import report_next

log = structlog.get_logger()

IDLE_SECONDS = 0.1
TROUBLE_SECONDS = 2.0


def repeat(step: Callable[[], bool], stop: threading.Event) -> None:
    """Take steps until ``stop`` is set; a store that does not answer is waited for.

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
        else:
            if not busy:
                stop.wait(IDLE_SECONDS)


def work(app: App, stop: threading.Event) -> None:
    """Analyse series, and report those that could not be, until ``stop`` is set; what is in hand is finished first."""
    analyst = app.analyst()
    warm_up()
    bundle = analyst.predictor.bundle
    log.info("working", bundle=bundle.name, version=bundle.version, provider=analyst.predictor.provider)
    repeat(lambda: analyse_next(analyst) or report_next(analyst), stop)


def deliver(app: App, stop: threading.Event) -> None:
    """Send results until ``stop`` is set, each destination in threads of its own: one that is down delays no other."""
    couriers = app.couriers()
    log.info("sending", destinations=sorted({courier.destination for courier in couriers}))
    threads = [
        threading.Thread(target=repeat, args=(lambda c=courier: deliver_next(c), stop), name=courier.destination)
        for courier in couriers
    ]
    threads += [
        threading.Thread(target=repeat, args=(lambda w=witness: confirm_next(w), stop), name=witness.destination)
        for witness in app.witnesses()
    ]
    for thread in threads:
        thread.start()
    stop.wait()
    for thread in threads:
        thread.join()
