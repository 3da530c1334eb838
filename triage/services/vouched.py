"""Signing in whom an identity provider vouches for: which account that is, and what it may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from triage.domain.account import Role
from triage.domain.audit import AuditAction, AuditEvent
from triage.domain.errors import ConfigurationError, SignInRefused
from triage.domain.lockout import FREE_BY_ADDRESS
from triage.services.people import checked_name
from triage.services.sign_in import NOBODY, Welcome, login_failed, open_session
from triage.store import accounts
from triage.store.accounts import User
from triage.store.db import Database, Transaction


@dataclass(frozen=True, slots=True)
class RoleRule:
    """What the provider's claims make of a person. Whom no value of ``roles`` names is not let in."""

    name_claim: str = "preferred_username"
    roles_claim: str = "groups"
    roles: Mapping[str, Role] = field(default_factory=dict)

    def role(self, claims: Mapping[str, Any]) -> Role | None:
        """The most that a person may be."""
        told = claims.get(self.roles_claim)
        values = told if isinstance(told, list) else [told]
        found = {self.roles[value] for value in values if isinstance(value, str) and value in self.roles}
        return next((role for role in (Role.ADMINISTRATOR, Role.RADIOLOGIST) if role in found), None)


def sign_in_vouched(
    db: Database, rule: RoleRule, issuer: str, claims: Mapping[str, Any], address: str, now: datetime
) -> Welcome:
    """Open a session for the account that belongs to the provider's subject; make it at the first time.

    The role is the one that the claims give today. A local account of the same name is never taken over: whoever
    may choose a name at the provider must not become somebody else here.

    Raises
    ------
    SignInRefused
    """
    subject = f"{issuer} {claims['sub']}"
    role = rule.role(claims)
    with db.transaction() as tx:
        user = accounts.user_of_subject(tx, subject)
        why = _obstacle(tx, rule, user, role, claims)
        if why is None and role is not None:
            known = _with_role(tx, user, role, now) if user else _made(tx, rule, subject, role, claims, now)
            return open_session(tx, known, address, "OpenID Connect", now)
        tx.audit(login_failed(user.name if user else f"subject {subject}"[:200], address, why or "", 0, now))
    raise SignInRefused(f"You are not let in: {why}.")


def not_vouched(db: Database, address: str, why: str, now: datetime) -> None:
    """Record an answer of the provider that does not hold; not every one, or a stranger could fill the log."""
    with db.transaction() as tx:
        if accounts.count_attempt(tx, f"vouched:{address}", FREE_BY_ADDRESS, now) == 0:
            tx.audit(login_failed(NOBODY, address, why, 0, now))


def _obstacle(
    tx: Transaction, rule: RoleRule, user: User | None, role: Role | None, claims: Mapping[str, Any]
) -> str | None:
    if user is not None and user.disabled_at is not None:
        return "the account is disabled"
    if role is None:
        return f"no value of your claim {rule.roles_claim} gives a role here"
    if user is not None:
        return None
    try:
        name = checked_name(str(claims.get(rule.name_claim, "")))
    except ConfigurationError:
        return f"your claim {rule.name_claim} is no name that an account can have"
    if accounts.find_user(tx, name) is not None:
        return (
            f"there is another account {name} here, which this way of signing in does not take over; "
            "sign in with its password, or ask the administrator"
        )
    return None


def _made(tx: Transaction, rule: RoleRule, subject: str, role: Role, claims: Mapping[str, Any], now: datetime) -> User:
    user = accounts.add_user(tx, checked_name(str(claims[rule.name_claim])), role, now, subject=subject)
    detail = {"user": user.name, "change": "made", "role": role.value, "subject": subject[:200]}
    tx.audit(AuditEvent(at=now, actor="web", action=AuditAction.ACCOUNT_CHANGED, detail=detail))
    return user


def _with_role(tx: Transaction, user: User, role: Role, now: datetime) -> User:
    if user.role is role:
        return user
    detail = {"user": user.name, "change": "role", "from": user.role.value, "to": role.value}
    tx.audit(AuditEvent(at=now, actor="web", action=AuditAction.ACCOUNT_CHANGED, detail=detail))
    return accounts.change_user(tx, user.name, role=role)
