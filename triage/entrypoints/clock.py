"""The role ``clock``: everything that happens because time passed, driven by APScheduler."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from triage.domain.errors import TriageError
from triage.entrypoints import audit_parts
from triage.entrypoints.app import App, owner
from triage.services.assemble import assemble_due
from triage.services.beat import Heart, alive
from triage.services.checkpoint import sign_when_due
from triage.services.escalate import escalate_due
from triage.services.recover import requeue_lapsed, set_orphans_aside
from triage.services.retain import remove_old_files

log = structlog.get_logger()

ASSEMBLE_EVERY_SECONDS = 0.2
RECOVER_EVERY_SECONDS = 1.0
ESCALATE_EVERY_SECONDS = 5.0
SIGN_EVERY_SECONDS = 5.0
SWEEP_EVERY_SECONDS = 3600.0


def tick(app: App, stop: threading.Event) -> None:
    """Run the clock's steps until ``stop`` is set. Any number of clocks may run: each step claims its rows."""
    scheduler = BackgroundScheduler(executors={"default": ThreadPoolExecutor(3)}, timezone="UTC")
    timings = app.settings.series.timings()

    def every(seconds: float, step: Callable[[], object], name: str) -> None:
        scheduler.add_job(
            guarded(step, name),
            "interval",
            seconds=seconds,
            id=name,
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,
        )

    every(ASSEMBLE_EVERY_SECONDS, lambda: assemble_due(app.db, timings, app.clock()), "assemble")
    every(RECOVER_EVERY_SECONDS, lambda: requeue_lapsed(app.db, app.clock()), "recover")
    every(SWEEP_EVERY_SECONDS, lambda: set_orphans_aside(app.db, app.blobs, app.clock()), "sweep")
    days = app.settings.storage.retain_days
    if days:
        every(SWEEP_EVERY_SECONDS, lambda: remove_old_files(app.db, app.blobs, days, app.clock()), "retain")
    told = app.notifiers()
    every(ESCALATE_EVERY_SECONDS, lambda: escalate_due(app.db, app.blobs, told, app.clock()), "escalate")
    signer, interval = audit_parts.signer(app.settings), audit_parts.checkpoint_interval(app.settings)
    if signer is not None:
        every(SIGN_EVERY_SECONDS, lambda: sign_when_due(app.db, signer, interval, app.clock()), "sign")
    log.info("ticking")
    scheduler.start()
    with alive(Heart(app.db, owner("clock"), "clock", app.clock)):
        stop.wait()
        scheduler.shutdown(wait=True)


def guarded(step: Callable[[], object], name: str) -> Callable[[], None]:
    """The step as the scheduler takes it: whatever it raises is told in our log, and its next turn comes."""

    def taken() -> None:
        try:
            step()
        except TriageError as exc:
            log.error("step_failed", step=name, code=exc.code, why=str(exc))
        except Exception as exc:  # the scheduler would only tell its own log, which is off
            log.error("step_failed", step=name, exc_info=exc)

    return taken
