"""The banner: what is wrong with the installation as a whole, seen on every page within seconds."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from triage.domain.downtime import DATABASE_DOWN
from triage.domain.errors import StoreUnavailable
from triage.web.access import reader_of
from triage.web.desk import DeskDep
from triage.web.page import page

router = APIRouter()


@router.get("/banner", response_class=HTMLResponse)
def banner(request: Request, desk: DeskDep) -> HTMLResponse:
    """Render the banner; empty when all is well.

    A database that does not answer cannot say who asks: then everybody is told just that.
    """
    try:
        person = reader_of(request)
    except StoreUnavailable:
        return page(request, "banner.html", None, alarms=[DATABASE_DOWN])
    return page(request, "banner.html", person, alarms=desk.watch.alarms(desk.clock()))
