"""The administrator's page of people and tokens."""

from __future__ import annotations

import re

import pytest
from fastapi import FastAPI
from lxml import html

from tests.stores import logged
from tests.web import PASSWORD, Browser, add_user
from triage.domain.account import Person, Role
from triage.domain.audit import AuditAction
from triage.services import people
from triage.services.sign_in import Refusal, Welcome, person_of_token, sign_in
from triage.web.desk import Desk


def names(desk: Desk) -> dict[str, tuple[Role, bool]]:
    return {user.name: (user.role, user.disabled_at is None) for user in people.everybody(desk.db)[0]}


def may_enter(desk: Desk, name: str, password: str = PASSWORD) -> bool:
    answer = sign_in(desk.db, desk.passwords, name, password, "198.51.100.1", desk.clock())
    assert isinstance(answer, Welcome | Refusal)
    return isinstance(answer, Welcome)


def test_a_person_is_added_changed_and_let_go(desk: Desk, administrator: Browser) -> None:
    added = administrator.post("/accounts/users", data={"name": "New.One", "role": "radiologist", "password": PASSWORD})
    assert (added.status_code, added.headers["location"]) == (303, "/accounts")
    assert may_enter(desk, "new.one")
    assert ">new.one<" in administrator.get("/accounts").text
    administrator.post("/accounts/users/new.one/role", data={"role": "administrator"})
    assert names(desk)["new.one"] == (Role.ADMINISTRATOR, True)
    administrator.post("/accounts/users/new.one/password", data={"password": "another sentence of words"})
    assert not may_enter(desk, "new.one")
    assert may_enter(desk, "new.one", "another sentence of words")
    administrator.post("/accounts/users/new.one/disable")
    assert not may_enter(desk, "new.one", "another sentence of words")
    assert "disabled since" in administrator.get("/accounts").text
    administrator.post("/accounts/users/new.one/enable")
    assert may_enter(desk, "new.one", "another sentence of words")
    changed = logged(desk.db, AuditAction.ACCOUNT_CHANGED)
    assert [row.event.detail["change"] for row in changed] == ["made", "role", "password", "disabled", "enabled"]
    assert {row.event.actor for row in changed} == {"boss"}


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"name": "x", "role": "radiologist", "password": "short"}, "at least 12"),
        ({"name": "<b>x", "role": "radiologist", "password": PASSWORD}, "has 1 to 64 letters"),
        ({"name": "boss", "role": "radiologist", "password": PASSWORD}, "already"),
        ({"name": "x", "role": "service", "password": PASSWORD}, "token"),
    ],
)
def test_what_cannot_be_is_said_on_the_page(
    desk: Desk, administrator: Browser, form: dict[str, str], told: str
) -> None:
    answer = administrator.post("/accounts/users", data=form)
    assert answer.status_code == 400
    (problem,) = html.fromstring(answer.text).xpath("//*[@role='alert']")
    assert told in problem.text_content()
    assert "<b>x" not in answer.text
    assert PASSWORD not in answer.text
    assert list(names(desk)) == ["boss"]


def test_the_last_administrator_cannot_go(desk: Desk, administrator: Browser) -> None:
    assert administrator.post("/accounts/users/boss/disable").status_code == 400
    assert administrator.post("/accounts/users/boss/role", data={"role": "radiologist"}).status_code == 400
    assert names(desk) == {"boss": (Role.ADMINISTRATOR, True)}


def test_somebody_made_less_has_less_with_the_next_request(desk: Desk, administrator: Browser) -> None:
    add_user(desk, "boss2", Role.ADMINISTRATOR)
    people.set_role(desk.db, "boss", Role.RADIOLOGIST, by="boss2", now=desk.clock())
    assert administrator.get("/accounts").status_code == 403
    assert administrator.get("/password").status_code == 200


def test_a_token_is_shown_once_and_revoked(desk: Desk, administrator: Browser) -> None:
    shown = administrator.post("/accounts/tokens", data={"name": "ris"})
    (value,) = html.fromstring(shown.text).xpath("//*[@class='once']/text()")
    assert person_of_token(desk.db, value) == Person("service:ris", Role.SERVICE)
    assert shown.headers["cache-control"] == "no-store"
    assert value not in administrator.get("/accounts").text
    administrator.post("/accounts/tokens/ris/revoke")
    assert person_of_token(desk.db, value) is None
    assert "revoked" in administrator.get("/accounts").text


def test_every_form_of_the_page_carries_the_token(desk: Desk, administrator: Browser, app: FastAPI) -> None:
    people.add_token(desk.db, "ris", by="boss", now=desk.clock())
    page = html.fromstring(administrator.get("/accounts").text)
    posts = [form for form in page.xpath("//form") if form.method == "POST"]
    assert len(posts) == 7
    for form in posts:
        assert form.fields["csrf_token"] == administrator.csrf["X-CSRF-Token"]
        assert re.match(r"/(accounts|logout)", form.action)


def test_the_navigation_shows_what_one_may_open(administrator: Browser, radiologist: Browser) -> None:
    def links(browser: Browser) -> set[str]:
        return set(html.fromstring(browser.get("/password").text).xpath("//nav//a/@href"))

    assert links(administrator) - links(radiologist) == {"/audit", "/accounts"}
    assert {"/", "/statistics", "/operations"} <= links(radiologist)
