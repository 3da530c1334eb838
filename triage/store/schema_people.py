"""Who reads: judgements, users, sessions, tokens, and failed logins."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Integer, Table, Text

from triage.domain.account import Role
from triage.domain.reading import Verdict
from triage.store.schema_base import metadata, one_of
from triage.store.types import CleanText, Identifier, Named, UtcDateTime

readings = Table(
    "readings",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("study_instance_uid", Text, ForeignKey("studies.study_instance_uid"), nullable=False),
    Column("verdict", Named(Verdict), nullable=False),
    Column("note", CleanText, nullable=False),
    Column("reader", CleanText, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)
Index("ix_readings_study_instance_uid", readings.c.study_instance_uid)
Index("ix_readings_at", readings.c.at)

users = Table(
    "users",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("name", CleanText, nullable=False, unique=True),
    Column("role", Named(Role), nullable=False),
    Column("password_hash", Text),  # none: signs in by OpenID Connect only
    Column("subject", Text, unique=True),  # issuer and subject of OpenID Connect
    Column("created_at", UtcDateTime, nullable=False),
    Column("disabled_at", UtcDateTime),
    one_of("role", Role),
)

sessions = Table(
    "sessions",
    metadata,
    Column("digest", Text, primary_key=True),  # SHA-256 of the cookie, which is nowhere kept
    Column("user_id", Identifier, ForeignKey("users.id"), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
)
Index("ix_sessions_user_id", sessions.c.user_id)

tokens = Table(
    "tokens",
    metadata,
    Column("digest", Text, primary_key=True),  # SHA-256 of the token, which is nowhere kept
    Column("name", CleanText, nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime),
)

# Failed logins by name and by address; also of names that no user has.
login_failures = Table(
    "login_failures",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last_at", UtcDateTime, nullable=False),
    Column("locked_until", UtcDateTime),
)
