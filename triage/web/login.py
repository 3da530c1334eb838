"""Signing in and out."""

from __future__ import annotations

import secrets
from dataclasses import asdict
from typing import Annotated, Final
from urllib.parse import parse_qsl, quote, urlencode

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from triage.domain.errors import NotFound, SignInRefused
from triage.net.oidc import Challenge, Provider, authorization_url, claims, sign_out_url
from triage.services import sign_in
from triage.services.sign_in import Refusal, Welcome
from triage.services.vouched import not_vouched, sign_in_vouched
from triage.web.access import Reader, client_address, csrf_token, session_cookie, session_value, signed_in
from triage.web.desk import Desk, DeskDep
from triage.web.page import duration, page

router = APIRouter()

WRONG = "Name or password is wrong."
STALE = "This form was too old. Please try again."
OIDC_SECONDS: Final = 600
"""How long one may take at the identity provider."""
KNOWN_SECONDS: Final = 180 * 24 * 3600
"""How long a browser is known after somebody signed in with it."""
LONGEST_NEXT: Final = 1000
"""Of an address to go to afterwards: a longer one would not fit into a cookie."""


def safe_next(wanted: str) -> str:
    """A path on this server to go to after the login; anything else becomes the worklist."""
    if not wanted.startswith("/") or wanted.startswith("//") or "\\" in wanted or not wanted.isprintable():
        return "/"
    if len(quote(wanted)) > LONGEST_NEXT:
        return "/"
    return wanted


def _form_cookie(desk: Desk) -> str:
    return "__Host-triage-form" if desk.options.secure else "triage-form"


def _browser_cookie(desk: Desk) -> str:
    return "__Host-triage-known" if desk.options.secure else "triage-known"


def known_browser(request: Request, desk: Desk) -> str:
    """What proves that somebody has signed in with this browser before; empty without it."""
    return request.cookies.get(_browser_cookie(desk), "")


@router.get("/login")
def login_form(request: Request, desk: DeskDep, next: str = "/") -> Response:  # noqa: A002 - the field's name
    """Show the form, or the page that was wanted to whom is signed in already."""
    if signed_in(request) is not None:
        return RedirectResponse(safe_next(next), 303)
    return _show_form(request, desk, next)


@router.post("/login")
def login(
    request: Request,
    desk: DeskDep,
    name: Annotated[str, Form(max_length=200)] = "",
    password: Annotated[str, Form(max_length=2000)] = "",
    next: Annotated[str, Form(max_length=2000)] = "/",  # noqa: A002 - the field's name
    csrf_token: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Check name and password; a right pair opens a new session, whatever cookie the browser had."""
    if not _form_is_ours(request, desk, csrf_token):
        return _show_form(request, desk, next, STALE, 403)
    address, browser = client_address(request), known_browser(request, desk)
    answer = sign_in.sign_in(desk.db, desk.passwords, name, password, address, desk.clock(), browser=browser)
    if isinstance(answer, Refusal):
        told = f"{WRONG} Please wait {duration(answer.wait_seconds)}." if answer.wait_seconds else WRONG
        shown = _show_form(request, desk, next, told, 429 if answer.wait_seconds else 401)
        if answer.wait_seconds:
            shown.headers["Retry-After"] = str(answer.wait_seconds)
        return shown
    return welcome(request, desk, answer, next)


def welcome(request: Request, desk: Desk, let_in: Welcome, wanted: str) -> Response:
    """Give the browser its session, end the one it had, and go on."""
    former = session_value(request)
    if former is not None:
        sign_in.end_unseen(desk.db, former)
    answer = RedirectResponse(safe_next(wanted), 303)
    answer.set_cookie(
        session_cookie(desk), let_in.session, path="/", httponly=True, samesite="lax", secure=desk.options.secure
    )
    if let_in.browser:
        answer.set_cookie(
            _browser_cookie(desk),
            let_in.browser,
            max_age=KNOWN_SECONDS,
            path="/",
            httponly=True,
            samesite="strict",
            secure=desk.options.secure,
        )
    answer.delete_cookie(_form_cookie(desk), path="/", httponly=True, samesite="strict", secure=desk.options.secure)
    return answer


@router.get("/oidc/login")
def oidc_login(request: Request, desk: DeskDep, next: str = "/") -> Response:  # noqa: A002 - the field's name
    """Send the browser to the identity provider."""
    provider = _provider(desk)
    challenge = Challenge.fresh()
    answer = RedirectResponse(authorization_url(provider, challenge), 303)
    carried = urlencode({**asdict(challenge), "next": safe_next(next)})
    # Lax: the browser comes back from another site.
    answer.set_cookie(
        _oidc_cookie(desk),
        carried,
        max_age=OIDC_SECONDS,
        path="/",
        httponly=True,
        samesite="lax",
        secure=desk.options.secure,
    )
    return answer


@router.get("/oidc/callback")
def oidc_callback(request: Request, desk: DeskDep) -> Response:
    """Let in whom the identity provider vouches for."""
    provider = _provider(desk)
    address, now = client_address(request), desk.clock()
    carried = dict(parse_qsl(request.cookies.get(_oidc_cookie(desk), "")))
    try:
        told = claims(provider, _challenge(carried), dict(request.query_params), now)
    except SignInRefused as exc:
        not_vouched(desk.db, address, str(exc), now)
        raise
    let_in = sign_in_vouched(desk.db, desk.options.oidc_roles, provider.issuer, told, address, now)
    answer = welcome(request, desk, let_in, carried.get("next", "/"))
    answer.delete_cookie(_oidc_cookie(desk), path="/", httponly=True, samesite="lax", secure=desk.options.secure)
    return answer


@router.get("/oidc/logout")
def oidc_logout(desk: DeskDep) -> Response:
    """Send the browser to where it ends its session at the identity provider, which outlives ours."""
    return RedirectResponse(sign_out_url(_provider(desk)), 303)


def _challenge(carried: dict[str, str]) -> Challenge:
    if not {"state", "nonce", "verifier"} <= carried.keys():
        raise SignInRefused("This sign-in took too long, or began in another browser; please begin again.")
    return Challenge(carried["state"], carried["nonce"], carried["verifier"])


def _provider(desk: Desk) -> Provider:
    if desk.options.oidc is None:
        raise NotFound("No identity provider is configured here (web.oidc_issuer).")
    return desk.options.oidc


def _oidc_cookie(desk: Desk) -> str:
    return "__Host-triage-oidc" if desk.options.secure else "triage-oidc"


@router.post("/logout")
def logout(request: Request, desk: DeskDep, person: Reader) -> Response:
    """End the session."""
    sign_in.sign_out(desk.db, session_value(request) or "", person, client_address(request), desk.clock())
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(session_cookie(desk), path="/", httponly=True, samesite="lax", secure=desk.options.secure)
    return answer


def _form_is_ours(request: Request, desk: Desk, brought: str) -> bool:
    value = request.cookies.get(_form_cookie(desk))
    return value is not None and secrets.compare_digest(brought.encode("utf-8", "replace"), csrf_token(value).encode())


def _show_form(request: Request, desk: Desk, wanted: str, told: str = "", status_code: int = 200) -> Response:
    """Render the form with a token of its own: before the login there is no session to make one from.

    Every open form of a browser has the same token: one that is opened later leaves the others good.
    """
    value = request.cookies.get(_form_cookie(desk)) or secrets.token_urlsafe(32)
    shown = page(
        request,
        "login.html",
        None,
        status_code=status_code,
        form_token=csrf_token(value),
        wanted=safe_next(wanted),
        oidc=desk.options.oidc is not None,
        told=told,
    )
    shown.set_cookie(_form_cookie(desk), value, path="/", httponly=True, samesite="strict", secure=desk.options.secure)
    return shown
