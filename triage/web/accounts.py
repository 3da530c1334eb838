"""The administrator's page of people and tokens, and everybody's own password."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from triage.domain.account import Person, Role
from triage.domain.errors import ConfigurationError, NotFound, StaleState, TriageError
from triage.services import people, sign_in
from triage.services.sign_in import Refusal
from triage.web.access import Administrator, Reader, client_address
from triage.web.desk import Desk, DeskDep
from triage.web.login import WRONG, welcome
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
    try:
        people.add_user(desk.db, desk.passwords, name, role, password, by=person.name, now=desk.clock())
    except REFUSALS as exc:
        return _show(request, desk, person, refused=exc)
    return _back()


@router.post("/accounts/users/{name}/role")
def set_role(request: Request, desk: DeskDep, person: Administrator, name: str, role: Chosen) -> Response:
    """Make a user something else."""
    try:
        people.set_role(desk.db, name, role, by=person.name, now=desk.clock())
    except REFUSALS as exc:
        return _show(request, desk, person, refused=exc)
    return _back()


@router.post("/accounts/users/{name}/password")
def set_password(request: Request, desk: DeskDep, person: Administrator, name: str, password: Secret) -> Response:
    """Give a user another password."""
    try:
        people.set_password(desk.db, desk.passwords, name, password, by=person.name, now=desk.clock())
    except REFUSALS as exc:
        return _show(request, desk, person, refused=exc)
    return _back()


@router.post("/accounts/users/{name}/disable")
def disable(request: Request, desk: DeskDep, person: Administrator, name: str) -> Response:
    """Let a user in no more."""
    try:
        people.disable(desk.db, name, by=person.name, now=desk.clock())
    except REFUSALS as exc:
        return _show(request, desk, person, refused=exc)
    return _back()


@router.post("/accounts/users/{name}/enable")
def enable(request: Request, desk: DeskDep, person: Administrator, name: str) -> Response:
    """Let a user in again."""
    try:
        people.enable(desk.db, name, by=person.name, now=desk.clock())
    except REFUSALS as exc:
        return _show(request, desk, person, refused=exc)
    return _back()


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
    try:
        people.revoke_token(desk.db, name, by=person.name, now=desk.clock())
    except REFUSALS as exc:
        return _show(request, desk, person, refused=exc)
    return _back()


@router.get("/password")
def password_form(request: Request, person: Reader) -> Response:
    """Show the form for one's own password."""
    return page(request, "password.html", person, told="")


@router.post("/password")
def change_password(request: Request, desk: DeskDep, person: Reader, current: Secret, new: Secret) -> Response:
    """Change one's own password; every other session of this user ends."""
    address, now = client_address(request), desk.clock()
    known = sign_in.sign_in(desk.db, desk.passwords, person.name, current, address, now)
    if isinstance(known, Refusal):
        wait = f" Please wait {duration(known.wait_seconds)}." if known.wait_seconds else ""
        return page(request, "password.html", person, status_code=403, told=f"{WRONG}{wait}")
    try:
        people.set_password(desk.db, desk.passwords, person.name, new, by=person.name, now=now)
    except ConfigurationError as exc:
        sign_in.end_unseen(desk.db, known.session)
        return page(request, "password.html", person, status_code=400, told=str(exc))
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


def _back() -> Response:
    """To the page itself, so that reloading it does nothing again."""
    return RedirectResponse("/accounts", 303)
