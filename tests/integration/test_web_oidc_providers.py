"""An identity provider that is another one, down, slow or not set up: one sentence, and the pages go on."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.identity import JANE, IdentityProvider, identity_provider, names, sign_in, trusting
from tests.services import free_port
from tests.web import Browser, Clock, make_desk
from triage.net.oidc import AT_A_TIME
from triage.store.db import Database
from triage.web.app import make_app


@pytest.fixture
def provider(clock: Clock) -> Iterator[IdentityProvider]:
    """A provider that knows one reader."""
    with identity_provider(clock(), person=dict(JANE)) as running:
        yield running


@pytest.fixture
def browser(database: Database, tmp_path: Path, clock: Clock, provider: IdentityProvider) -> Browser:
    """A browser at a desk that trusts the provider."""
    return Browser(make_app(make_desk(database, tmp_path, clock, **trusting(provider, tmp_path))))


@pytest.mark.parametrize(
    "described",
    [
        {"issuer": "https://evil.example"},
        {"authorization_endpoint": None},
        {"authorization_endpoint": "javascript:alert(1)"},
    ],
    ids=["issuer", "none", "scheme"],
)
def test_a_provider_that_is_not_the_one_of_the_settings_is_not_asked(
    browser: Browser, provider: IdentityProvider, described: dict[str, Any]
) -> None:
    provider.described = described
    assert browser.get("/oidc/login").status_code == 403
    assert "/token" not in provider.asked


def test_a_provider_that_is_down_is_one_sentence(database: Database, tmp_path: Path, clock: Clock) -> None:
    silent = IdentityProvider(clock(), issuer=f"http://127.0.0.1:{free_port()}")
    desk = make_desk(database, tmp_path, clock, **trusting(silent, tmp_path))
    answer = Browser(make_app(desk)).get("/oidc/login")
    assert answer.status_code == 403
    assert "does not answer" in answer.text


def test_a_provider_that_goes_down_meanwhile_is_one_sentence(database: Database, tmp_path: Path, clock: Clock) -> None:
    with identity_provider(clock(), person=dict(JANE)) as provider:
        desk = make_desk(database, tmp_path, clock, **trusting(provider, tmp_path))
        browser = Browser(make_app(desk))
        back = provider.authorize(browser.get("/oidc/login").headers["location"])
    answer = browser.get(back)
    assert answer.status_code == 403
    assert "does not answer" in answer.text
    assert names(desk) == []


def test_a_provider_that_hangs_does_not_take_the_pages_with_it(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging, ThreadPoolExecutor(AT_A_TIME) as people_who_click:
        silent = IdentityProvider(clock(), issuer=f"http://127.0.0.1:{hanging.getsockname()[1]}")
        app = make_app(make_desk(database, tmp_path, clock, **trusting(silent, tmp_path, timeout_seconds=60.0)))
        waiting = [people_who_click.submit(lambda: Browser(app).get("/oidc/login").text) for _ in range(AT_A_TIME)]
        connected = [hanging.accept()[0] for _ in range(AT_A_TIME)]
        assert "keeps too many people waiting" in Browser(app).get("/oidc/login").text
        assert Browser(app).get("/login").status_code == 200
        for connection in connected:
            connection.close()
        assert all("does not answer" in one.result() for one in waiting)
    assert "does not answer" in Browser(app).get("/oidc/login").text, "their turns are given back"


def test_a_secret_that_cannot_be_read_is_one_sentence(
    database: Database, tmp_path: Path, clock: Clock, provider: IdentityProvider
) -> None:
    options = trusting(provider, tmp_path, secret_file=tmp_path / "nowhere")
    browser = Browser(make_app(make_desk(database, tmp_path, clock, **options)))
    answer = sign_in(browser, provider)
    assert "oidc_client_secret_file" in answer.text


def test_without_a_provider_there_is_no_such_page(database: Database, tmp_path: Path) -> None:
    browser = Browser(make_app(make_desk(database, tmp_path)))
    assert browser.get("/oidc/login").status_code == 404
    assert browser.get("/oidc/callback").status_code == 404
    assert browser.get("/oidc/logout").status_code == 404
    assert "/oidc/" not in browser.get("/login").text
