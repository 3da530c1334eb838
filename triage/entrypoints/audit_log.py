"""The command ``triage audit``: read the log, prove that it is whole, make its key, have it told again."""

from __future__ import annotations

import getpass
import itertools
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from triage.domain.audit import AuditAction, AuditEvent, AuditRecord
from triage.domain.errors import ConfigurationError
from triage.entrypoints import audit_parts, present
from triage.entrypoints.app import build, utc_now
from triage.services.checkpoint import key_id, make_key, public_pem, read_public_key, read_signer
from triage.services.tell import audit_json
from triage.services.verify_audit import Proof, verify_and_record
from triage.settings import read_settings
from triage.store import audit as audit_rows
from triage.store import audit_forward
from triage.store.audit import UNREADABLE, AuditFilter, AuditRow


@click.group(invoke_without_command=True, epilog="Example: triage audit --since 2026-11-20")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--since", type=click.DateTime(), help="Only rows from this time on (UTC).")
@click.pass_context
def audit(context: click.Context, as_json: bool, since: datetime | None) -> None:
    """Read the audit log. Reading it is itself recorded."""
    if context.invoked_subcommand is not None:
        return
    app = build(read_settings(context.obj))
    wanted = AuditFilter(since=since.replace(tzinfo=UTC) if since else None)
    with app.db.transaction() as tx:
        last, _ = audit_rows.head(tx)
        event = AuditEvent(at=utc_now(), actor=getpass.getuser(), action=AuditAction.AUDIT_READ, detail={"how": "read"})
        tx.audit(event)
    found = itertools.chain.from_iterable(audit_rows.in_chunks(app.db, wanted, last))
    if as_json:
        present.print_json([_row_json(row) for row in found])
    else:
        present.console().print(present.audit_table(found))


def _row_json(row: AuditRow) -> dict[str, Any]:
    return audit_json(row) if isinstance(row, AuditRecord) else {"sequence": row.sequence, "problem": UNREADABLE}


@audit.command(epilog="Example: triage audit verify --public-key /media/safe/audit.pub")
@click.option(
    "--public-key",
    "public_keys",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Public key of the checkpoints, kept elsewhere; may be given more than once, beside those of this machine.",
)
@click.pass_obj
def verify(config: Path | None, public_keys: tuple[Path, ...]) -> None:
    """Prove that no row of the audit log was changed, removed, slipped in or computed anew."""
    settings = read_settings(config)
    app = build(settings)
    keys = tuple(read_public_key(file) for file in public_keys)
    try:
        proof = audit_parts.proof(settings)
    except ConfigurationError as exc:
        if not keys:
            raise
        # An auditor may check with the public key alone.
        click.echo(f"Without what this machine remembers: {exc}", err=True)
        proof = Proof(every=audit_parts.checkpoint_interval(settings))
    found = verify_and_record(app.db, replace(proof, keys=(*proof.keys, *keys)), app.clock, getpass.getuser())
    click.echo(found.sentence())


@audit.command(epilog="Example: triage audit key > audit.pub")
@click.pass_obj
def key(config: Path | None) -> None:
    """Make the key that signs checkpoints, in the file audit.checkpoint_key, and print its public half.

    Keep the public half where those who administer the database cannot change it. An existing key is only read.
    """
    file = read_settings(config).audit.checkpoint_key
    if file is None:
        raise ConfigurationError("Set audit.checkpoint_key first, such as /var/lib/ich-triage/audit.key.")
    made = not file.exists()
    signer = make_key(file) if made else read_signer(file)
    click.echo(public_pem(signer.public_key), nl=False)
    click.echo(f"{'Made' if made else 'Read'} the key {key_id(signer.public_key)} in {file}.", err=True)


@audit.command(epilog="Example: triage audit resend --after 12000")
@click.option("--after", required=True, type=click.IntRange(min=0), help="The last row that the repository has.")
@click.pass_obj
def resend(config: Path | None, after: int) -> None:
    """Have the audit repository told again what it lost; it gets every row after the one given."""
    settings = read_settings(config)
    receiver = audit_parts.receiver_name(settings)
    if not settings.audit.syslog_host:
        raise ConfigurationError("No audit repository is configured (audit.syslog_host).")
    app = build(settings)
    with app.db.transaction() as tx:
        audit_forward.rewind(tx, receiver, after, app.clock())
    click.echo(f"{receiver} will be told the rows after {after} again.")
