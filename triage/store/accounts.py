"""Users, their sessions, the tokens of services, and failed logins. What proves an identity is only kept as a hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, delete, select, update

from triage.domain.account import Person, Role
from triage.domain.errors import NotFound, StaleState
from triage.domain.lockout import FORGOTTEN_AFTER, delay_seconds
from triage.store.schema import login_failures, sessions, tokens, users
from triage.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class User:
    """A person with an account. Without ``password_hash`` the only way in is OpenID Connect."""

    id: int
    name: str
    role: Role
    password_hash: str | None
    subject: str | None
    created_at: datetime
    disabled_at: datetime | None

    @property
    def person(self) -> Person:
        """Who the account stands for."""
        return Person(self.name, self.role)


@dataclass(frozen=True, slots=True)
class Session:
    """A sign-in that has not been ended."""

    user: User
    created_at: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Token:
    """The token of a service."""

    digest: str
    name: str
    created_at: datetime
    revoked_at: datetime | None


def add_user(
    tx: Transaction,
    name: str,
    role: Role,
    now: datetime,
    *,
    password_hash: str | None = None,
    subject: str | None = None,
) -> User:
    """Make an account.

    Raises
    ------
    StaleState
        The name or the subject has one already.
    """
    made = tx.insert_new(
        users, name=name, role=role, password_hash=password_hash, subject=subject, created_at=now, disabled_at=None
    )
    if made is None:
        raise StaleState(f"There is a user {name} already.")
    return user(tx, name)


def user(tx: Transaction, name: str) -> User:
    """One account.

    Raises
    ------
    NotFound
    """
    found = find_user(tx, name)
    if found is None:
        raise NotFound(f"There is no user {name}; triage user list shows who there is.")
    return found


def find_user(tx: Transaction, name: str, *, locked: bool = False) -> User | None:
    """The account of a name, if there is one; ``locked``: nobody else changes it before this step is over."""
    wanted = select(users).where(users.c.name == name)
    row = tx.connection.execute(wanted.with_for_update() if locked else wanted).one_or_none()
    return None if row is None else _user(row)


def user_of_subject(tx: Transaction, subject: str) -> User | None:
    """The account that an OpenID Connect subject is linked to, if any."""
    row = tx.connection.execute(select(users).where(users.c.subject == subject)).one_or_none()
    return None if row is None else _user(row)


def all_users(tx: Transaction, *, locked: bool = False) -> list[User]:
    """Every account, by name; ``locked``: nobody else changes one before this step is over."""
    wanted = select(users).order_by(users.c.name)
    return [_user(row) for row in tx.connection.execute(wanted.with_for_update() if locked else wanted)]


def change_user(tx: Transaction, name: str, **values: Any) -> User:
    """Change columns of an account.

    Raises
    ------
    NotFound
    """
    tx.connection.execute(update(users).where(users.c.name == name).values(**values))
    return user(tx, name)


def open_session(tx: Transaction, digest: str, user_id: int, now: datetime) -> None:
    """Keep a sign-in under the digest of its cookie."""
    tx.connection.execute(sessions.insert().values(digest=digest, user_id=user_id, created_at=now, seen_at=now))


def find_session(tx: Transaction, digest: str) -> Session | None:
    """The session of a cookie's digest, if there is one; whether it still holds is the caller's rule."""
    row = tx.connection.execute(
        select(users, sessions.c.created_at.label("opened_at"), sessions.c.seen_at)
        .join_from(sessions, users)
        .where(sessions.c.digest == digest)
    ).one_or_none()
    return None if row is None else Session(_user(row), row.opened_at, row.seen_at)


def touch_session(tx: Transaction, digest: str, now: datetime) -> None:
    """Note that the session was used."""
    tx.connection.execute(update(sessions).where(sessions.c.digest == digest).values(seen_at=now))


def end_session(tx: Transaction, digest: str) -> None:
    """Forget one session."""
    tx.connection.execute(delete(sessions).where(sessions.c.digest == digest))


def end_sessions(tx: Transaction, user_id: int) -> int:
    """Forget every session of a user; how many there were."""
    return tx.connection.execute(delete(sessions).where(sessions.c.user_id == user_id)).rowcount


def forget_old(tx: Transaction, now: datetime, longest: timedelta) -> None:
    """Remove sessions opened longer ago than any may last, and failures that no longer count."""
    tx.connection.execute(delete(sessions).where(sessions.c.created_at < now - longest))
    tx.connection.execute(delete(login_failures).where(login_failures.c.last_at < now - FORGOTTEN_AFTER))


def add_token(tx: Transaction, name: str, digest: str, now: datetime) -> Token:
    """Keep the digest of a new token.

    Raises
    ------
    StaleState
        A token has had this name already.
    """
    if tx.insert_new(tokens, digest=digest, name=name, created_at=now, revoked_at=None) is None:
        raise StaleState(f"There is a token {name} already, or was one; choose another name.")
    return Token(digest, name, now, None)


def find_token(tx: Transaction, digest: str) -> Token | None:
    """The token with this digest, revoked or not."""
    row = tx.connection.execute(select(tokens).where(tokens.c.digest == digest)).one_or_none()
    return None if row is None else _token(row)


def all_tokens(tx: Transaction) -> list[Token]:
    """Every token, revoked ones too, by name."""
    return [_token(row) for row in tx.connection.execute(select(tokens).order_by(tokens.c.name))]


def revoke_token(tx: Transaction, name: str, now: datetime) -> None:
    """Make a token worthless.

    Raises
    ------
    NotFound
        There is none of this name that still works.
    """
    mine = (tokens.c.name == name) & tokens.c.revoked_at.is_(None)
    if tx.connection.execute(update(tokens).where(mine).values(revoked_at=now)).rowcount == 0:
        raise NotFound(f"There is no token {name} that still works; triage token list shows all.")


def count_attempt(tx: Transaction, subject: str, free: int, now: datetime) -> int:
    """Count an attempt as failed before it is made, so that many at once cannot slip through.

    Returns
    -------
    int
        Seconds that the subject has to wait already; 0 when the attempt may be made.
    """
    tx.insert_new(login_failures, subject=subject, failures=0, last_at=now, locked_until=None)
    mine = login_failures.c.subject == subject
    row = tx.connection.execute(select(login_failures).where(mine).with_for_update()).one()
    if row.locked_until is not None and row.locked_until > now:
        return int((row.locked_until - now).total_seconds()) + 1
    failures = 1 + (row.failures if now - row.last_at < FORGOTTEN_AFTER else 0)
    delay = delay_seconds(failures, free)
    locked_until = now + timedelta(seconds=delay) if delay else None
    values: Mapping[str, Any] = {"failures": failures, "last_at": now, "locked_until": locked_until}
    tx.connection.execute(update(login_failures).where(mine).values(**values))
    return 0


def waiting_seconds(tx: Transaction, subject: str, now: datetime) -> int:
    """Seconds that the subject has to wait now."""
    until = tx.connection.execute(
        select(login_failures.c.locked_until).where(login_failures.c.subject == subject)
    ).scalar_one_or_none()
    return 0 if until is None or until <= now else int((until - now).total_seconds()) + 1


def take_back_attempt(tx: Transaction, subject: str) -> None:
    """The attempt was right after all: it does not count, and what came before it still does."""
    mine = (login_failures.c.subject == subject) & (login_failures.c.failures > 0)
    tx.connection.execute(
        update(login_failures).where(mine).values(failures=login_failures.c.failures - 1, locked_until=None)
    )


def forget_failures(tx: Transaction, subject: str) -> None:
    """Begin anew with a subject."""
    tx.connection.execute(delete(login_failures).where(login_failures.c.subject == subject))


def _user(row: Row[Any]) -> User:
    return User(row.id, row.name, row.role, row.password_hash, row.subject, row.created_at, row.disabled_at)


def _token(row: Row[Any]) -> Token:
    return Token(row.digest, row.name, row.created_at, row.revoked_at)
