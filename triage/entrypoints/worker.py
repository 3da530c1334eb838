"""The role ``work``: analyse what is due, one series after the other."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import structlog

from triage.dicom.warm import warm_up
from triage.domain.errors import BundleError, DeviceLost, ProviderUnavailable
from triage.entrypoints.app import App, owner
from triage.entrypoints.steps import repeat
from triage.inference.predict import Predictor
from triage.services.analyse import Analyst, analyse_next
from triage.services.beat import Heart, alive
from triage.services.rack import Rack
from triage.services.shadow import shadow_next
from triage.services.undetermined import report_next

log = structlog.get_logger()

NO_BUNDLE_SECONDS = 5.0
SHADOW_EVERY_SECONDS = 1.0
"""So often an idle worker looks whether there is anything for the shadow."""


def work(app: App, stop: threading.Event) -> None:
    """Analyse series, and report those that could not be, until ``stop`` is set; what is in hand is finished first.

    A bundle that a person has chosen meanwhile is loaded between two jobs. While there is nothing else to do, the
    shadow bundle is run over what was analysed.

    Raises
    ------
    BundleError, ProviderUnavailable
        Nothing could be loaded to begin with: the settings cannot work.
    DeviceLost
        The GPU failed on the way.
    """
    rack = app.rack()
    first = _first(rack, stop)
    if first is None:
        return
    analyst = app.analyst(first)
    warm_up()
    detail = _bundle_of(analyst)
    log.info("working", **detail)
    shadow_from = 0.0

    def step() -> bool:
        nonlocal analyst, shadow_from
        predictor = rack.active()
        if predictor is not analyst.predictor:
            analyst = replace(analyst, predictor=predictor)
            detail.update(_bundle_of(analyst))  # the heartbeat says which one is in use
            log.info("bundle_changed", **detail)
        if analyse_next(analyst) or report_next(analyst):
            return True
        if time.monotonic() < shadow_from:
            return False
        shadow = rack.shadow()
        if shadow is not None and shadow_next(analyst, shadow):
            return True
        shadow_from = time.monotonic() + SHADOW_EVERY_SECONDS
        return False

    with alive(Heart(app.db, owner("work"), "work", app.clock, detail)):
        try:
            repeat(step, stop)
        except ProviderUnavailable as exc:
            raise DeviceLost(f"{exc} The worker begins anew.") from exc


def _first(rack: Rack, stop: threading.Event) -> Predictor | None:
    """The bundle to begin with; None when ``stop`` was set before one loaded.

    What a person chose and cannot be loaded is waited for, until it is mended or another one is chosen: jobs stay
    queued, and the missing heartbeat says that nothing is analysed. To end here would end the listener as well.

    Raises
    ------
    BundleError
        The bundle of the settings does not load.
    """
    while not stop.is_set():
        try:
            return rack.active()
        except BundleError as exc:
            if not rack.chosen:
                raise
            log.error("no_bundle_loads", why=str(exc))
            stop.wait(NO_BUNDLE_SECONDS)
    return None


def _bundle_of(analyst: Analyst) -> dict[str, object]:
    bundle = analyst.predictor.bundle
    return {
        "bundle": analyst.bundle_label,
        "digest": bundle.digest,
        "demonstration": bundle.demonstration,
        "provider": analyst.predictor.provider,
    }
