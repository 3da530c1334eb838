"""Metrics in the text format of Prometheus, read from the same stores as the operations page.

A scraper brings a service token (``Authorization: Bearer TOKEN``; in Prometheus ``authorization: credentials_file``);
a signed-in reader may look too. Everything is a gauge made anew for each request, so that several processes of pages
say the same, and none of it names a patient or a study.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from triage import __version__
from triage.domain.downtime import ANALYSING_ROLES, AlarmCode
from triage.domain.lifecycle import DeliveryState
from triage.domain.statistics import Waiting
from triage.services.watch import Operations
from triage.web.access import Caller
from triage.web.desk import DeskDep

router = APIRouter()

PREFIX = "ich_triage_"


@router.get("/metrics", response_class=Response)
def metrics(desk: DeskDep, _caller: Caller) -> Response:
    """Answer a scrape."""
    registry = CollectorRegistry()
    registry.register(_Collected(desk.watch.operations(desk.clock())))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class _Collected(Collector):
    """What was found, as families of metrics."""

    def __init__(self, now: Operations) -> None:
        self._now = now

    def collect(self) -> Iterator[Metric]:
        """Every family, in a fixed order."""
        now = self._now
        running = [((__version__, now.bundle.label if now.bundle else ""), 1.0)]
        yield _gauge("build_info", "The release, and the bundle in use.", ["version", "bundle"], running)
        codes = {alarm.code for alarm in now.alarms}
        alarms = [((code.value,), float(code in codes)) for code in AlarmCode]
        yield _gauge("alarm", "1 while the banner says so.", ["code"], alarms)
        yield from _roles(now)
        yield from _queue(now)
        yield from _deliveries(now)
        yield from _intake(now)


def _roles(now: Operations) -> Iterator[Metric]:
    seen = {beat.role for beat in now.heartbeats}
    roles = sorted({*ANALYSING_ROLES, *seen})
    alive = {beat.role for beat in now.heartbeats if beat.alive(now.at)}
    yield _gauge("role_up", "1 while a process of the role runs.", ["role"], [((r,), float(r in alive)) for r in roles])
    # By role alone: processes come and go, and each would leave a series behind.
    heard = {role: max(beat.at for beat in now.heartbeats if beat.role == role) for role in sorted(seen)}
    ages = [((role,), (now.at - at).total_seconds()) for role, at in heard.items()]
    yield _gauge("heartbeat_age_seconds", "Since the last sign of life of any process of a role.", ["role"], ages)


def _queue(now: Operations) -> Iterator[Metric]:
    counts = [((row.state.value,), float(row.total)) for row in now.counts.queue]
    yield _gauge("jobs", "Analyses by state; those that ended, of the last 24 hours.", ["state"], counts)
    ages = [((row.state.value,), (now.counts.at - row.oldest_at).total_seconds()) for row in now.counts.queue]
    yield _gauge("job_oldest_seconds", "Since the oldest analysis of a state was queued.", ["state"], ages)
    quantiles = [
        ((span.span.replace(" ", ""), of, quantile), seconds)
        for span in now.counts.flag_times
        for of, waiting in (("suspected", span.suspected), ("analysed", span.analysed))
        for quantile, seconds in _quantiles(waiting)
    ]
    yield _gauge(
        "flag_seconds", "From the last instance to the result, by quantile.", ["span", "studies", "quantile"], quantiles
    )


def _deliveries(now: Operations) -> Iterator[Metric]:
    counts = [((row.destination, row.state.value), float(row.total)) for row in now.counts.sent]
    yield _gauge("deliveries", "Objects by destination and state.", ["destination", "state"], counts)
    waiting = [
        ((row.destination,), (now.counts.at - row.oldest_at).total_seconds())
        for row in now.counts.sent
        if row.state is DeliveryState.PENDING
    ]
    yield _gauge("delivery_oldest_pending_seconds", "Since the oldest waiting was touched.", ["destination"], waiting)
    up = [((link.destination,), float(link.up)) for link in now.links]
    yield _gauge("destination_up", "0 while a destination does not answer.", ["destination"], up)


def _intake(now: Operations) -> Iterator[Metric]:
    studies = [((status.value,), float(total)) for status, total in now.counts.studies.items()]
    yield _gauge("studies", "Studies of the last 24 hours by status.", ["status"], studies)
    refused = [((kind,), float(total)) for kind, total in now.counts.refusals.items()]
    yield _gauge("refused", "What was not taken in during the last 24 hours.", ["kind"], refused)
    if now.disk is not None:
        yield _gauge("disk_free_bytes", "Room in the file area.", [], [((), float(now.disk.free_bytes))])
        yield _gauge("disk_floor_bytes", "Below this, images are refused.", [], [((), float(now.disk.floor_bytes))])
    if now.drift is not None:
        yield _gauge("score_drift_index", "Population stability index of 30 days.", [], [((), now.drift.index)])
        yield _gauge("score_drift_limit", "Above this the banner speaks up.", [], [((), now.drift.limit)])


def _quantiles(waiting: Waiting) -> Iterator[tuple[str, float]]:
    for quantile, seconds in (("0.5", waiting.median_seconds), ("0.95", waiting.p95_seconds)):
        if seconds is not None:
            yield quantile, seconds


def _gauge(
    name: str, text: str, labels: list[str], samples: Iterable[tuple[tuple[str, ...], float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(PREFIX + name, text, labels=labels)
    for values, number in samples:
        family.add_metric(list(values), number)
    return family
