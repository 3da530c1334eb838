"""Signing in by the hospital's identity provider, against a real one on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc.jwk import RSAKey

from tests.identity import CLIENT_ID, SECRET, IdentityProvider, identity_provider, shared_secret_key
from tests.services import free_port
from tests.stores import logged
from tests.web import Browser, Clock, add_user, make_desk
from triage.domain.account import Role
from triage.domain.audit import AuditAction
from triage.net.oidc import Provider
from triage.services import people
from triage.services.vouched import RoleRule
from triage.store.db import Database
from triage.web.app import make_app
from triage.web.desk import Desk

ROLES = {"neuroradiology": Role.RADIOLOGIST, "pacs-admins": Role.ADMINISTRATOR}
JANE = {"preferred_username": "J.Reader", "groups": ["staff", "neuroradiology"]}


@pytest.fixture
def provider(clock: Clock) -> Iterator[IdentityProvider]:
    """A provider that knows one reader."""
    with identity_provider(clock(), person=dict(JANE)) as running:
        yield running


@pytest.fixture
def desk(database: Database, tmp_path: Path, clock: Clock, provider: IdentityProvider) -> Desk:
    """A desk that trusts the provider."""
    return make_desk(database, tmp_path, clock, **trusting(provider, tmp_path))


def trusting(provider: IdentityProvider, folder: Path, **changes: Any) -> dict[str, Any]:
    secret = folder / "secret"
    secret.write_text(f"{SECRET}\n")
    values = {
        "issuer": provider.issuer,
        "client_id": CLIENT_ID,
        "redirect_uri": "http://testserver/oidc/callback",
        "secret_file": secret,
        **changes,
    }
    return {"oidc": Provider(**values), "oidc_roles": RoleRule(roles=ROLES)}


@pytest.fixture
def browser(desk: Desk) -> Browser:
    """A browser that nobody signed in with."""
    return Browser(make_app(desk))


def sign_in(browser: Browser, provider: IdentityProvider, next_page: str = "/password") -> Any:
    """Go to the provider, sign in there, and come back."""
    sent = browser.get("/oidc/login", params={"next": next_page})
    assert sent.status_code == 303, sent.text
    return browser.get(provider.authorize(sent.headers["location"]))


def refusals(desk: Desk) -> list[Any]:
    return [record.event.detail["why"] for record in logged(desk.db, AuditAction.LOGIN_FAILED)]


def names(desk: Desk) -> list[tuple[str, Role]]:
    return [(user.name, user.role) for user in people.everybody(desk.db)[0]]


def test_whom_the_provider_vouches_for_is_let_in(desk: Desk, browser: Browser, provider: IdentityProvider) -> None:
    assert "/oidc/login?next=/password" in browser.get("/login?next=/password").text
    answer = sign_in(browser, provider)
    assert (answer.status_code, answer.headers["location"]) == (303, "/password")
    assert ">j.reader<" in browser.get("/password").text
    assert names(desk) == [("j.reader", Role.RADIOLOGIST)]
    assert [r.event.actor for r in logged(desk.db, AuditAction.LOGIN)] == ["j.reader"]
    assert "triage-oidc" not in browser.cookies
    sign_in(Browser(browser.app), provider)  # type: ignore[arg-type]
    assert len(names(desk)) == 1, "the second time it is the same account"


def test_the_question_has_state_nonce_and_challenge_anew_each_time(browser: Browser) -> None:
    asked = [parse_qs(urlsplit(browser.get("/oidc/login").headers["location"]).query) for _ in range(2)]
    for one in asked:
        assert one["scope"] == ["openid profile email"]
        assert one["code_challenge_method"] == ["S256"]
    for name in ("state", "nonce", "code_challenge"):
        assert asked[0][name] != asked[1][name]


def test_the_secret_goes_in_the_form_where_the_provider_wants_it(browser: Browser, provider: IdentityProvider) -> None:
    provider.described = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    assert sign_in(browser, provider).status_code == 303


@pytest.mark.parametrize(
    ("changed", "how"),
    [
        ({"iss": "https://evil.example"}, {}),
        ({"aud": "another-application"}, {}),
        ({"aud": ["another-application"]}, {}),
        ({"aud": [CLIENT_ID, "another"], "azp": "another"}, {}),
        ({"nonce": "of another sign-in"}, {}),
        ({"nonce": None}, {}),
        ({"exp": 1}, {}),
        ({"exp": None}, {}),
        ({"iat": 4102444800}, {}),
        ({"sub": None}, {}),
        ({"sub": 7}, {}),
        ({}, {"signed_by": RSAKey.generate_key(2048, {"kid": "k1"})}),
        ({}, {"signed_by": shared_secret_key(), "algorithm": "HS256"}),
        ({}, {"algorithm": "none"}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) and value else "as-is",
)
def test_a_statement_that_does_not_hold_lets_nobody_in(
    desk: Desk, browser: Browser, provider: IdentityProvider, changed: dict[str, Any], how: dict[str, Any]
) -> None:
    provider.changed = changed
    for name, value in how.items():
        setattr(provider, name, value)
    answer = sign_in(browser, provider)
    assert answer.status_code == 403
    assert "triage" not in browser.cookies
    assert names(desk) == []


def test_a_token_is_too_old_when_it_has_expired(browser: Browser, provider: IdentityProvider, clock: Clock) -> None:
    clock.forward(3600)
    assert sign_in(browser, provider).status_code == 403


def test_an_answer_to_another_browsers_question_is_refused(
    desk: Desk, browser: Browser, provider: IdentityProvider
) -> None:
    """An attacker who signed in at the provider gives the address to somebody else (login CSRF)."""
    attacker = Browser(browser.app)  # type: ignore[arg-type]
    back = provider.authorize(attacker.get("/oidc/login").headers["location"])
    assert browser.get(back).status_code == 403
    browser.get("/oidc/login")
    assert browser.get(back).status_code == 403
    assert names(desk) == []


@pytest.mark.parametrize(
    "query", ["", "code=x", "state=x", "code=x&state=x", "error=access_denied&state={state}", "state={state}"]
)
def test_a_made_up_answer_is_refused(browser: Browser, provider: IdentityProvider, query: str) -> None:
    sent = browser.get("/oidc/login").headers["location"]
    state = parse_qs(urlsplit(sent).query)["state"][0]
    assert browser.get(f"/oidc/callback?{query.format(state=state)}").status_code == 403


def test_a_code_is_good_once_and_only_with_its_verifier(browser: Browser, provider: IdentityProvider) -> None:
    sent = browser.get("/oidc/login").headers["location"]
    back = provider.authorize(sent)
    carried = browser.cookies["triage-oidc"].strip('"')
    thief = Browser(browser.app)  # type: ignore[arg-type]
    thief.cookies.set("triage-oidc", carried.replace("verifier=", "verifier=x"))
    assert thief.get(back).status_code == 403
    assert browser.get(back).status_code == 403, "it was taken, and is worth nothing any more"


def test_an_answer_of_another_provider_is_refused(browser: Browser, provider: IdentityProvider) -> None:
    back = provider.authorize(browser.get("/oidc/login").headers["location"])
    assert browser.get(back.rpartition("iss=")[0] + "iss=https%3A%2F%2Fevil.example").status_code == 403


@pytest.mark.parametrize(
    ("person", "why"),
    [
        ({"groups": ["staff"]}, "claim groups gives a role"),
        ({"groups": None}, "claim groups gives a role"),
        ({"groups": [["neuroradiology"], 7]}, "claim groups gives a role"),
        ({"preferred_username": None}, "no name"),
        ({"preferred_username": "<script>"}, "no name"),
        ({"preferred_username": "clock"}, "no name"),
        ({"preferred_username": "boss"}, "another account"),
    ],
    ids=lambda value: None if isinstance(value, str) else "-".join(map(str, value.values())).replace(" ", ""),
)
def test_who_has_no_role_or_no_name_of_their_own_is_not_let_in(
    desk: Desk, browser: Browser, provider: IdentityProvider, person: dict[str, Any], why: str
) -> None:
    add_user(desk, "boss", Role.ADMINISTRATOR)
    provider.changed = person
    answer = sign_in(browser, provider)
    assert answer.status_code == 403
    assert why in refusals(desk)[0]
    assert names(desk) == [("boss", Role.ADMINISTRATOR)]


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (["neuroradiology"], Role.RADIOLOGIST),
        ("neuroradiology", Role.RADIOLOGIST),
        (["neuroradiology", "pacs-admins"], Role.ADMINISTRATOR),
    ],
    ids=["list", "text", "both"],
)
def test_the_claim_gives_the_role(
    desk: Desk, browser: Browser, provider: IdentityProvider, groups: Any, role: Role
) -> None:
    provider.changed = {"groups": groups}
    assert sign_in(browser, provider).status_code == 303
    assert names(desk) == [("j.reader", role)]


def test_the_role_of_today_counts(desk: Desk, browser: Browser, provider: IdentityProvider) -> None:
    provider.changed = {"groups": ["pacs-admins"]}
    sign_in(browser, provider)
    provider.changed = {"groups": ["neuroradiology"], "preferred_username": "another.name"}
    sign_in(browser, provider)
    assert names(desk) == [("j.reader", Role.RADIOLOGIST)], "the subject is who it is, whatever name it takes"
    provider.changed = {"groups": []}
    assert sign_in(browser, provider).status_code == 403


def test_a_disabled_account_stays_out(desk: Desk, browser: Browser, provider: IdentityProvider) -> None:
    sign_in(browser, provider)
    people.disable(desk.db, "j.reader", by="boss", now=desk.clock())
    assert sign_in(Browser(browser.app), provider).status_code == 403  # type: ignore[arg-type]
    assert refusals(desk) == ["the account is disabled"]


def test_such_an_account_has_no_password_to_guess(desk: Desk, browser: Browser, provider: IdentityProvider) -> None:
    sign_in(browser, provider)
    assert not desk.passwords.right(None, "")


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
    assert "hospital's account" not in browser.get("/login").text


def test_the_most_that_several_groups_allow() -> None:
    rule = RoleRule(roles=ROLES)
    assert rule.role({"groups": ["pacs-admins", "neuroradiology"]}) is Role.ADMINISTRATOR
    assert rule.role({}) is None
