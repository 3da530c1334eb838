"""Run the shadow bundle over what was analysed, while nothing else is to be done; keep what it says, tell nobody."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from triage.dicom.select import usable
from triage.dicom.volume import read_volume
from triage.domain.errors import StoreUnavailable, UnusableSeries
from triage.domain.finding import ReasonCode, TriageResult
from triage.inference.plausible import check_living_head
from triage.inference.predict import Predictor
from triage.services.analyse import Analyst
from triage.services.rack import Shadow
from triage.store import instances, jobs, shadow_results
from triage.store.db import Database
from triage.store.file_area import FileArea
from triage.store.shadow_results import Unshadowed

log = structlog.get_logger()


class Interrupted(Exception):
    """Real work has come; what the shadow was at is begun again later."""


def shadow_next(analyst: Analyst, shadow: Shadow) -> bool:
    """Run the shadow over the latest series that it has not seen; False when there is none, or a job is due.

    No object, no delivery and no row of the worklist comes of it. A job that becomes due meanwhile waits for one
    step of the nets at most. What goes wrong is recorded as the shadow's failure, and never ends the worker.
    """
    bundle = shadow.predictor.bundle
    with analyst.db.read() as tx:
        about = shadow_results.next_unshadowed(tx, bundle.digest, shadow.since)
        if about is None or jobs.any_due(tx, analyst.clock()):
            return False
    said: TriageResult | ReasonCode
    try:
        said = examine(
            analyst.db,
            analyst.blobs,
            about.series_id,
            shadow.predictor,
            every_slice=analyst.every_slice,
            go_on=lambda: _idle(analyst),
        )
    except Interrupted:
        return False
    except UnusableSeries as exc:
        said = exc.reason
    except StoreUnavailable:
        raise
    except Exception as exc:  # a bundle on trial may do anything, and the worker must live
        log.error("shadow_failed", series_instance_uid=about.series_instance_uid, exc_info=exc)
        said = ReasonCode.FAILED
    _keep(analyst, shadow, about, said)
    return True


def examine(
    db: Database,
    blobs: FileArea,
    series_id: int,
    predictor: Predictor,
    *,
    every_slice: bool = False,
    go_on: Callable[[], bool] = lambda: True,
) -> TriageResult:
    """What a bundle says of a series as it stands; nothing is kept.

    Raises
    ------
    UnusableSeries
        It can say nothing, or the series lies too far from what it learned from.
    Interrupted
        ``go_on`` said no between two steps.
    TriageError
        An instance cannot be read.
    """
    with db.read() as tx:
        stored = instances.of_series(tx, series_id)
    wanted = {header.sop_instance_uid for header in usable([s.header for s in stored])}
    volume = read_volume([blobs.read(s.blob_key) for s in stored if s.sop_instance_uid in wanted])
    check_living_head(volume, predictor.bundle.preprocessing.field_mm)
    _ask(go_on)
    gate = predictor.gate(volume)
    _ask(go_on)
    return predictor.segment(volume, gate, every_slice=every_slice).result


def _ask(go_on: Callable[[], bool]) -> None:
    if not go_on():
        raise Interrupted


def _idle(analyst: Analyst) -> bool:
    with analyst.db.read() as tx:
        return not jobs.any_due(tx, analyst.clock())


def _keep(analyst: Analyst, shadow: Shadow, about: Unshadowed, said: TriageResult | ReasonCode) -> None:
    bundle = shadow.predictor.bundle
    with analyst.db.transaction() as tx:
        shadow_results.record(
            tx,
            about,
            said,
            bundle_digest=bundle.digest,
            bundle=f"{bundle.name} {bundle.version}",
            now=analyst.clock(),
        )
    log.info(
        "shadow_said",
        series_instance_uid=about.series_instance_uid,
        bundle=bundle.name,
        said=said.status.value if isinstance(said, TriageResult) else said.value,
    )
