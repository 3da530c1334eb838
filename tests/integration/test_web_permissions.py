"""Who may do what: every route of the pages, asked by everybody. A route that is not in the table fails the test."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.routing import Mount, Route

from tests.conftest import copy_sqlite
from tests.fakes import DIGEST
from tests.integration.site import Site, head
from tests.stores import STUDY, logged
from tests.web import Browser, Clock, add_token, make_desk, signed_in
from triage.domain.account import Role
from triage.domain.audit import AuditAction
from triage.store import bundles
from triage.web.app import make_app
from triage.web.desk import Desk


class Who(Enum):
    """Everybody who can ask."""

    ANONYMOUS = "anonymous"
    RADIOLOGIST = "radiologist"
    SERVICE = "service"
    ADMINISTRATOR = "administrator"


PUBLIC = frozenset(Who)
READERS = frozenset({Who.RADIOLOGIST, Who.ADMINISTRATOR})
ADMINISTRATORS = frozenset({Who.ADMINISTRATOR})
CALLERS = READERS | {Who.SERVICE}
"""Those of the JSON interface."""


@dataclass(frozen=True)
class Rule:
    """Who may, and what they get when they do: a status that shows that the handler was reached."""

    allowed: frozenset[Who]
    status: int = 200
    url: str = ""
    form: dict[str, str] = field(default_factory=dict)
    json: dict[str, Any] | None = None


NOBODY = "nobody.of.that.name"

TABLE: dict[tuple[str, str], Rule] = {
    ("GET", "/healthz"): Rule(PUBLIC),
    ("GET", "/readyz"): Rule(PUBLIC),
    ("GET", "/static"): Rule(PUBLIC, url="/static/style.css"),
    # Whoever is signed in is sent on; that a service's token is no session shows here too.
    ("GET", "/login"): Rule(PUBLIC),
    ("POST", "/login"): Rule(PUBLIC, 403),
    ("GET", "/oidc/login"): Rule(PUBLIC, 404),
    ("GET", "/oidc/callback"): Rule(PUBLIC, 404),
    ("GET", "/oidc/logout"): Rule(PUBLIC, 404),
    ("POST", "/logout"): Rule(READERS, 303),
    ("GET", "/password"): Rule(READERS),
    ("POST", "/password"): Rule(READERS, 403, form={"current": "wrong", "new": "a sentence of other words"}),
    ("GET", "/accounts"): Rule(ADMINISTRATORS),
    ("POST", "/accounts/users"): Rule(
        ADMINISTRATORS, 400, form={"name": "x", "role": "radiologist", "password": "short"}
    ),
    ("POST", "/accounts/users/{name}/role"): Rule(ADMINISTRATORS, 400, form={"role": "radiologist"}),
    ("POST", "/accounts/users/{name}/password"): Rule(ADMINISTRATORS, 400, form={"password": "a sentence of words"}),
    ("POST", "/accounts/users/{name}/disable"): Rule(ADMINISTRATORS, 400),
    ("POST", "/accounts/users/{name}/enable"): Rule(ADMINISTRATORS, 400),
    ("POST", "/accounts/tokens"): Rule(ADMINISTRATORS, 400, form={"name": "/"}),
    ("POST", "/accounts/tokens/{name}/revoke"): Rule(ADMINISTRATORS, 400),
    ("GET", "/api/openapi.json"): Rule(CALLERS),
    ("GET", "/"): Rule(READERS),
    ("GET", "/worklist/rows"): Rule(READERS),
    ("GET", "/events"): Rule(READERS),
    ("GET", "/api/worklist"): Rule(CALLERS),
    ("GET", "/study/{study_uid}"): Rule(READERS),
    # To a page that says nothing of what it shows, everything is new: htmx is told to ask no more.
    ("GET", "/study/{study_uid}/now"): Rule(READERS, 286),
    ("POST", "/study/{study_uid}/verdict"): Rule(READERS, 303, form={"verdict": "agree", "note": ""}),
    ("POST", "/study/{study_uid}/retry"): Rule(READERS, 409),
    ("GET", "/study/{study_uid}/slice/{index}.png"): Rule(READERS),
    ("GET", "/study/{study_uid}/thumbnail.png"): Rule(READERS),
    ("GET", "/api/studies/{study_uid}"): Rule(CALLERS),
    ("POST", "/api/studies/{study_uid}/verdict"): Rule(READERS, 200, json={"verdict": "agree"}),
    # Asked for by every open page, also while the database is down: it looks at the session by itself.
    ("GET", "/banner"): Rule(READERS),
    ("GET", "/operations"): Rule(READERS),
    ("GET", "/bundle/{digest}"): Rule(READERS),
    ("GET", "/statistics"): Rule(READERS),
    ("GET", "/statistics.csv"): Rule(READERS),
    ("GET", "/metrics"): Rule(CALLERS),
    ("GET", "/audit"): Rule(ADMINISTRATORS),
    ("GET", "/audit/verification/now"): Rule(ADMINISTRATORS, 286),
    ("POST", "/audit/verify"): Rule(ADMINISTRATORS, 303),
    ("GET", "/audit.csv"): Rule(ADMINISTRATORS),
    ("GET", "/audit.xml"): Rule(ADMINISTRATORS),
}


@pytest.fixture(scope="module")
def shared_app(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    """One app for the whole table; it holds one study that was analysed."""
    folder = tmp_path_factory.mktemp("permissions")
    copy_sqlite(sqlite_template, folder / "triage.db")
    site = Site(f"sqlite:///{folder / 'triage.db'}", folder / "blobs")
    site.send(head(StudyInstanceUID=STUDY))
    site.settle()
    assert site.analyse()
    with site.db.transaction() as tx:
        bundles.record(tx, digest=DIGEST, name="fixed", version="1", manifest={}, now=site.now)
    app = make_app(make_desk(site.db, folder, Clock()))
    add_token(app.state.desk)
    yield app
    site.db.dispose()


def asker(app: FastAPI, who: Who, path: str) -> Browser:
    """A browser or a service; those whose test ends sessions sign in for themselves."""
    if who in READERS:
        return signed_in(
            app, f"{who.value}.{path.strip('/')}" if path in ("/logout", "/password") else who.value, Role(who.value)
        )
    browser = Browser(app)
    if who is Who.SERVICE:
        browser.headers["Authorization"] = "Bearer token of ris"
    return browser


def routes(app: FastAPI) -> list[tuple[str, str]]:
    """Method and path of everything that is served."""
    found = []
    for route in app.routes:
        router = getattr(route, "original_router", None)  # how FastAPI keeps a router that was included
        for one in router.routes if router else [route]:
            if isinstance(one, Mount):
                found.append(("GET", one.path))
            else:
                assert isinstance(one, Route), one
                found += [(method, one.path) for method in sorted(one.methods or ()) if method != "HEAD"]
    return found


def test_the_table_names_every_route_and_no_other(shared_app: FastAPI) -> None:
    assert sorted(routes(shared_app)) == sorted(TABLE)


CASES = [(method, path, who) for method, path in TABLE for who in Who]


@pytest.mark.parametrize(("method", "path", "who"), CASES, ids=[f"{m} {p} {w.value}" for m, p, w in CASES])
def test_everybody_gets_what_is_theirs(shared_app: FastAPI, method: str, path: str, who: Who) -> None:
    rule = TABLE[method, path]
    browser = asker(shared_app, who, path)
    url = rule.url or path.format(name=NOBODY, study_uid=STUDY, index=0, digest=DIGEST)
    before = len(refused(shared_app))
    if path == "/events":
        status, location = asyncio.run(first_words(shared_app, url, browser)), "/login?next=%2Fevents"
    else:
        form = {"data": rule.form} if rule.json is None else {"json": rule.json}
        answer = browser.request(method, url, **form, headers=browser.csrf) if method == "POST" else browser.get(url)
        status, location = answer.status_code, answer.headers.get("location", "")
    assert status == expected(rule, method, path, who)
    if who is Who.ANONYMOUS and status == 303:
        assert location.startswith("/login?next=%2F"), "a browser is sent to the login, and back"
    audited = refused(shared_app)[before:]
    if who is not Who.ANONYMOUS and who not in rule.allowed and status == 403:
        assert [row.event.detail["what"] for row in audited] == [f"{method} {path}"]
    else:
        assert audited == []


def expected(rule: Rule, method: str, path: str, who: Who) -> int:
    if (method, path) == ("GET", "/login") and who in READERS:
        return 303
    if who in rule.allowed:
        return rule.status
    if who is not Who.ANONYMOUS:
        return 403
    return 303 if method == "GET" and not path.startswith("/api/") else 401


def refused(app: FastAPI) -> list[Any]:
    desk: Desk = app.state.desk
    return logged(desk.db, AuditAction.ACCESS_REFUSED)


async def first_words(app: FastAPI, url: str, browser: Browser) -> int:
    """Status of an answer that does not end: whoever asked leaves when it begins."""
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    headers = {"host": "testserver", "cookie": cookies, **{k.lower(): v for k, v in browser.headers.items()}}
    began = asyncio.Event()
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        if asked:
            return asked.pop()
        await began.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])
        began.set()

    asked = [{"type": "http.request", "body": b"", "more_body": False}]
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.0"}, "http_version": "1.1", "method": "GET",
        "scheme": "http", "path": url, "raw_path": url.encode(), "query_string": b"", "root_path": "",
        "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
        "client": ("192.0.2.7", 50000), "server": ("testserver", 80), "state": {},
    }  # fmt: skip
    await asyncio.wait_for(app(scope, receive, send), 30)
    return statuses[0]


UNSAFE = [(method, path) for method, path in TABLE if method == "POST"]


@pytest.mark.parametrize(("method", "path"), UNSAFE, ids=[path for _, path in UNSAFE])
@pytest.mark.parametrize("token", [None, "0" * 64], ids=["none", "wrong"])
def test_no_form_of_another_site_does_anything(shared_app: FastAPI, method: str, path: str, token: str | None) -> None:
    rule = TABLE[method, path]
    browser = asker(shared_app, Who.ADMINISTRATOR, path)
    headers = {"X-CSRF-Token": token} if token else {}
    form = {"data": rule.form} if rule.json is None else {"json": rule.json}
    answer = browser.request(
        method, path.format(name=NOBODY, study_uid=STUDY, index=0, digest=DIGEST), headers=headers, **form
    )
    assert answer.status_code == 403


TRAVERSALS = [
    "%2e%2e",
    "%2e%2e%2f%2e%2e",
    "..%2f..%2fetc%2fpasswd",
    "%00",
    "1.2.3'--",
    "<script>alert(1)</script>",
    "1" * 300,
    "a b",
]


@pytest.mark.parametrize("part", TRAVERSALS)
@pytest.mark.parametrize(("method", "path"), [key for key in TABLE if "{" in key[1]], ids=lambda v: v)
def test_what_stands_in_an_address_is_only_looked_up(shared_app: FastAPI, method: str, path: str, part: str) -> None:
    rule = TABLE[method, path]
    browser = asker(shared_app, Who.ADMINISTRATOR, path)
    form = {"data": rule.form} if rule.json is None else {"json": rule.json}
    url = path.format(name=part, study_uid=part, index=part, digest=part)
    answer = browser.request(method, url, headers=browser.csrf, **(form if method == "POST" else {}))
    assert answer.status_code in (400, 404, 405, 422), answer.text[:300]
    assert "<script>alert" not in answer.text
    assert "root:" not in answer.text
