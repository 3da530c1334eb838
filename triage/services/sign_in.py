"""Signing in and out, and who stands behind a cookie or a token. Every step is audited."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from triage.domain.account import Person, Role
from triage.domain.audit import AuditAction, AuditEvent, Outcome
from triage.domain.lockout import FREE_BY_ADDRESS, FREE_BY_NAME
from triage.services.passwords import Passwords
from triage.store import accounts
from triage.store.accounts import User
from triage.store.db import Database, Transaction

TOUCH_EVERY = timedelta(minutes=1)
"""A session's last use is written this seldom, not with every slice that is looked at."""

LONGEST_SESSION = timedelta(days=3)
"""No setting allows a longer one."""

NOBODY = "unknown name"
"""Whom the audit log names when no user has the name that was typed: it may be a password."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long a session lasts: since it was opened, and without being used."""

    longest: timedelta = timedelta(hours=10)
    idle: timedelta = timedelta(minutes=60)


@dataclass(frozen=True, slots=True)
class Welcome:
    """Who signed in, and the value of the cookie, which is told here and nowhere kept.

    ``browser`` is another one, by which this browser is known again when somebody else keeps failing with the name.
    """

    person: Person
    session: str
    browser: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The name or the password is wrong, or it is too early to try again."""

    wait_seconds: int = 0


def sign_in(
    db: Database, passwords: Passwords, name: str, password: str, address: str, now: datetime, *, browser: str = ""
) -> Welcome | Refusal:
    """Check a name and a password, and open a session when both are right.

    An attempt is counted as failed before the password is looked at. It counts against the address and the name;
    where ``browser`` proves that this name has signed in there before, against this browser alone, so that a
    stranger who keeps failing keeps nobody out.
    """
    name = known_as(name)
    with db.transaction() as tx:
        user = accounts.find_user(tx, name)
        by_address = (f"address:{address}", FREE_BY_ADDRESS)
        by_name = (f"name:{user.name}" if user else f"nobody:{passwords.disguise(name)}", FREE_BY_NAME)
        known = user is not None and _knows(browser, user)
        subjects = [(f"browser:{digest(browser)}", FREE_BY_NAME)] if known else [by_address, by_name]
        for subject, free in subjects:
            wait = accounts.count_attempt(tx, subject, free, now)
            if wait:
                return Refusal(wait)
    usable = user if user is not None and user.disabled_at is None else None
    kept = usable.password_hash if usable else None
    right = passwords.right(kept, password)
    renewed = passwords.renewed(kept, password) if right and kept else None
    with db.transaction() as tx:
        if not (right and usable and renewed and _unchanged(tx, usable)):
            wait = max(accounts.waiting_seconds(tx, subject, now) for subject, _ in subjects)
            why = "wrong password" if usable else "account disabled" if user else NOBODY
            tx.audit(login_failed(user.name if user else NOBODY, address, why, wait, now))
            return Refusal(wait)
        for subject, _ in subjects:
            if subject == by_address[0]:
                accounts.take_back_attempt(tx, subject)
            else:
                accounts.forget_failures(tx, subject)
        accounts.forget_old(tx, now, LONGEST_SESSION)
        if renewed != kept:
            accounts.change_user(tx, usable.name, password_hash=renewed)
        return replace(open_session(tx, usable, address, "password", now), browser=_mark(usable.name, renewed))


def _mark(name: str, password_hash: str, number: str = "") -> str:
    """What a browser is known by: a number and its proof, which ends with the password that it stands for."""
    number = number or secrets.token_hex(16)
    proof = hmac.new(password_hash.encode(), f"{name} {number}".encode("utf-8", "replace"), hashlib.sha256)
    return f"{number}.{proof.hexdigest()}"


def _knows(browser: str, user: User) -> bool:
    number, _, _ = browser.partition(".")
    if not number or user.password_hash is None:
        return False
    return hmac.compare_digest(
        browser.encode("utf-8", "replace"), _mark(user.name, user.password_hash, number).encode()
    )


def known_as(name: str) -> str:
    """A name as accounts have it: nobody has to remember how it was capitalised."""
    return name.strip().lower()


def _unchanged(tx: Transaction, user: User) -> bool:
    """Whether nobody disabled the account or changed its password while it was being checked, nor does now."""
    current = accounts.find_user(tx, user.name, locked=True)
    return current is not None and current.disabled_at is None and current.password_hash == user.password_hash


def login_failed(actor: str, address: str, why: str, wait: int, now: datetime) -> AuditEvent:
    """The audit row of somebody who was not let in."""
    return AuditEvent(
        at=now,
        actor=actor,
        action=AuditAction.LOGIN_FAILED,
        outcome=Outcome.MINOR_FAILURE,
        detail={"address": address, "why": why, "locked_seconds": wait or None},
    )


def open_session(tx: Transaction, user: User, address: str, how: str, now: datetime) -> Welcome:
    """Let a user in, with a cookie that nobody had before."""
    value = secrets.token_urlsafe(32)
    accounts.open_session(tx, digest(value), user.id, now)
    tx.audit(AuditEvent(at=now, actor=user.name, action=AuditAction.LOGIN, detail={"address": address, "how": how}))
    return Welcome(user.person, value)


def digest(value: str) -> str:
    """What is kept of a cookie or a token. Both are 256 random bits: a slow hash would protect nothing."""
    return hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()


def person_of_session(db: Database, value: str, limits: SessionLimits, now: datetime, *, used: bool) -> Person | None:
    """Who has this cookie; None when its session is over. ``used`` is whether a person did something with it."""
    with db.read() as tx:
        session = accounts.find_session(tx, digest(value))
    if session is None or session.user.disabled_at is not None:
        return None
    if now - session.created_at >= limits.longest or now - session.seen_at >= limits.idle:
        return None
    if used and now - session.seen_at >= min(TOUCH_EVERY, limits.idle / 10):
        with db.transaction() as tx:
            accounts.touch_session(tx, digest(value), now)
    return session.user.person


def sign_out(db: Database, value: str, person: Person, address: str, now: datetime) -> None:
    """End a session."""
    with db.transaction() as tx:
        accounts.end_session(tx, digest(value))
        tx.audit(AuditEvent(at=now, actor=person.name, action=AuditAction.LOGOUT, detail={"address": address}))


def end_unseen(db: Database, value: str) -> None:
    """End the session that a browser still had when its user signed in anew."""
    with db.transaction() as tx:
        accounts.end_session(tx, digest(value))


def person_of_token(db: Database, value: str) -> Person | None:
    """Which service has this token; None when it is none of ours, or was revoked."""
    with db.read() as tx:
        token = accounts.find_token(tx, digest(value))
    if token is None or token.revoked_at is not None:
        return None
    return Person(f"service:{token.name}", Role.SERVICE)


def token_refused(db: Database, address: str, what: str, now: datetime) -> int:
    """Record a token that is none; seconds for which this address is no longer answered."""
    with db.transaction() as tx:
        wait = accounts.count_attempt(tx, f"token:{address}", FREE_BY_ADDRESS, now)
        if not wait:
            tx.audit(_refused("unknown token", address, what, "the token is unknown or revoked", now))
        return wait


def access_refused(db: Database, person: Person, address: str, what: str, why: str, now: datetime) -> None:
    """Record that somebody asked for what is not theirs."""
    with db.transaction() as tx:
        tx.audit(_refused(person.name, address, what, why, now))


def _refused(actor: str, address: str, what: str, why: str, now: datetime) -> AuditEvent:
    return AuditEvent(
        at=now,
        actor=actor,
        action=AuditAction.ACCESS_REFUSED,
        outcome=Outcome.MINOR_FAILURE,
        detail={"address": address, "what": what, "why": why},
    )
