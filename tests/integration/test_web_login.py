"""Signing in on the pages: forms, cookies, sessions, and what strangers try."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI

from tests.stores import logged
from tests.web import PASSWORD, Browser, Clock, add_token, add_user, make_desk
from triage.domain.account import Role
from triage.domain.audit import AuditAction
from triage.domain.lockout import FREE_BY_ADDRESS, FREE_BY_NAME
from triage.services.people import disable, set_password
from triage.store.db import Database
from triage.web.access import csrf_token
from triage.web.app import make_app
from triage.web.desk import Desk


def form_token(browser: Browser) -> str:
    found = re.search(r'name="csrf_token" value="([0-9a-f]+)"', browser.get("/login").text)
    assert found is not None
    return found[1]


def log_in(browser: Browser, name: str = "rad", password: str = PASSWORD, next_page: str = "/") -> Any:
    form = {"name": name, "password": password, "csrf_token": form_token(browser), "next": next_page}
    return browser.post("/login", data=form)


@pytest.fixture
def rad(desk: Desk) -> Desk:
    """A desk with the radiologist ``rad``."""
    add_user(desk, "rad", Role.RADIOLOGIST)
    return desk


def test_the_right_password_opens_the_page_that_was_wanted(rad: Desk, anonymous: Browser) -> None:
    sent_away = anonymous.get("/password?x=1")
    assert (sent_away.status_code, sent_away.headers["location"]) == (303, "/login?next=%2Fpassword%3Fx%3D1")
    form = anonymous.get(sent_away.headers["location"]).text
    assert 'name="next" value="/password?x=1"' in form
    answer = log_in(anonymous, " RAD ", next_page="/password?x=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/password?x=1")
    page = anonymous.get("/password").text
    assert "Sign out" in page
    assert ">rad<" in page
    assert anonymous.get("/login").status_code == 303, "there is nothing to sign in for any more"


def test_signing_out_ends_the_session_itself(rad: Desk, anonymous: Browser) -> None:
    log_in(anonymous)
    session = anonymous.cookies["triage"]
    answer = anonymous.post("/logout")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert "triage" not in anonymous.cookies
    anonymous.cookies.set("triage", session)
    assert anonymous.get("/password").status_code == 303, "the cookie, kept by somebody, is worthless"


def test_a_refusal_tells_nothing_and_repeats_nothing(rad: Desk, anonymous: Browser) -> None:
    wrong, unknown = log_in(anonymous, "rad", "wrong <password>"), log_in(anonymous, "<script>", "wrong <password>")
    assert wrong.status_code == unknown.status_code == 401
    strip = re.compile(r'value="[0-9a-f]{64}"')
    assert strip.sub("", wrong.text) == strip.sub("", unknown.text)
    for text in (wrong.text, unknown.text):
        assert "wrong &lt;" not in text
        assert "<script>" not in text


def test_the_cookie_is_out_of_reach_for_scripts_and_other_sites(rad: Desk, anonymous: Browser) -> None:
    cookies = log_in(anonymous).headers.get_list("set-cookie")
    (session,) = [c for c in cookies if c.startswith("triage=")]
    assert {part.strip().lower() for part in session.split(";")[1:]} == {"httponly", "path=/", "samesite=lax"}


def test_behind_https_the_cookies_are_secure_and_bound_to_the_host(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    desk = make_desk(database, tmp_path, clock, secure=True, public_url="https://triage.example")
    add_user(desk, "rad", Role.RADIOLOGIST)
    browser = Browser(make_app(desk))
    browser.base_url = "https://triage.example"
    shown = browser.get("/login")
    assert shown.headers["strict-transport-security"].startswith("max-age=")
    answer = log_in(browser)
    assert answer.status_code == 303
    (session,) = [c for c in answer.headers.get_list("set-cookie") if c.startswith("__Host-triage=")]
    assert {part.strip().lower() for part in session.split(";")[1:]} == {
        "httponly", "path=/", "samesite=lax", "secure",
    }  # fmt: skip
    assert browser.get("/password").status_code == 200


# Session fixation


def test_a_cookie_planted_before_the_sign_in_is_worth_nothing_after_it(rad: Desk, anonymous: Browser) -> None:
    anonymous.cookies.set("triage", "planted")
    log_in(anonymous)
    values = {cookie.value for cookie in anonymous.cookies.jar if cookie.name == "triage"}
    assert values - {"planted"}
    attacker = Browser(anonymous.app)  # type: ignore[arg-type]
    attacker.cookies.set("triage", "planted")
    assert attacker.get("/password").status_code == 303


def test_signing_in_again_ends_the_session_that_the_browser_had(rad: Desk, anonymous: Browser, app: FastAPI) -> None:
    log_in(anonymous)
    former = anonymous.cookies["triage"]
    rad_again = Browser(app)
    rad_again.cookies.set("triage", former)
    form = {"name": "rad", "password": PASSWORD, "csrf_token": "", "next": "/"}
    rad_again.cookies.set("triage-form", "mine")
    form["csrf_token"] = csrf_token("mine")
    assert rad_again.post("/login", data=form).status_code == 303
    stale = Browser(app)
    stale.cookies.set("triage", former)
    assert stale.get("/password").status_code == 303


# Cross-site request forgery


@pytest.mark.parametrize("brought", [None, "", "0" * 64, "ä"])
def test_a_form_of_another_site_does_nothing(rad: Desk, radiologist: Browser, brought: str | None) -> None:
    data = {"csrf_token": brought} if brought is not None else {}
    answer = radiologist.post("/logout", data=data, csrf=False)
    assert answer.status_code == 403
    assert radiologist.get("/password").status_code == 200, "still signed in"
    (row,) = logged(rad.db, AuditAction.ACCESS_REFUSED)
    assert (row.event.actor, row.event.detail["what"]) == ("rad", "POST /logout")


def test_the_token_of_another_session_does_nothing(rad: Desk, radiologist: Browser) -> None:
    answer = radiologist.post("/logout", headers={"X-CSRF-Token": csrf_token("another session")}, csrf=False)
    assert answer.status_code == 403


def test_the_token_may_come_in_the_form_or_in_the_header(rad: Desk, radiologist: Browser) -> None:
    form = {"current": PASSWORD, "new": "short", "csrf_token": radiologist.csrf["X-CSRF-Token"]}
    assert radiologist.post("/password", data=form, csrf=False).status_code == 400
    assert radiologist.post("/password", data=form, csrf=True).status_code == 400


def test_a_token_in_the_address_is_none(rad: Desk, radiologist: Browser) -> None:
    token = radiologist.csrf["X-CSRF-Token"]
    assert radiologist.post(f"/logout?csrf_token={token}", csrf=False).status_code == 403


@pytest.mark.parametrize("brought", ["", "0" * 64])
def test_nobody_is_signed_in_by_a_form_of_another_site(rad: Desk, anonymous: Browser, brought: str) -> None:
    anonymous.get("/login")
    answer = anonymous.post("/login", data={"name": "rad", "password": PASSWORD, "csrf_token": brought})
    assert answer.status_code == 403
    assert "triage" not in anonymous.cookies
    assert logged(rad.db, AuditAction.LOGIN) == []


def test_a_form_that_was_opened_earlier_is_still_good(rad: Desk, anonymous: Browser) -> None:
    """A browser that starts with several of our pages opens as many forms."""
    first, second = form_token(anonymous), form_token(anonymous)
    assert first == second
    answer = anonymous.post("/login", data={"name": "rad", "password": PASSWORD, "csrf_token": first})
    assert answer.status_code == 303
    assert form_token(Browser(anonymous.app)) != first, "another browser's is another one"  # type: ignore[arg-type]


# Where to go afterwards


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example/", "//evil.example/", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)",
        "///evil.example", "/%0d%0aX: y\r\nX: y", "evil", "", "http:evil.example", "/\t/evil.example", "http://[",
    ],
)  # fmt: skip
def test_the_login_never_leads_to_another_site(rad: Desk, anonymous: Browser, wanted: str) -> None:
    answer = log_in(anonymous, next_page=wanted)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert anonymous.get(f"/login?next={quote(wanted)}").headers["location"] == "/"


def test_a_page_whose_address_is_too_long_to_be_carried_is_not_returned_to(rad: Desk, anonymous: Browser) -> None:
    sent_away = anonymous.get(f"/?q={'x' * 3000}")
    assert anonymous.get(sent_away.headers["location"]).status_code == 200
    assert log_in(anonymous, next_page="/?q=" + "ä" * 400).headers["location"] == "/"


# Brute force


def test_guessing_is_slowed_down_and_said_so(rad: Desk, anonymous: Browser, clock: Clock) -> None:
    statuses = [log_in(anonymous, password=f"guess {n}").status_code for n in range(FREE_BY_NAME + 3)]
    assert statuses == [401] * (FREE_BY_NAME - 1) + [429] * 4
    answer = log_in(anonymous)
    assert answer.status_code == 429, "the right password waits too"
    assert int(answer.headers["retry-after"]) > 0
    assert "Please wait" in answer.text
    clock.forward(int(answer.headers["retry-after"]))
    assert log_in(anonymous).status_code == 303


def test_a_stranger_who_keeps_failing_keeps_nobody_out(rad: Desk, anonymous: Browser, app: FastAPI) -> None:
    """Neither the name nor the address, which a proxy may share among all, is locked for a browser that is known."""
    log_in(anonymous)
    anonymous.post("/logout")
    stranger = Browser(app)
    for number in range(FREE_BY_ADDRESS):
        log_in(stranger, "rad" if number < FREE_BY_NAME else f"name{number}", "wrong")
    assert log_in(Browser(app)).status_code == 429
    assert log_in(anonymous).status_code == 303
    anonymous.post("/logout")
    for _ in range(FREE_BY_NAME):
        guess = log_in(anonymous, password="wrong")
    assert guess.status_code == 429, "the known browser may not guess either"


def test_a_stranger_who_keeps_failing_does_not_keep_me_from_changing_my_password(
    rad: Desk, anonymous: Browser, app: FastAPI
) -> None:
    log_in(anonymous)
    for _ in range(FREE_BY_NAME):
        log_in(Browser(app, address="198.51.100.9"), "rad", "wrong")
    changed = anonymous.post("/password", data={"current": PASSWORD, "new": "another sentence of words"})
    assert (changed.status_code, changed.headers["location"]) == (303, "/")


def test_a_browser_is_known_for_its_name_and_until_the_password_changes(
    rad: Desk, anonymous: Browser, app: FastAPI
) -> None:
    add_user(rad, "other", Role.RADIOLOGIST)
    log_in(anonymous)
    known = anonymous.cookies["triage-known"]
    for _ in range(FREE_BY_NAME):
        log_in(Browser(app), "rad", "wrong")
        log_in(Browser(app), "other", "wrong")

    def status(name: str, cookie: str) -> int:
        browser = Browser(app, address="198.51.100.9")
        browser.cookies.set("triage-known", cookie)
        return log_in(browser, name).status_code

    assert status("other", known) == 429
    for forged in (known[:-1] + ("0" if known[-1] != "0" else "1"), f"x{known}", ".", known.partition(".")[0], "\x7f"):
        assert status("rad", forged) == 429
    assert status("rad", known) == 303
    set_password(rad.db, rad.passwords, "rad", PASSWORD, by="boss", now=rad.clock())
    for _ in range(FREE_BY_NAME):
        log_in(Browser(app), "rad", "wrong")
    assert status("rad", known) == 429


def test_guessing_tokens_is_slowed_down_and_audited(desk: Desk, app: FastAPI) -> None:
    client = Browser(app, address="198.51.100.9")
    statuses = [
        client.get("/api/openapi.json", headers={"Authorization": f"Bearer guess{n}"}).status_code
        for n in range(FREE_BY_ADDRESS + 5)
    ]
    assert statuses == [401] * FREE_BY_ADDRESS + [429] * 5
    assert len(logged(desk.db, AuditAction.ACCESS_REFUSED)) == FREE_BY_ADDRESS
    assert "guess" not in repr(logged(desk.db))
    right = client.get("/api/openapi.json", headers={"Authorization": f"Bearer {add_token(desk)}"})
    assert right.status_code == 200, "who knows a token is not kept out by a neighbour who guesses"


# Tokens


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "bearer forged", "Bearer \x80\xff", "Bearer a b c"])
def test_a_forged_token_is_refused_and_a_cookie_does_not_help_it(rad: Desk, radiologist: Browser, header: str) -> None:
    answer = radiologist.get("/api/openapi.json", headers={"Authorization": header.encode("latin-1")})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert len(logged(rad.db, AuditAction.ACCESS_REFUSED)) == 1


def test_a_token_opens_no_page(desk: Desk, service: Browser) -> None:
    assert service.get("/api/openapi.json").status_code == 200
    for path in ("/password", "/accounts"):
        assert service.get(path).status_code == 403
    assert service.post("/logout").status_code == 403
    assert {row.event.actor for row in logged(desk.db, AuditAction.ACCESS_REFUSED)} == {"service:ris"}


def test_a_disabled_user_is_out_with_the_next_request(rad: Desk, radiologist: Browser) -> None:
    assert radiologist.get("/password").status_code == 200
    disable(rad.db, "rad", by="boss", now=rad.clock())
    assert radiologist.get("/password").status_code == 303


def test_a_part_of_a_page_sends_its_whole_page_to_the_login(anonymous: Browser) -> None:
    answer = anonymous.get("/password", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["hx-redirect"]) == (401, "/login")
    shown = {"HX-Request": "true", "HX-Current-URL": "http://testserver/?status=pending&page=2"}
    answer = anonymous.get("/worklist/rows", headers=shown)
    assert answer.headers["hx-redirect"] == "/login?next=%2F%3Fstatus%3Dpending%26page%3D2"
    assert anonymous.get("/api/openapi.json").status_code == 401


def test_what_is_sent_after_the_session_ended_is_a_page_that_says_it_was_not_done(
    rad: Desk, radiologist: Browser
) -> None:
    disable(rad.db, "rad", by="boss", now=rad.clock())
    answer = radiologist.post("/logout", data={"csrf_token": "any"})
    assert answer.status_code == 401
    assert "You are signed out, and this was not done: sign in, and do it again." in answer.text
    assert 'href="/"' in answer.text
    assert radiologist.get("/static/style.css", headers={"Accept": "text/css"}).status_code == 200


# One's own password


def test_everybody_changes_their_own_password(rad: Desk, anonymous: Browser, app: FastAPI) -> None:
    log_in(anonymous)
    other = Browser(app)
    log_in(other)
    new = "another sentence of words"
    assert anonymous.post("/password", data={"current": "wrong", "new": new}).status_code == 403
    assert anonymous.post("/password", data={"current": PASSWORD, "new": "short"}).status_code == 400
    assert anonymous.post("/password", data={"current": PASSWORD, "new": new}).status_code == 303
    assert anonymous.get("/password").status_code == 200, "signed in with the new one"
    assert other.get("/password").status_code == 303, "and nowhere else"
    assert log_in(Browser(app), password=new).status_code == 303
