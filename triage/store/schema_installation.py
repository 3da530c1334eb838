"""What is true of the whole installation: bundles, settings of record, and which processes and destinations live."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Table, Text

from triage.store.schema_base import metadata
from triage.store.types import CleanText, UtcDateTime

bundles = Table(
    "bundles",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("manifest", JSON, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
)

# Which bundle is to be used: "active" makes the results that count, "shadow" is run beside it and only recorded.
bundle_slots = Table(
    "bundle_slots",
    metadata,
    Column("slot", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("chosen_at", UtcDateTime, nullable=False),
    Column("chosen_by", CleanText, nullable=False),
)

settings_of_record = Table(
    "settings_of_record",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("settings", JSON, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
)

# A process that lives says so every few seconds; its last row says when it ended, and whether cleanly.
heartbeats = Table(
    "heartbeats",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("detail", JSON, nullable=False),
)

# Destinations and lists as the senders last found them.
links = Table(
    "links",
    metadata,
    Column("destination", Text, primary_key=True),
    Column("up", Boolean, nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Column("error", CleanText),
)
