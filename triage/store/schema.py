"""Every table, once, for SQLite and PostgreSQL, by subject. The DDL that makes them stands in ``migrations/``.

No column holds a patient's name or identifier: ``instances.header`` is an ``InstanceHeader``, which has neither.
"""

from __future__ import annotations

from triage.store.schema_audit import audit, audit_checkpoints, audit_forward, audit_head
from triage.store.schema_base import metadata
from triage.store.schema_installation import bundle_slots, bundles, heartbeats, links, settings_of_record
from triage.store.schema_intake import AssociationEnd, associations, conflicts, instances, series, studies
from triage.store.schema_people import login_failures, readings, sessions, tokens, users
from triage.store.schema_work import deliveries, jobs, result_objects, results, worklist

__all__ = [
    "AssociationEnd",
    "associations",
    "audit",
    "audit_checkpoints",
    "audit_forward",
    "audit_head",
    "bundle_slots",
    "bundles",
    "conflicts",
    "deliveries",
    "heartbeats",
    "instances",
    "jobs",
    "links",
    "login_failures",
    "metadata",
    "readings",
    "result_objects",
    "results",
    "series",
    "sessions",
    "settings_of_record",
    "studies",
    "tokens",
    "users",
    "worklist",
]
