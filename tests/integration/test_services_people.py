"""Accounts and tokens: what may be made and changed, and that the audit log tells."""

from __future__ import annotations

import threading

import pytest

from tests.stores import logged
from tests.web import PASSWORD, add_user
from triage.domain.account import Role
from triage.domain.audit import AuditAction
from triage.domain.errors import ConfigurationError, NotFound, StaleState
from triage.services import people
from triage.store import accounts
from triage.web.desk import Desk


def add(desk: Desk, name: str = "rad", role: Role = Role.RADIOLOGIST, password: str = PASSWORD) -> None:
    people.add_user(desk.db, desk.passwords, name, role, password, by="boss", now=desk.clock())


def changes(desk: Desk) -> list[dict]:
    return [dict(record.event.detail) for record in logged(desk.db, AuditAction.ACCOUNT_CHANGED)]


def test_an_account_is_made_once_whatever_its_capitals(desk: Desk) -> None:
    add(desk, " A.Smith ")
    with pytest.raises(StaleState, match=r"a\.smith already"):
        add(desk, "a.smith")
    users, _ = people.everybody(desk.db)
    assert [(user.name, user.role) for user in users] == [("a.smith", Role.RADIOLOGIST)]
    assert changes(desk) == [{"user": "a.smith", "change": "made", "role": "radiologist"}]


@pytest.mark.parametrize(
    "name", ["", " ", "-x", "a b", "a/b", "../x", "rad\nx", "ä", "x" * 65, "<b>", "service:ris", "worker", "clock"]
)
def test_names_that_cannot_be(desk: Desk, name: str) -> None:
    with pytest.raises(ConfigurationError):
        add(desk, name)
    assert people.everybody(desk.db) == ([], [])


@pytest.mark.parametrize("password", ["", "short", "x" * 11, "x" * 1025])
def test_passwords_that_cannot_be(desk: Desk, password: str) -> None:
    with pytest.raises(ConfigurationError, match="password"):
        add(desk, password=password)


def test_the_name_is_no_password(desk: Desk) -> None:
    with pytest.raises(ConfigurationError, match="cannot be the password"):
        add(desk, "radiologist-1", password="Radiologist-1")


def test_a_service_has_no_account(desk: Desk) -> None:
    with pytest.raises(ConfigurationError, match="token"):
        add(desk, role=Role.SERVICE)
    add(desk)
    with pytest.raises(ConfigurationError, match="token"):
        people.set_role(desk.db, "rad", Role.SERVICE, by="boss", now=desk.clock())


def test_every_change_is_audited_with_who_made_it(desk: Desk) -> None:
    add(desk)
    now = desk.clock()
    people.set_role(desk.db, "RAD", Role.ADMINISTRATOR, by="boss", now=now)
    add(desk, "other", Role.ADMINISTRATOR)
    people.set_password(desk.db, desk.passwords, "rad", "another sentence of words", by="boss", now=now)
    people.disable(desk.db, "rad", by="boss", now=now)
    people.enable(desk.db, "rad", by="boss", now=now)
    people.add_token(desk.db, "ris", by="boss", now=now)
    people.revoke_token(desk.db, "ris", by="boss", now=now)
    assert [change["change"] for change in changes(desk)] == [
        "made", "role", "made", "password", "disabled", "enabled", "made", "revoked",
    ]  # fmt: skip
    assert {record.event.actor for record in logged(desk.db)} == {"boss"}
    assert PASSWORD not in repr(logged(desk.db))


@pytest.mark.parametrize("how", ["disable", "demote"])
def test_the_last_administrator_stays(desk: Desk, how: str) -> None:
    def take_away(name: str) -> None:
        if how == "disable":
            people.disable(desk.db, name, by="boss", now=desk.clock())
        else:
            people.set_role(desk.db, name, Role.RADIOLOGIST, by="boss", now=desk.clock())

    add_user(desk, "boss", Role.ADMINISTRATOR)
    add_user(desk, "rad", Role.RADIOLOGIST)
    with pytest.raises(ConfigurationError, match="only administrator"):
        take_away("boss")
    assert changes(desk) == [], "nothing of it is kept"
    add_user(desk, "boss2", Role.ADMINISTRATOR)
    take_away("boss")
    with pytest.raises(ConfigurationError, match="only administrator"):
        take_away("boss2")


def test_two_administrators_cannot_take_each_other_away_at_once(desk: Desk) -> None:
    for name in ("anna", "boss"):
        add_user(desk, name, Role.ADMINISTRATOR)
    answers: list[object] = []

    def disable_boss() -> None:
        try:
            answers.append(people.disable(desk.db, "boss", by="anna", now=desk.clock()))
        except ConfigurationError as exc:
            answers.append(exc)

    other = threading.Thread(target=disable_boss)
    with desk.db.transaction() as tx:
        accounts.change_user(tx, "anna", disabled_at=desk.clock())
        other.start()
        other.join(0.5)
        assert answers == [], "it waits for the change that is being made"
    other.join()
    assert [type(answer) for answer in answers] == [ConfigurationError]
    users, _ = people.everybody(desk.db)
    assert [user.name for user in users if user.disabled_at is None] == ["boss"]


def test_what_is_not_there_is_said(desk: Desk) -> None:
    now = desk.clock()
    for act in (
        lambda: people.disable(desk.db, "nobody.here", by="boss", now=now),
        lambda: people.enable(desk.db, "nobody.here", by="boss", now=now),
        lambda: people.set_role(desk.db, "nobody.here", Role.RADIOLOGIST, by="boss", now=now),
        lambda: people.set_password(desk.db, desk.passwords, "nobody.here", PASSWORD, by="boss", now=now),
        lambda: people.revoke_token(desk.db, "nobody.here", by="boss", now=now),
    ):
        with pytest.raises(NotFound, match=r"triage (user|token) list"):
            act()


def test_a_tokens_name_is_never_used_again(desk: Desk) -> None:
    people.add_token(desk.db, "ris", by="boss", now=desk.clock())
    people.revoke_token(desk.db, "ris", by="boss", now=desk.clock())
    with pytest.raises(StaleState):
        people.add_token(desk.db, "ris", by="boss", now=desk.clock())
    with pytest.raises(NotFound):
        people.revoke_token(desk.db, "ris", by="boss", now=desk.clock())
