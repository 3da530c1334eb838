"""The role ``send``: results to archives and reading lists, audit messages to their repository."""

from __future__ import annotations

import threading

import structlog

from triage.entrypoints import audit_parts
from triage.entrypoints.app import App, owner
from triage.entrypoints.steps import repeat
from triage.services.beat import Heart, alive
from triage.services.commit import confirm_next
from triage.services.deliver import deliver_next

log = structlog.get_logger()


def deliver(app: App, stop: threading.Event) -> None:
    """Send results until ``stop`` is set, each destination in threads of its own: one that is down delays no other."""
    couriers = app.couriers()
    detail = {"destinations": sorted({courier.destination for courier in couriers})}
    log.info("sending", **detail)
    threads = [
        threading.Thread(target=repeat, args=(lambda c=courier: deliver_next(c), stop), name=courier.destination)
        for courier in couriers
    ]
    threads += [
        threading.Thread(target=repeat, args=(lambda w=witness: confirm_next(w), stop), name=witness.destination)
        for witness in app.witnesses()
    ]
    forwarder = audit_parts.forwarder(app.settings, app.db, app.clock, owner("send"))
    if forwarder is not None:
        threads.append(threading.Thread(target=forwarder.run, args=(stop,), name="audit"))
    with alive(Heart(app.db, owner("send"), "send", app.clock, detail)):
        for thread in threads:
            thread.start()
        stop.wait()
        for thread in threads:
            thread.join()
