"""The operations page: what waits, how long things take, what was not sent, and what runs where."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from triage.domain.downtime import ANALYSING_ROLES
from triage.domain.lifecycle import JobState
from triage.store.bundle_slots import Slot
from triage.web.access import Reader
from triage.web.bundle import ShownBundle
from triage.web.desk import DeskDep
from triage.web.page import page

router = APIRouter()

ROLE_NAMES = {"listen": "listener", "work": "worker", "clock": "clock", "send": "sender", "web": "pages"}

WAITING = frozenset({JobState.QUEUED, JobState.RUNNING, JobState.FAILED})
"""States that are shown also when no job has them."""


@router.get("/operations", response_class=HTMLResponse)
def operations(request: Request, desk: DeskDep, person: Reader) -> HTMLResponse:
    """Show how the daemon is doing."""
    now = desk.watch.operations(desk.clock())
    found = {row.state: row for row in now.counts.queue}
    needed = [*ANALYSING_ROLES, *(["send"] if now.counts.sent else [])]
    return page(
        request,
        "operations.html",
        person,
        now=now,
        shown=ShownBundle.of(now.bundle) if now.bundle is not None else None,
        queue=[(state, found.get(state)) for state in JobState if state in WAITING or state in found],
        role_names=ROLE_NAMES,
        needed=[role for role in needed if not any(beat.role == role for beat in now.heartbeats)],
        waiting_states=WAITING,
        slots=((Slot.ACTIVE, "chosen"), (Slot.SHADOW, "shadow")),
        down={link.destination: link for link in now.links if not link.up},
    )
