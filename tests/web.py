"""The pages for tests: a desk on a database, its app, and browsers that are signed in, or not.

The fixtures at the end are there for every test (``tests/conftest.py`` takes them in).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from fastapi.testclient import TestClient

from triage.domain.account import Role
from triage.services import sign_in
from triage.services.passwords import Passwords
from triage.store import accounts
from triage.store.db import Database
from triage.store.folder_area import FolderArea
from triage.web.access import csrf_token, session_cookie
from triage.web.app import make_app
from triage.web.desk import Desk, WebOptions

PASSWORD = "a sentence of several words"
WEAK_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""The real one takes a tenth of a second, hundreds of times."""


@dataclass
class Clock:
    """A clock that a test moves."""

    now: datetime = field(default_factory=lambda: datetime(2026, 11, 21, 8, 0, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def make_desk(db: Database, folder: Path, clock: Callable[[], datetime] | None = None, **options: Any) -> Desk:
    """A desk as the entrypoints build it, with passwords that cost nothing."""
    return Desk(
        db=db,
        blobs=FolderArea(folder / "blobs"),
        clock=clock or Clock(),
        options=WebOptions(**options),
        passwords=Passwords(WEAK_HASHER),
    )


def add_user(desk: Desk, name: str, role: Role) -> None:
    """An account with ``PASSWORD``."""
    with desk.db.transaction() as tx:
        accounts.add_user(tx, name, role, desk.clock(), password_hash=desk.passwords.hash(name, PASSWORD))


def add_token(desk: Desk, name: str = "ris") -> str:
    """A service's token."""
    with desk.db.transaction() as tx:
        accounts.add_token(tx, name, sign_in.digest(f"token of {name}"), desk.clock())
    return f"token of {name}"


class Browser(TestClient):
    """A client that follows no redirect by itself; what it posts carries the session's CSRF token in a header."""

    def __init__(self, app: FastAPI, address: str = "192.0.2.7") -> None:
        super().__init__(
            app, base_url="http://testserver", follow_redirects=False, client=(address, 50000),
            raise_server_exceptions=False,
        )  # fmt: skip

    @property
    def csrf(self) -> dict[str, str]:
        """The header that a page's own forms send."""
        value = self.cookies.get(session_cookie(self.app.state.desk))  # type: ignore[attr-defined]
        return {"X-CSRF-Token": csrf_token(value)} if value else {}

    def post(self, url: Any, **how: Any) -> Any:
        """Post as our pages do; ``csrf=False`` posts as another site would."""
        ours = self.csrf if how.pop("csrf", True) else {}
        return super().post(url, headers={**ours, **(how.pop("headers", None) or {})}, **how)


def signed_in(app: FastAPI, name: str, role: Role) -> Browser:
    """A browser with a session; the account is made when it is not there."""
    desk: Desk = app.state.desk
    with desk.db.read() as tx:
        known = accounts.find_user(tx, name) is not None
    if not known:
        add_user(desk, name, role)
    browser = Browser(app)
    answer = sign_in.sign_in(desk.db, desk.passwords, name, PASSWORD, "192.0.2.7", desk.clock())
    assert isinstance(answer, sign_in.Welcome)
    browser.cookies.set(session_cookie(desk), answer.session)
    return browser


def words(answer: object) -> str:
    """What a person reads: the text of a page without its tags."""
    assert answer.status_code == 200, answer.text
    body = re.sub(r"(?s)<(script|style|title)\b.*?</\1>", " ", answer.text)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


@pytest.fixture
def clock() -> Clock:
    """The clock of the desk."""
    return Clock()


@pytest.fixture
def desk(database: Database, tmp_path: Path, clock: Clock) -> Desk:
    """The desk on a migrated, empty database of either engine."""
    return make_desk(database, tmp_path, clock)


@pytest.fixture
def app(desk: Desk) -> FastAPI:
    """The web application."""
    return make_app(desk)


@pytest.fixture
def anonymous(app: FastAPI) -> Browser:
    """A browser that nobody signed in with."""
    return Browser(app)


@pytest.fixture
def radiologist(app: FastAPI) -> Browser:
    """A browser in which the radiologist ``rad`` is signed in."""
    return signed_in(app, "rad", Role.RADIOLOGIST)


@pytest.fixture
def administrator(app: FastAPI) -> Browser:
    """A browser in which the administrator ``boss`` is signed in."""
    return signed_in(app, "boss", Role.ADMINISTRATOR)


@pytest.fixture
def service(app: FastAPI, desk: Desk) -> Browser:
    """A client with a service's token."""
    client = Browser(app)
    client.headers["Authorization"] = f"Bearer {add_token(desk)}"
    return client
