"""Accounts and tokens: made, changed and ended by an administrator, each time with its audit row."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from triage.domain.account import Role
from triage.domain.audit import AuditAction, AuditEvent, Detail
from triage.domain.errors import ConfigurationError
from triage.services.passwords import Passwords
from triage.services.sign_in import digest, known_as
from triage.store import accounts
from triage.store.accounts import Token, User
from triage.store.db import Database, Transaction

USER_ROLES: Final = (Role.RADIOLOGIST, Role.ADMINISTRATOR)
"""What a person can be; a service has a token instead of an account."""

NAME: Final = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
TAKEN: Final = frozenset(
    {"clock", "listen", "listener", "nobody", "root", "send", "sender", "service", "system", "web", "work", "worker"}
)
"""Whom the audit log names when no person acted."""


def add_user(
    db: Database, passwords: Passwords, name: str, role: Role, password: str, *, by: str, now: datetime
) -> User:
    """Make an account with a password.

    Raises
    ------
    ConfigurationError
        The name, the role or the password cannot be.
    StaleState
        There is such a user.
    """
    name = checked_name(name)
    password_hash = passwords.hash(name, password)
    with db.transaction() as tx:
        user = accounts.add_user(tx, name, checked_role(role), now, password_hash=password_hash)
        _changed(tx, by, now, {"user": name, "change": "made", "role": role.value})
    return user


def checked_name(name: str) -> str:
    """A name as accounts have it.

    Raises
    ------
    ConfigurationError
    """
    name = known_as(name)
    if not NAME.fullmatch(name):
        raise ConfigurationError("A name has 1 to 64 letters (a-z), digits and . _ @ - and begins with no mark.")
    if name in TAKEN:
        raise ConfigurationError(f"{name} is what the daemon calls itself in the audit log; choose another name.")
    return name


def checked_role(role: Role) -> Role:
    """A role that a person can have.

    Raises
    ------
    ConfigurationError
    """
    if role not in USER_ROLES:
        raise ConfigurationError("A service has no account: make a token for it.")
    return role


def set_password(db: Database, passwords: Passwords, name: str, password: str, *, by: str, now: datetime) -> None:
    """Give a user another password; whoever is signed in with the old one no longer is.

    Raises
    ------
    ConfigurationError
        The password cannot be.
    NotFound
    """
    name = known_as(name)
    password_hash = passwords.hash(name, password)
    with db.transaction() as tx:
        user = accounts.change_user(tx, name, password_hash=password_hash)
        ended = accounts.end_sessions(tx, user.id)
        accounts.forget_failures(tx, f"name:{name}")
        _changed(tx, by, now, {"user": name, "change": "password", "sessions_ended": ended})


def set_role(db: Database, name: str, role: Role, *, by: str, now: datetime) -> None:
    """Make a user something else.

    Raises
    ------
    ConfigurationError
        A person cannot be that, or nobody would be administrator any more.
    NotFound
    """
    name = known_as(name)
    with db.transaction() as tx:
        former = _former(tx, name)
        accounts.change_user(tx, name, role=checked_role(role))
        _keep_an_administrator(tx, former)
        _changed(tx, by, now, {"user": name, "change": "role", "from": former.role.value, "to": role.value})


def disable(db: Database, name: str, *, by: str, now: datetime) -> None:
    """Let a user in no more, from this moment on. The account stays: the audit log names it.

    Raises
    ------
    ConfigurationError
        Nobody would be administrator any more.
    NotFound
    """
    name = known_as(name)
    with db.transaction() as tx:
        former = _former(tx, name)
        accounts.change_user(tx, name, disabled_at=now)
        _keep_an_administrator(tx, former)
        ended = accounts.end_sessions(tx, former.id)
        _changed(tx, by, now, {"user": name, "change": "disabled", "sessions_ended": ended})


def enable(db: Database, name: str, *, by: str, now: datetime) -> None:
    """Let a user in again.

    Raises
    ------
    NotFound
    """
    name = known_as(name)
    with db.transaction() as tx:
        accounts.change_user(tx, name, disabled_at=None)
        accounts.forget_failures(tx, f"name:{name}")
        _changed(tx, by, now, {"user": name, "change": "enabled"})


def add_token(db: Database, name: str, *, by: str, now: datetime) -> str:
    """Make a token for a service; it is told here and nowhere kept.

    Raises
    ------
    ConfigurationError
        The name cannot be.
    StaleState
        There is, or was, a token of this name.
    """
    name = checked_name(name)
    value = secrets.token_urlsafe(32)
    with db.transaction() as tx:
        accounts.add_token(tx, name, digest(value), now)
        _changed(tx, by, now, {"token": name, "change": "made"})
    return value


def revoke_token(db: Database, name: str, *, by: str, now: datetime) -> None:
    """Make a token worthless.

    Raises
    ------
    NotFound
        There is none of this name that still works.
    """
    with db.transaction() as tx:
        accounts.revoke_token(tx, known_as(name), now)
        _changed(tx, by, now, {"token": known_as(name), "change": "revoked"})


def has_password(db: Database, name: str) -> bool:
    """Whether a user can sign in with a password; otherwise the identity provider is the only way."""
    with db.read() as tx:
        return accounts.user(tx, name).password_hash is not None


def everybody(db: Database) -> tuple[list[User], list[Token]]:
    """Every account and every token, by name."""
    with db.read() as tx:
        return accounts.all_users(tx), accounts.all_tokens(tx)


def _former(tx: Transaction, name: str) -> User:
    """The account before a change that may take an administrator away: there is one such change at a time."""
    accounts.all_users(tx, locked=True)
    return accounts.user(tx, name)


def _keep_an_administrator(tx: Transaction, former: User) -> None:
    """Refuse the change that takes the last administrator away; they could only be made on the command line again."""
    if former.role is not Role.ADMINISTRATOR or former.disabled_at is not None:
        return
    if not any(u.role is Role.ADMINISTRATOR and u.disabled_at is None for u in accounts.all_users(tx)):
        raise ConfigurationError(f"{former.name} is the only administrator; make another one first.")


def _changed(tx: Transaction, by: str, now: datetime, detail: Mapping[str, Detail]) -> None:
    tx.audit(AuditEvent(at=now, actor=by, action=AuditAction.ACCOUNT_CHANGED, detail=detail))
