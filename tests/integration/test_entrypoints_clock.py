"""The role ``clock``: what it was told to escalate, it does."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.integration.site import BOTH, Site, head
from triage.domain.errors import StoreUnavailable
from triage.entrypoints import clock
from triage.entrypoints.app import App
from triage.settings import NotifierSettings, Settings
from triage.settings.groups import StorageSettings
from triage.store import deliveries
from triage.store.db import Database

DUTY = NotifierSettings(
    name="duty",
    kind="email",
    host="127.0.0.1",
    port=1,
    sender="triage@hospital.example",
    recipients=("duty@hospital.example",),
    escalate_minutes=1,
)


def test_a_clock_escalates_what_nobody_opened(database_url: str, tmp_path: Path) -> None:
    site = Site(database_url, tmp_path / "blobs", profiles={"archive": BOTH})
    slices = head()
    site.send(slices)
    site.settle()
    site.analyse()
    study = str(slices[0].StudyInstanceUID)
    later = site.now + timedelta(minutes=1)
    app = App(Settings(notify=(DUTY,)), Database(database_url), site.blobs, clock=lambda: later)
    stop = threading.Event()
    thread = threading.Thread(target=clock.tick, args=(app, stop))
    thread.start()
    try:
        for _ in range(600):
            if kinds_for_duty(site, study):
                break
            time.sleep(0.1)
    finally:
        stop.set()
        thread.join()
    assert kinds_for_duty(site, study) == ["EMAIL"]
    app.db.dispose()
    site.db.dispose()


@pytest.mark.parametrize(("days", "kept"), [(0, True), (30, False)])
def test_a_clock_removes_old_files_only_where_it_was_told_to(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, kept: bool
) -> None:
    monkeypatch.setattr(clock, "SWEEP_EVERY_SECONDS", 0.05)
    site = Site(database_url, tmp_path / "blobs")  # no destinations: nothing waits to be sent
    site.send(head())
    site.settle()
    site.analyse()
    later = site.now + timedelta(days=31)
    app = App(
        Settings(storage=StorageSettings(retain_days=days)), Database(database_url), site.blobs, clock=lambda: later
    )
    stop = threading.Event()
    thread = threading.Thread(target=clock.tick, args=(app, stop))
    thread.start()
    try:
        for _ in range(20 if kept else 600):
            if not any(site.root.rglob("*.dcm")):
                break
            time.sleep(0.1)
    finally:
        stop.set()
        thread.join()
    assert any(site.root.rglob("*.dcm")) is kept
    app.db.dispose()
    site.db.dispose()


def test_a_step_that_fails_in_any_way_says_so_and_comes_again() -> None:
    faults: list[Exception] = [StoreUnavailable("SYNTHETIC: no answer."), ValueError("SYNTHETIC")]

    def step() -> None:
        raise faults[0]

    taken = clock.guarded(step, "sweep")
    with capture_logs() as events:
        taken()
        del faults[0]
        taken()
    known, unknown = events
    assert (known["event"], known["step"], known["code"]) == ("step_failed", "sweep", "store_unavailable")
    assert (unknown["event"], unknown["log_level"], unknown["step"]) == ("step_failed", "error", "sweep")
    assert isinstance(unknown["exc_info"], ValueError)


def kinds_for_duty(site: Site, study: str) -> list[str]:
    with site.db.read() as tx:
        return [d.kind.value for d in deliveries.of_study(tx, study) if d.destination == "duty"]
