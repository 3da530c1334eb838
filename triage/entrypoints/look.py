"""Commands that read: the worklist, one study, the audit log."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import click

from triage.domain.audit import AuditAction, AuditEvent
from triage.domain.errors import NotFound
from triage.domain.worklist import WorklistRow, in_reading_order
from triage.entrypoints import present
from triage.entrypoints.app import App, build, utc_now
from triage.settings import read_settings
from triage.store import audit as audit_log
from triage.store import deliveries, instances, results, series
from triage.store import worklist as worklist_rows


@click.command(epilog="Example: triage worklist --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a study, first to be read first.")
@click.pass_obj
def worklist(config: Path | None, as_json: bool) -> None:
    """Show the studies in the order in which they should be read."""
    app = build(read_settings(config))
    rows = reading_list(app)
    if as_json:
        present.print_json([present.row_json(row) for row in rows])
    else:
        present.console().print(present.worklist_table(rows, utc_now()))


def reading_list(app: App) -> list[WorklistRow]:
    """Every row, first to be read first."""
    with app.db.read() as tx:
        return in_reading_order(worklist_rows.rows(tx), utc_now())


@click.command(epilog="Example: triage show 1.2.840.113619.2.1 --json")
@click.argument("study_instance_uid")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def show(config: Path | None, study_instance_uid: str, as_json: bool) -> None:
    """Show one study: findings, series, objects, deliveries and timeline."""
    app = build(read_settings(config))
    with app.db.read() as tx:
        row = worklist_rows.row(tx, study_instance_uid)
        if row is None:
            raise NotFound(f"There is no study {study_instance_uid}; triage worklist lists those that came in.")
        told = {
            "study": present.row_json(row),
            "series": [
                {
                    "series_instance_uid": record.series_instance_uid,
                    "state": record.state.value,
                    "revision": record.revision,
                    "reason": record.reason.value if record.reason else None,
                    "detail": record.detail,
                    "instances": len(instances.of_series(tx, record.id)),
                }
                for record in series.of_study(tx, study_instance_uid)
            ],
            "objects": [
                {"kind": o.kind, "sop_instance_uid": o.sop_instance_uid, "file": str(app.blobs.path(o.blob_key))}
                for o in results.objects_of_study(tx, study_instance_uid)
            ],
            "deliveries": [
                {
                    "kind": d.kind,
                    "destination": d.destination,
                    "state": d.state.value,
                    "attempt": d.attempt,
                    "error": d.error,
                }
                for d in deliveries.of_study(tx, study_instance_uid)
            ],
            "timeline": [present.audit_json(r) for r in audit_log.records(tx, study_instance_uid=study_instance_uid)],
        }
    if as_json:
        present.print_json(told)
    else:
        present.print_study(row, told, utc_now())


@click.group(invoke_without_command=True, epilog="Example: triage audit --since 2026-11-20")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--since", type=click.DateTime(), help="Only rows from this time on (UTC).")
@click.pass_context
def audit(context: click.Context, as_json: bool, since: datetime | None) -> None:
    """Read the audit log. Reading it is itself recorded."""
    if context.invoked_subcommand is not None:
        return
    app = build(read_settings(context.obj))
    start = since.replace(tzinfo=UTC) if since else None
    with app.db.transaction() as tx:
        found = audit_log.records(tx, since=start)
        _record_reading(tx.audit, "read")
    if as_json:
        present.print_json([present.audit_json(record) for record in found])
    else:
        present.console().print(present.audit_table(found))


@audit.command(epilog="Example: triage audit verify")
@click.pass_obj
def verify(config: Path | None) -> None:
    """Prove that no row of the audit log was changed, removed or put in another order."""
    app = build(read_settings(config))
    with app.db.transaction() as tx:
        count = audit_log.verify(tx)
        _record_reading(tx.audit, "verified")
    click.echo(f"The audit chain is whole: {count} rows.")


def _record_reading(record: Callable[[AuditEvent], None], how: str) -> None:
    record(AuditEvent(at=utc_now(), actor=getpass.getuser(), action=AuditAction.AUDIT_READ, detail={"how": how}))
