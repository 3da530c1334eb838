"""Who is asking, and whether they may. Every page and endpoint but the public ones takes one of three parameters.

``Reader``: a radiologist or an administrator, signed in. ``Administrator``: only the latter. ``Caller``: either,
or a service by ``Authorization: Bearer TOKEN``; for the JSON interface.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Annotated, Final

from fastapi import Depends, HTTPException, Request

from triage.domain.account import Person, Role
from triage.services import sign_in
from triage.web.desk import Desk, DeskDep, desk_of

CSRF_FIELD: Final = "csrf_token"
CSRF_HEADER: Final = "X-CSRF-Token"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

BY_ITSELF: Final = frozenset({"/banner", "/events", "/worklist/rows"})
"""What an open page asks for on its own: nobody is known to sit before it, so it keeps no session alive."""


def session_cookie(desk: Desk) -> str:
    """Name of the session's cookie; the prefix makes browsers insist on https and on this very host."""
    return "__Host-triage" if desk.options.secure else "triage"


def session_value(request: Request) -> str | None:
    """The session's cookie, if the browser sent one."""
    return request.cookies.get(session_cookie(desk_of(request)))


def csrf_token(value: str) -> str:
    """What a form of this session must bring along: no other site can read the cookie it is made from."""
    return hmac.new(value.encode("utf-8", "replace"), b"csrf", hashlib.sha256).hexdigest()


def client_address(request: Request) -> str:
    """Where the request comes from, as the server saw it or a trusted proxy said."""
    return request.client.host[:64] if request.client else "unknown"


def route_of(request: Request) -> str:
    """Method and path as the route is written, without what the asker put into it."""
    return f"{request.method} {getattr(request.scope.get('route'), 'path', '')}"


def signed_in(request: Request) -> Person | None:
    """Who has the cookie of this request; None when nobody is signed in (any more)."""
    desk, value = desk_of(request), session_value(request)
    if value is None:
        return None
    used = not (request.url.path in BY_ITSELF or request.url.path.endswith(("/thumbnail.png", "/now")))
    return sign_in.person_of_session(desk.db, value, desk.options.sessions, desk.clock(), used=used)


async def brought_token(request: Request) -> str:
    """The CSRF token of an unsafe request, from its header or from its form."""
    if request.method in SAFE_METHODS:
        return ""
    header = request.headers.get(CSRF_HEADER)
    if header is not None:
        return header
    content_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if content_type not in ("application/x-www-form-urlencoded", "multipart/form-data"):
        return ""
    field = (await request.form()).get(CSRF_FIELD)
    return field if isinstance(field, str) else ""


BroughtToken = Annotated[str, Depends(brought_token)]


def require_csrf(request: Request, person: Person, brought: str) -> None:
    """Refuse an unsafe request that another site may have sent in this browser's name."""
    value = session_value(request)
    if request.method in SAFE_METHODS or value is None:
        return
    if not secrets.compare_digest(brought.encode("utf-8", "replace"), csrf_token(value).encode()):
        _refuse(request, person, "the form did not come from our page", 403, "Please reload the page and try again.")


def _bearer(request: Request) -> str | None:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else None


def _service(request: Request, token: str) -> Person:
    desk = desk_of(request)
    person = sign_in.person_of_token(desk.db, token)
    if person is None:
        wait = sign_in.token_refused(desk.db, client_address(request), route_of(request), desk.clock())
        if wait:
            raise HTTPException(429, "Too many wrong tokens.", {"Retry-After": str(wait)})
        raise HTTPException(401, "This token is unknown or was revoked.", {"WWW-Authenticate": "Bearer"})
    return person


def _person(request: Request, brought: str, roles: frozenset[Role]) -> Person:
    token = _bearer(request)
    if token is not None:
        person = _service(request, token)
    else:
        found = signed_in(request)
        if found is None:
            raise HTTPException(401, "Please sign in.")
        person = found
        require_csrf(request, person, brought)
    if person.role not in roles:
        _refuse(request, person, f"role {person.role.value}", 403, "Your account may not do this.")
    return person


def _refuse(request: Request, person: Person, why: str, status: int, told: str) -> None:
    desk = desk_of(request)
    sign_in.access_refused(desk.db, person, client_address(request), route_of(request), why, desk.clock())
    raise HTTPException(status, told)


def reader_of(request: Request, brought: str = "") -> Person:
    """Who has the cookie of this request, for an endpoint that has an answer also when the database has none.

    Raises
    ------
    HTTPException
        401: nobody is signed in; 403: whoever asks may not read the pages.
    """
    return _person(request, brought, frozenset({Role.RADIOLOGIST, Role.ADMINISTRATOR}))


def _reader(request: Request, brought: BroughtToken, _desk: DeskDep) -> Person:
    return reader_of(request, brought)


def _administrator(request: Request, brought: BroughtToken, _desk: DeskDep) -> Person:
    return _person(request, brought, frozenset({Role.ADMINISTRATOR}))


def _caller(request: Request, brought: BroughtToken, _desk: DeskDep) -> Person:
    return _person(request, brought, frozenset(Role))


Reader = Annotated[Person, Depends(_reader)]
Administrator = Annotated[Person, Depends(_administrator)]
Caller = Annotated[Person, Depends(_caller)]
