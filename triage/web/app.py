"""The web application: its routers, what protects them, and what is said when something cannot be done."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import structlog
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import URL
from starlette.exceptions import HTTPException

from triage import __version__
from triage.domain.errors import NotFound, NotPossibleNow, SignInRefused, StaleState, StoreUnavailable, TriageError
from triage.web import (
    access,
    accounts,
    audit,
    banner,
    bundle,
    events,
    health,
    login,
    metrics,
    operations,
    pictures,
    statistics,
    study,
    worklist,
    worklist_api,
)
from triage.web.desk import Desk
from triage.web.page import STATIC, page
from triage.web.protection import Protection, security_headers

log = structlog.get_logger()

ROUTERS: Final[tuple[APIRouter, ...]] = (
    health.router,
    login.router,
    accounts.router,
    worklist.router,
    worklist_api.router,
    events.router,
    study.router,
    pictures.router,
    banner.router,
    operations.router,
    bundle.router,
    statistics.router,
    metrics.router,
    audit.router,
)

_STATUS: Final[dict[type[TriageError], int]] = {
    NotFound: 404,
    NotPossibleNow: 409,
    StaleState: 409,
    SignInRefused: 403,
    StoreUnavailable: 503,
}

_SAID: Final = {
    400: "This request cannot be understood.",
    403: "Your account may not do this.",
    404: "There is no such page.",
    405: "This cannot be done here.",
    422: "Something in this request has a value that cannot be.",
    500: "Something went wrong here; it was recorded. Trying again may help.",
    503: "The database does not answer at the moment; the administrator can see why on the server.",
}


def make_app(desk: Desk) -> FastAPI:
    """The application on its stores."""
    app = FastAPI(title="ich-triage", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.desk = desk
    for router in ROUTERS:
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(Protection, secure=desk.options.secure, public_url=desk.options.public_url)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_wrong_value)
    app.add_exception_handler(TriageError, _on_triage_error)
    app.add_exception_handler(Exception, _on_bug)

    @app.get("/api/openapi.json")
    def openapi(_caller: access.Caller) -> dict[str, Any]:
        """Describe this interface."""
        return app.openapi()

    return app


def wants_json(request: Request) -> bool:
    """Whether a program asks, rather than a browser for a page."""
    return request.url.path.startswith("/api/") or "Authorization" in request.headers


def _on_http_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    if exc.status_code == 401 and not wants_json(request):
        return _to_login(request)
    return _say(request, exc.status_code, str(exc.detail), dict(exc.headers or {}))


def _to_login(request: Request) -> Response:
    """Send a browser to the login, and back to the page afterwards; a part of a page sends its whole page there."""
    if request.headers.get("HX-Request") == "true":
        shown = request.headers.get("HX-Current-URL")
        return Response(
            "Please sign in.", 401, {"HX-Redirect": _login_for(URL(shown) if shown else None)}, "text/plain"
        )
    if "text/html" not in request.headers.get("Accept", "*/*").replace("*/*", "text/html"):
        return Response("Please sign in.", 401, media_type="text/plain")
    if request.method == "GET":
        return RedirectResponse(_login_for(request.url), 303)
    return _say(request, 401, "You are signed out, and this was not done: sign in, and do it again.")


def _login_for(wanted: URL | None) -> str:
    """The login that leads back to a page; what it may lead to is checked there."""
    if wanted is None:
        return "/login"
    return f"/login?next={quote(wanted.path + (f'?{wanted.query}' if wanted.query else ''), safe='')}"


def _on_wrong_value(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)
    # What was sent is not repeated: it may be a password.
    places = "; ".join(f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in exc.errors())
    return _say(request, 422, f"{_SAID[422]} ({places})")


def _on_triage_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, TriageError)
    status = next((number for kind, number in _STATUS.items() if isinstance(exc, kind)), 500)
    if status >= 500:
        log.error("page_failed", route=access.route_of(request), code=exc.code, why=str(exc))
    return _say(request, status, _SAID[503] if status == 503 else str(exc))


def _on_bug(request: Request, exc: Exception) -> Response:
    log.error("page_failed", route=access.route_of(request), exc_info=exc)
    answer = _say(request, 500, _SAID[500])
    # Starlette answers here from outside of every middleware.
    desk: Desk = request.app.state.desk
    answer.headers.update({**security_headers(secure=desk.options.secure), "Cache-Control": "no-store"})
    return answer


def _say(request: Request, status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    told = _SAID.get(status, sentence) if sentence in _PHRASES else sentence
    if wants_json(request):
        return JSONResponse({"detail": told}, status, headers)
    if request.headers.get("HX-Request") == "true":
        return Response(told, status, headers, "text/plain")
    answer = page(request, "error.html", None, status_code=status, status=status, told=told)
    answer.headers.update(headers or {})
    return answer


_PHRASES: Final = frozenset({"Bad Request", "Forbidden", "Not Found", "Method Not Allowed", "Unprocessable Content"})
"""What Starlette says of itself, which is not for people."""
