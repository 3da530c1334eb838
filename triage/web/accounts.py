"""The administrator's page of people and tokens, and everybody's own password."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from triage.domain.account import Person, Role
from triage.domain.errors import ConfigurationError, NotFound, StaleState, TriageError
from triage.services import people, sign_in
from triage.services.sign_in import Refusal
from triage.web.access import Administrator, Reader, client_address
from triage.web.desk import Desk, DeskDep
from triage.web.login import WRONG, known_browser, welcome
from triage.web.page import duration, page

router = APIRouter()

Name = Annotated[str, Form(max_length=200)]
Secret = Annotated[str, Form(max_length=2000)]
Chosen = Annotated[Role, Form()]

REFUSALS = (ConfigurationError, NotFound, StaleState)
"""What an administrator can put right on the page itself."""


@router.get("/accounts")
def accounts_page(request: Request, desk: DeskDep, person: Administrator) -> Response:
    """Show who may sign in, and which services may ask."""
    return _show(request, desk, person)


@router.post("/accounts/users")
def add_user(
    request: Request, desk: DeskDep, person: Administrator, name: Name, role: Chosen, password: Secret
) -> Response:
    """Make an account."""
    by, now = person.name, desk.clock()
    return _changed(
        request, desk, person, lambda: people.add_user(desk.db, desk.passwords, name, role, password, by=by, now=now)
    )


@router.post("/accounts/users/{name}/role")
def set_role(request: Request, desk: DeskDep, person: Administrator, name: str, role: Chosen) -> Response:
    """Make a user something else."""
    by, now = person.name, desk.clock()
    return _changed(request, desk, person, lambda: people.set_role(desk.db, name, role, by=by, now=now))


@router.post("/accounts/users/{name}/password")
def set_password(request: Request, desk: DeskDep, person: Administrator, name: str, password: Secret) -> Response:
    """Give a user another password."""
    by, now = person.name, desk.clock()
    return _changed(
        request, desk, person, lambda: people.set_password(desk.db, desk.passwords, name, password, by=by, now=now)
    )


@router.post("/accounts/users/{name}/disable")
def disable(request: Request, desk: DeskDep, person: Administrator, name: str) -> Response:
    """Let a user in no more."""
    by, now = person.name, desk.clock()
    return _changed(request, desk, person, lambda: people.disable(desk.db, name, by=by, now=now))


@router.post("/accounts/users/{name}/enable")
def enable(request: Request, desk: DeskDep, person: Administrator, name: str) -> Response:
    """Let a user in again."""
    by, now = person.name, desk.clock()
    return _changed(request, desk, person, lambda: people.enable(desk.db, name, by=by, now=now))


@router.post("/accounts/tokens")
def add_token(request: Request, desk: DeskDep, person: Administrator, name: Name) -> Response:
    """Make a token, and show it this once."""
    try:
        value = people.add_token(desk.db, name, by=person.name, now=desk.clock())
    except REFUSALS as exc:
        return _show(request, desk, person, refused=exc)
    return _show(request, desk, person, token=value)


@router.post("/accounts/tokens/{name}/revoke")
def revoke_token(request: Request, desk: DeskDep, person: Administrator, name: str) -> Response:
    """Make a token worthless."""
    by, now = person.name, desk.clock()
    return _changed(request, desk, person, lambda: people.revoke_token(desk.db, name, by=by, now=now))


@router.get("/password")
def password_form(request: Request, desk: DeskDep, person: Reader) -> Response:
    """Show the form for one's own password."""
    return _show_password(request, desk, person)


@router.post("/password")
def change_password(request: Request, desk: DeskDep, person: Reader, current: Secret, new: Secret) -> Response:
    """Change one's own password; every other session of this user ends."""
    if not people.has_password(desk.db, person.name):
        return _show_password(request, desk, person, status_code=409)
    address, browser, now = client_address(request), known_browser(request, desk), desk.clock()
    known = sign_in.sign_in(desk.db, desk.passwords, person.name, current, address, now, browser=browser)
    if isinstance(known, Refusal):
        wait = f" Please wait {duration(known.wait_seconds)}." if known.wait_seconds else ""
        return _show_password(request, desk, person, f"{WRONG}{wait}", 403)
    try:
        people.set_password(desk.db, desk.passwords, person.name, new, by=person.name, now=now)
    except ConfigurationError as exc:
        sign_in.end_unseen(desk.db, known.session)
        return _show_password(request, desk, person, str(exc), 400)
    again = sign_in.sign_in(desk.db, desk.passwords, person.name, new, address, now)
    if isinstance(again, Refusal):
        return RedirectResponse("/login", 303)
    return welcome(request, desk, again, "/")


def _show(
    request: Request, desk: Desk, person: Person, *, refused: TriageError | None = None, token: str = ""
) -> Response:
    users, tokens = people.everybody(desk.db)
    return page(
        request,
        "accounts.html",
        person,
        status_code=400 if refused else 200,
        users=users,
        tokens=tokens,
        roles=people.USER_ROLES,
        new_token=token,
        told=str(refused) if refused else "",
    )


def _changed(request: Request, desk: Desk, person: Person, change: Callable[[], object]) -> Response:
    """Make a change, and go back to the page itself, so that reloading it does nothing again."""
    try:
        change()
    except REFUSALS as exc:
        return _show(request, desk, person, refused=exc)
    return RedirectResponse("/accounts", 303)


def _show_password(request: Request, desk: Desk, person: Person, told: str = "", status_code: int = 200) -> Response:
    has_password = people.has_password(desk.db, person.name)
    return page(request, "password.html", person, status_code=status_code, told=told, has_password=has_password)
