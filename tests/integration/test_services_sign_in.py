"""Signing in, sessions and tokens on both databases, with the clock in the test's hand."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select

from tests.stores import logged
from tests.web import PASSWORD, Clock, add_token, add_user
from triage.domain.account import Person, Role
from triage.domain.audit import AuditAction
from triage.domain.lockout import FREE_BY_ADDRESS, FREE_BY_NAME, LONGEST_SECONDS
from triage.services import people, sign_in
from triage.services.passwords import Passwords
from triage.services.sign_in import NOBODY, Refusal, SessionLimits, Welcome
from triage.store import accounts
from triage.store.schema import login_failures, sessions, tokens, users
from triage.web.desk import Desk

HERE, THERE = "192.0.2.7", "198.51.100.9"
LIMITS = SessionLimits(longest=timedelta(hours=10), idle=timedelta(minutes=60))


@pytest.fixture
def rad(desk: Desk) -> Desk:
    """A desk with the radiologist ``rad``."""
    add_user(desk, "rad", Role.RADIOLOGIST)
    return desk


def attempt(desk: Desk, name: str = "rad", password: str = PASSWORD, address: str = HERE) -> Welcome | Refusal:
    return sign_in.sign_in(desk.db, desk.passwords, name, password, address, desk.clock())


def enter(desk: Desk, name: str = "rad") -> str:
    answer = attempt(desk, name)
    assert isinstance(answer, Welcome)
    return answer.session


def who(desk: Desk, session: str, *, used: bool = True) -> Person | None:
    return sign_in.person_of_session(desk.db, session, LIMITS, desk.clock(), used=used)


def everything_kept(desk: Desk) -> str:
    with desk.db.read() as tx:
        rows = [tx.connection.execute(select(t)).all() for t in (users, sessions, tokens, login_failures)]
    return repr(rows) + repr(logged(desk.db))


def test_the_right_password_opens_a_session_that_is_kept_only_as_a_hash(rad: Desk) -> None:
    session = enter(rad)
    assert who(rad, session) == Person("rad", Role.RADIOLOGIST)
    assert len(session) >= 43
    assert session not in everything_kept(rad)
    assert PASSWORD not in everything_kept(rad)
    (row,) = logged(rad.db, AuditAction.LOGIN)
    assert (row.event.actor, row.event.detail["address"]) == ("rad", HERE)


def test_two_sign_ins_are_two_sessions(rad: Desk) -> None:
    first, second = enter(rad), enter(rad)
    assert first != second
    sign_in.sign_out(rad.db, first, Person("rad", Role.RADIOLOGIST), HERE, rad.clock())
    assert who(rad, first) is None
    assert who(rad, second) is not None
    assert len(logged(rad.db, AuditAction.LOGOUT)) == 1


@pytest.mark.parametrize("password", ["", "a sentence of several word", PASSWORD.upper(), "\ud800", "x" * 5000])
def test_a_wrong_password_is_refused_and_audited(rad: Desk, password: str) -> None:
    assert attempt(rad, password=password) == Refusal(0)
    (row,) = logged(rad.db, AuditAction.LOGIN_FAILED)
    assert (row.event.actor, row.event.detail["why"]) == ("rad", "wrong password")


def test_a_password_typed_as_the_name_is_nowhere_kept(rad: Desk) -> None:
    assert attempt(rad, name="hunter2 secret", password="x") == Refusal(0)
    assert "hunter2" not in everything_kept(rad)
    (row,) = logged(rad.db, AuditAction.LOGIN_FAILED)
    assert (row.event.actor, row.event.detail["why"]) == (NOBODY, NOBODY)


def test_an_unknown_name_costs_a_hash_as_a_known_one_does(rad: Desk) -> None:
    class Counting(PasswordHasher):
        verified = 0

        def verify(self, *words: Any) -> Any:
            Counting.verified += 1
            return super().verify(*words)

    passwords = Passwords(Counting(time_cost=1, memory_cost=8, parallelism=1))
    for name in ("rad", "nobody.of.that.name"):
        sign_in.sign_in(rad.db, passwords, name, "wrong", HERE, rad.clock())
    assert Counting.verified == 2


@pytest.mark.parametrize("name", ["rad", "nobody.of.that.name"])
def test_a_name_is_locked_longer_and_longer_whether_it_exists_or_not(rad: Desk, clock: Clock, name: str) -> None:
    waits = []
    for number in range(FREE_BY_NAME + 12):
        answer = attempt(rad, name, "wrong", f"203.0.113.{number}")
        assert isinstance(answer, Refusal)
        waits.append(answer.wait_seconds)
        clock.forward(answer.wait_seconds)
    assert waits[: FREE_BY_NAME - 1] == [0] * (FREE_BY_NAME - 1)
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_SECONDS + 1


def test_the_right_password_does_not_open_a_lock_but_does_after_it(rad: Desk, clock: Clock) -> None:
    for _ in range(FREE_BY_NAME):
        locked = attempt(rad, password="wrong")
    assert isinstance(locked, Refusal)
    assert locked.wait_seconds > 0
    assert isinstance(attempt(rad, address=THERE), Refusal)
    clock.forward(locked.wait_seconds)
    assert isinstance(attempt(rad, address=THERE), Welcome)
    assert attempt(rad, password="wrong") == Refusal(0), "a success begins anew"


def test_attempts_during_a_lock_do_not_make_it_longer(rad: Desk, clock: Clock) -> None:
    for _ in range(FREE_BY_NAME):
        locked = attempt(rad, password="wrong")
    assert isinstance(locked, Refusal)
    for _ in range(50):
        attempt(rad, password="wrong", address=THERE)
    failed = logged(rad.db, AuditAction.LOGIN_FAILED)
    assert len(failed) == FREE_BY_NAME, "nobody fills the audit log by knocking on a locked door"
    clock.forward(locked.wait_seconds)
    assert isinstance(attempt(rad), Welcome)


def test_an_address_that_tries_many_names_is_locked_whatever_it_knows(rad: Desk) -> None:
    for number in range(FREE_BY_ADDRESS):
        answer = attempt(rad, f"user{number}", "wrong")
        assert isinstance(attempt(rad, address=THERE), Welcome)
    assert isinstance(answer, Refusal)
    assert answer.wait_seconds > 0
    assert isinstance(attempt(rad), Refusal), "the right password from the locked address waits too"
    assert isinstance(attempt(rad, address=THERE), Welcome)


def test_an_attackers_own_account_does_not_clear_the_address(rad: Desk) -> None:
    add_user(rad, "insider", Role.RADIOLOGIST)
    answer: Welcome | Refusal = Refusal(0)
    for number in range(FREE_BY_ADDRESS):
        attempt(rad, "insider")
        answer = attempt(rad, f"user{number}", "wrong")
    assert isinstance(answer, Refusal)
    assert answer.wait_seconds > 0


def test_failures_of_long_ago_do_not_count(rad: Desk, clock: Clock) -> None:
    for _ in range(3 * FREE_BY_NAME):
        assert attempt(rad, password="wrong") == Refusal(0)
        clock.forward(3700)


def test_many_attempts_at_once_do_not_slip_through(rad: Desk) -> None:
    """Twenty threads guess at the same moment: no more passwords are looked at than are free."""
    looked_at = []

    class Slow(PasswordHasher):
        def verify(self, *words: Any) -> Any:
            looked_at.append(1)
            return super().verify(*words)

    passwords = Passwords(Slow(time_cost=1, memory_cost=8, parallelism=1))
    together = threading.Barrier(20)

    def guess() -> None:
        together.wait()
        sign_in.sign_in(rad.db, passwords, "rad", "wrong", HERE, rad.clock())

    threads = [threading.Thread(target=guess) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(looked_at) == FREE_BY_NAME


def test_a_disabled_account_is_out_at_once_and_stays_out(rad: Desk) -> None:
    session = enter(rad)
    people.disable(rad.db, "rad", by="boss", now=rad.clock())
    assert who(rad, session) is None
    assert isinstance(attempt(rad), Refusal)
    people.enable(rad.db, "rad", by="boss", now=rad.clock())
    assert who(rad, session) is None, "the old session does not come back"
    assert isinstance(attempt(rad), Welcome)


def test_another_password_ends_every_session(rad: Desk) -> None:
    session = enter(rad)
    people.set_password(rad.db, rad.passwords, "rad", "another sentence of words", by="boss", now=rad.clock())
    assert who(rad, session) is None
    assert isinstance(attempt(rad), Refusal)
    assert isinstance(attempt(rad, password="another sentence of words"), Welcome)


def test_a_password_that_is_changed_during_a_sign_in_with_the_former_one_stays_changed(rad: Desk) -> None:
    """Whoever knows the former password must not bring it back by signing in at the right moment."""
    checked, change_begun = threading.Event(), threading.Event()
    new = "another sentence of words"

    class Waiting(PasswordHasher):
        def verify(self, *words: Any) -> Any:
            right = super().verify(*words)
            checked.set()
            assert change_begun.wait(10)
            return right

    former = Passwords(Waiting(time_cost=1, memory_cost=8, parallelism=1))
    answers: list[object] = []
    thread = threading.Thread(
        target=lambda: answers.append(sign_in.sign_in(rad.db, former, "rad", PASSWORD, HERE, rad.clock()))
    )
    thread.start()
    assert checked.wait(10)
    with rad.db.transaction() as tx:
        user = accounts.change_user(tx, "rad", password_hash=rad.passwords.hash("rad", new))
        accounts.end_sessions(tx, user.id)
        change_begun.set()
        thread.join(0.5)
    thread.join()
    assert answers == [Refusal(0)]
    assert isinstance(attempt(rad), Refusal)
    assert isinstance(attempt(rad, password=new), Welcome)


def test_a_session_ends_when_nobody_does_anything(rad: Desk, clock: Clock) -> None:
    session = enter(rad)
    clock.forward(59 * 60)
    assert who(rad, session) is not None, "and this counts as doing something"
    clock.forward(59 * 60)
    assert who(rad, session, used=False) is not None, "this does not"
    clock.forward(61)
    assert who(rad, session) is None


def test_a_session_ends_after_its_longest_time_however_busy(rad: Desk, clock: Clock) -> None:
    session = enter(rad)
    for _ in range(19):
        clock.forward(30 * 60)
        assert who(rad, session) is not None
    clock.forward(30 * 60)
    assert who(rad, session) is None


def test_a_session_that_may_be_idle_for_a_minute_only_lives_while_it_is_used(rad: Desk, clock: Clock) -> None:
    session, limits = enter(rad), SessionLimits(idle=timedelta(minutes=1))
    for _ in range(5):
        clock.forward(50)
        assert sign_in.person_of_session(rad.db, session, limits, clock(), used=True) is not None
    clock.forward(61)
    assert sign_in.person_of_session(rad.db, session, limits, clock(), used=True) is None


def test_using_a_session_writes_once_a_minute(rad: Desk, clock: Clock) -> None:
    session = enter(rad)

    def seen_at() -> Any:
        with rad.db.read() as tx:
            found = accounts.find_session(tx, sign_in.digest(session))
        assert found is not None
        return found.seen_at

    opened = seen_at()
    clock.forward(30)
    who(rad, session)
    assert seen_at() == opened
    clock.forward(31)
    who(rad, session)
    assert seen_at() == clock()


@pytest.mark.parametrize("forged", ["", "x", "\x00", "ä\ud800", "' OR 1=1 --", "a" * 5000])
def test_a_forged_cookie_or_token_is_nobody(rad: Desk, forged: str) -> None:
    enter(rad)
    add_token(rad)
    assert who(rad, forged) is None
    assert sign_in.person_of_token(rad.db, forged) is None


def test_the_kept_hash_is_no_key_itself(rad: Desk) -> None:
    session, token = enter(rad), add_token(rad)
    assert who(rad, sign_in.digest(session)) is None
    assert sign_in.person_of_token(rad.db, sign_in.digest(token)) is None


def test_a_token_works_until_it_is_revoked(desk: Desk) -> None:
    value = people.add_token(desk.db, "RIS", by="boss", now=desk.clock())
    assert sign_in.person_of_token(desk.db, value) == Person("service:ris", Role.SERVICE)
    assert value not in everything_kept(desk)
    people.revoke_token(desk.db, "ris", by="boss", now=desk.clock())
    assert sign_in.person_of_token(desk.db, value) is None


def test_a_hash_of_weaker_times_is_made_anew_at_the_next_sign_in(rad: Desk) -> None:
    stronger = Passwords(PasswordHasher(time_cost=2, memory_cost=16, parallelism=1))
    answer = sign_in.sign_in(rad.db, stronger, "rad", PASSWORD, HERE, rad.clock())
    assert isinstance(answer, Welcome)
    with rad.db.read() as tx:
        kept = accounts.user(tx, "rad").password_hash
    assert kept is not None
    assert stronger.renewed(kept, PASSWORD) == kept
    assert stronger.right(kept, PASSWORD)


def test_the_default_hash_is_argon2id_with_memory() -> None:
    kept = Passwords().hash("rad", PASSWORD)
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
