"""Probes for whatever watches the process: no sign-in, no details."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from triage.domain.errors import ConfigurationError, StoreUnavailable
from triage.store.db import require_current
from triage.web.desk import DeskDep

router = APIRouter(default_response_class=PlainTextResponse)


@router.get("/healthz")
def healthz() -> PlainTextResponse:
    """Say that the process answers."""
    return PlainTextResponse("ok\n")


@router.get("/readyz", responses={503: {"description": "not ready"}})
def readyz(desk: DeskDep) -> PlainTextResponse:
    """Say whether the database answers and its schema fits this release."""
    try:
        require_current(desk.db)
    except (StoreUnavailable, ConfigurationError):
        return PlainTextResponse("not ready\n", 503)
    return PlainTextResponse("ready\n")
