"""The role ``listen``: the Storage SCP, with the receive step behind it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from triage.domain.errors import StoreUnavailable
from triage.entrypoints.app import App, owner
from triage.net.commitment import commitment_service
from triage.net.scp import IncomingInstance, ListenerService, Peer, StorageScp
from triage.net.ups_scp import Asked, ups_service
from triage.services.beat import Heart, alive
from triage.services.offer import find_steps, get_step, record_query
from triage.services.receive import Door, Receipt, association_ended, association_refused, keep, request_refused
from triage.services.recover import end_lost_associations

log = structlog.get_logger()

GRACE_SECONDS = 10.0
ATTEMPTS_TO_END = 5


def serve(app: App, stop: threading.Event) -> None:
    """Listen until ``stop`` is set, then let running associations finish."""
    door = app.door()
    scp = storage_scp(app, door)
    # With the port ours no other listener of this name runs: what is open is lost.
    scp.bind()
    lost = end_lost_associations(app.db, door.name, app.clock())
    scp.serve()
    options = app.listener_options()
    log.info("listening", ae_title=options.ae_title, host=options.host, port=scp.port, lost_associations=lost)
    detail = {"port": scp.port, "min_free_bytes": door.min_free_bytes}
    with alive(Heart(app.db, owner("listen"), "listen", app.clock, detail)):
        stop.wait()
        scp.stop(GRACE_SECONDS)


def storage_scp(app: App, door: Door) -> StorageScp:
    """The SCP with its callbacks."""

    def on_instance(incoming: IncomingInstance) -> None:
        receipt = keep(door, incoming, app.clock())
        if receipt is not Receipt.STORED:
            log.info("instance_not_new", receipt=receipt.value, sop_instance_uid=incoming.sop_instance_uid)

    def on_ended(association_id: str, peer: Peer, released: bool) -> None:
        log.info("association_ended", calling_ae_title=peer.calling_ae_title, released=released)
        # Not lost when it fails for good: the series then waits for quiet_seconds instead.
        _insist(
            lambda: association_ended(door, association_id, released=released, now=app.clock()),
            "association_end_not_recorded",
        )

    def on_refused(peer: Peer, why: str) -> None:
        association_refused(app.db, peer, why, app.clock())

    def on_unreadable(peer: Peer, why: str) -> None:
        request_refused(app.db, peer, why, app.clock())

    options, services = app.listener_options(), listener_services(app)
    return StorageScp(options, on_instance, on_ended, on_refused, services, on_unreadable)


def _insist(record: Callable[[], None], failure: str) -> None:
    """Record something, also when the database is away for some seconds."""
    for attempt in range(ATTEMPTS_TO_END):
        try:
            record()
        except StoreUnavailable as exc:
            log.warning(failure, why=str(exc), attempt=attempt + 1)
            time.sleep(0.2 * 2**attempt)
        else:
            return


def listener_services(app: App) -> list[ListenerService]:
    """What the listener offers besides storage, as far as the settings ask for it."""

    def on_asked(peer: Peer, asked: Asked) -> None:
        log.info("worklist_queried", calling_ae_title=peer.calling_ae_title, questions=asked.questions)
        _insist(lambda: record_query(app.db, peer, asked, app.clock()), "worklist_query_not_recorded")

    services = []
    if any(destination.commitment for destination in app.settings.destinations):
        services.append(commitment_service(app.take_report))
    if any(notifier.kind == "pull" for notifier in app.settings.notify):
        services.append(
            ups_service(
                find=lambda query: find_steps(app.db, app.blobs, query, app.clock()),
                get=lambda sop_instance_uid: get_step(app.db, app.blobs, sop_instance_uid),
                on_asked=on_asked,
            )
        )
    return services
