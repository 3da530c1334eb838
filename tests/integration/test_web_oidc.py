"""Signing in by the hospital's identity provider, against a real one on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc.jwk import RSAKey

from tests.identity import (
    CLIENT_ID,
    JANE,
    ROLES,
    IdentityProvider,
    identity_provider,
    names,
    shared_secret_key,
    sign_in,
    trusting,
)
from tests.stores import logged
from tests.web import PASSWORD, Browser, Clock, add_user, make_desk
from triage.domain.account import Role
from triage.domain.audit import AuditAction
from triage.domain.lockout import FREE_BY_ADDRESS
from triage.net.oidc import CLOCK_SKEW_SECONDS
from triage.services import people
from triage.services.sign_in import NOBODY, Refusal
from triage.services.sign_in import sign_in as sign_in_with_password
from triage.services.vouched import RoleRule
from triage.store.db import Database
from triage.web.app import make_app
from triage.web.desk import Desk


@pytest.fixture
def provider(clock: Clock) -> Iterator[IdentityProvider]:
    """A provider that knows one reader."""
    with identity_provider(clock(), person=dict(JANE)) as running:
        yield running


@pytest.fixture
def desk(database: Database, tmp_path: Path, clock: Clock, provider: IdentityProvider) -> Desk:
    """A desk that trusts the provider."""
    return make_desk(database, tmp_path, clock, **trusting(provider, tmp_path))


@pytest.fixture
def browser(desk: Desk) -> Browser:
    """A browser that nobody signed in with."""
    return Browser(make_app(desk))


def refusals(desk: Desk) -> list[Any]:
    return [record.event.detail["why"] for record in logged(desk.db, AuditAction.LOGIN_FAILED)]


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


@pytest.mark.parametrize(
    ("expires", "issued", "status"),
    [
        (-CLOCK_SKEW_SECONDS + 1, -300, 303),
        (-CLOCK_SKEW_SECONDS - 1, -300, 403),
        (300, CLOCK_SKEW_SECONDS, 303),
        (300, CLOCK_SKEW_SECONDS + 1, 403),
    ],
)
def test_clocks_may_differ_by_a_minute(
    browser: Browser, provider: IdentityProvider, clock: Clock, expires: int, issued: int, status: int
) -> None:
    now = int(clock().timestamp())
    provider.changed = {"exp": now + expires, "iat": now + issued}
    assert sign_in(browser, provider).status_code == status


@pytest.mark.parametrize(
    "published", [{}, {"keys": []}, {"keys": None}, {"keys": "x"}, {"keys": [7, {"kty": "unheard of"}]}], ids=str
)
def test_a_provider_without_usable_keys_is_one_sentence(
    desk: Desk, browser: Browser, provider: IdentityProvider, published: dict[str, Any]
) -> None:
    provider.published = published
    answer = sign_in(browser, provider)
    assert answer.status_code == 403
    assert "does not hold" in answer.text
    assert names(desk) == []


def test_keys_that_we_do_not_know_do_no_harm_beside_one_that_we_do(
    browser: Browser, provider: IdentityProvider
) -> None:
    other = {"kty": "unheard of", "kid": "k0"}
    for_encryption = {**RSAKey.generate_key(2048, {"kid": "k2", "use": "enc"}).as_dict(private=False)}
    provider.published = {"keys": [other, for_encryption, *provider.keys()["keys"]]}
    assert sign_in(browser, provider).status_code == 303


def test_an_answer_that_does_not_hold_is_in_the_audit_log_but_does_not_fill_it(
    desk: Desk, browser: Browser, provider: IdentityProvider
) -> None:
    provider.changed = {"aud": "another-application"}
    assert sign_in(browser, provider).status_code == 403
    (failed,) = logged(desk.db, AuditAction.LOGIN_FAILED)
    assert (failed.event.actor, failed.event.detail["address"]) == (NOBODY, "192.0.2.7")
    assert "does not hold" in str(failed.event.detail["why"])
    for _ in range(3 * FREE_BY_ADDRESS):
        browser.get("/oidc/callback?code=x&state=y")
    assert len(refusals(desk)) == FREE_BY_ADDRESS
    provider.changed = {}
    assert sign_in(browser, provider).status_code == 303, "nobody is kept out by it"


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


def test_such_an_account_has_no_password_to_guess_or_to_change(
    desk: Desk, browser: Browser, provider: IdentityProvider
) -> None:
    sign_in(browser, provider)
    for guess in ("", "None", "null"):
        answer = sign_in_with_password(desk.db, desk.passwords, "j.reader", guess, "198.51.100.1", desk.clock())
        assert isinstance(answer, Refusal)
    shown = browser.get("/password")
    assert shown.status_code == 200
    assert "You sign in with the hospital's account" in shown.text
    assert 'name="current"' not in shown.text
    before = len(refusals(desk))
    sent = browser.post("/password", data={"current": "x", "new": "a sentence of other words"})
    assert sent.status_code == 409
    assert 'name="current"' not in sent.text
    assert len(refusals(desk)) == before, "it is no guess"
    assert browser.get("/password").status_code == 200, "and ends no session"


def test_a_password_that_the_administrator_gives_is_a_second_way_in(
    desk: Desk, browser: Browser, provider: IdentityProvider
) -> None:
    sign_in(browser, provider)
    people.set_password(desk.db, desk.passwords, "j.reader", PASSWORD, by="boss", now=desk.clock())
    assert browser.get("/password").status_code == 303, "the session ended with the change"
    assert sign_in(browser, provider).status_code == 303
    assert 'name="current"' in browser.get("/password").text
    assert len(names(desk)) == 1


def test_a_local_account_of_the_same_name_is_not_taken_over(
    desk: Desk, browser: Browser, provider: IdentityProvider
) -> None:
    add_user(desk, "j.reader", Role.ADMINISTRATOR)
    answer = sign_in(browser, provider)
    assert answer.status_code == 403
    assert "there is another account j.reader here" in answer.text
    assert "sign in with its password, or ask the administrator" in answer.text
    assert "triage" not in browser.cookies
    ((account,), _) = people.everybody(desk.db)
    assert (account.subject, account.role) == (None, Role.ADMINISTRATOR)
    sign_in(browser, provider)
    assert len(refusals(desk)) == 2


def test_another_subject_of_the_same_name_is_somebody_else(
    desk: Desk, browser: Browser, provider: IdentityProvider
) -> None:
    sign_in(browser, provider)
    provider.changed = {"sub": "subject-2"}
    assert sign_in(Browser(browser.app), provider).status_code == 403  # type: ignore[arg-type]
    ((account,), _) = people.everybody(desk.db)
    assert account.subject == f"{provider.issuer} subject-1"


# Signing out


def test_signing_out_ends_our_session_and_shows_the_way_to_end_the_providers(
    desk: Desk, browser: Browser, provider: IdentityProvider
) -> None:
    sign_in(browser, provider)
    session = browser.cookies["triage"]
    assert browser.post("/logout").headers["location"] == "/login"
    browser.cookies.set("triage", session)
    assert browser.get("/password").status_code == 303
    assert 'href="/oidc/logout"' in browser.get("/login").text
    sent = browser.get("/oidc/logout")
    assert sent.status_code == 303
    assert sent.headers["location"] == f"{provider.issuer}/logout?theme=plain&client_id={CLIENT_ID}"


def test_a_provider_that_ends_no_sessions_is_one_sentence(browser: Browser, provider: IdentityProvider) -> None:
    provider.described = {"end_session_endpoint": None}
    answer = browser.get("/oidc/logout")
    assert answer.status_code == 403
    assert "does not say where its end_session_endpoint is" in answer.text


def test_the_most_that_several_groups_allow() -> None:
    rule = RoleRule(roles=ROLES)
    assert rule.role({"groups": ["pacs-admins", "neuroradiology"]}) is Role.ADMINISTRATOR
    assert rule.role({}) is None
