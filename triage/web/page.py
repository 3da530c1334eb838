"""Templates: what stands around every page, and how instants and durations are written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from triage import __version__
from triage.domain.account import Person, Role
from triage.domain.intended_use import INTENDED_USE
from triage.web.access import csrf_token, session_value

STATIC = Path(__file__).parent / "static"

STOP_POLLING: Final = 286
"""The status by which htmx takes an answer and does not ask again."""


@dataclass(frozen=True, slots=True)
class NavLink:
    """One entry of the navigation; only for administrators where it says so."""

    path: str
    name: str
    administrators_only: bool = False


NAVIGATION = (
    NavLink("/", "Worklist"),
    NavLink("/statistics", "Statistics"),
    NavLink("/operations", "Operations"),
    NavLink("/audit", "Audit", administrators_only=True),
    NavLink("/accounts", "Accounts", administrators_only=True),
)


def instant(at: datetime | None) -> str:
    """A time as pages write it: UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if at is not None else ""


def duration(seconds: float) -> str:
    """A length of time in the two units that matter."""
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters["instant"] = instant
_templates.filters["duration"] = duration


def page(
    request: Request, template: str, person: Person | None, *, status_code: int = 200, **values: Any
) -> HTMLResponse:
    """Render a page, or a part of one, for the person who asked.

    Templates extend ``base.html`` and find there ``person``, ``csrf`` (for the field ``csrf_token`` of forms),
    ``path`` and the filters ``instant`` and ``duration``. Everything is escaped.
    """
    session = session_value(request) if person else None
    text = _templates.get_template(template).render(
        person=person,
        csrf=csrf_token(session) if session else "",
        path=request.url.path,
        navigation=[link for link in NAVIGATION if _shown(link, person)],
        intended_use=INTENDED_USE,
        version=__version__,
        **values,
    )
    return HTMLResponse(text, status_code)


def _shown(link: NavLink, person: Person | None) -> bool:
    return person is not None and (not link.administrators_only or person.role is Role.ADMINISTRATOR)
