"""The audit page: the log with its filters, whether it is whole, and its exports. Every look at it is audited."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from triage.domain.account import Person
from triage.domain.audit import AuditAction, AuditEvent, Detail, Outcome
from triage.domain.audit_message import encode
from triage.services.audit_messages import audit_messages
from triage.store import audit as audit_log
from triage.store import audit_forward
from triage.store.audit import UNREADABLE, AuditFilter, AuditRow, UnreadableRow
from triage.web.access import Administrator, client_address
from triage.web.desk import Desk, DeskDep
from triage.web.page import STOP_POLLING, page
from triage.web.statistics import cell

router = APIRouter()

ROWS_OF_A_PAGE: Final = 50
COLUMNS: Final = (
    "sequence",
    "at",
    "actor",
    "action",
    "outcome",
    "study_instance_uid",
    "series_instance_uid",
    "sop_instance_uid",
    "detail",
    "previous",
    "digest",
)


@dataclass(frozen=True)
class Asked:
    """The filter as it was typed, and as the store understands it."""

    typed: dict[str, str]
    wanted: AuditFilter

    def query(self, **more: int) -> str:
        """The same filter in an address."""
        return urlencode({**{name: value for name, value in self.typed.items() if value}, **more})

    def words(self) -> str | None:
        """The filter as the audit row about this look has it; None without one."""
        return ", ".join(f"{name} {value}" for name, value in self.typed.items() if value) or None


def asked_for(
    action: AuditAction | Literal[""] = "",
    outcome: Outcome | Literal[""] = "",
    actor: Annotated[str, Query(max_length=128)] = "",
    study: Annotated[str, Query(max_length=64)] = "",
    since: Annotated[str, Query(max_length=40)] = "",
    until: Annotated[str, Query(max_length=40)] = "",
) -> Asked:
    """Read the filter; what is empty does not matter. Times are UTC."""
    typed = {
        "action": str(action),
        "outcome": str(outcome),
        "actor": _plain(actor),
        "study": _plain(study),
        "since": _plain(since),
        "until": _plain(until),
    }
    wanted = AuditFilter(
        action=action or None,
        outcome=outcome or None,
        actor=typed["actor"] or None,
        study_instance_uid=typed["study"] or None,
        since=_instant(typed["since"]),
        until=_instant(typed["until"]),
    )
    return Asked(typed, wanted)


def _plain(text: str) -> str:
    """Without what no row can hold."""
    return "".join(letter for letter in text.strip() if letter.isprintable())


def _instant(text: str) -> datetime | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        return (at.replace(tzinfo=UTC) if at.tzinfo is None else at).astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise HTTPException(422, "A time is written like 2026-11-21 or 2026-11-21T08:00, in UTC.") from exc


AskedDep = Annotated[Asked, Depends(asked_for)]


@router.get("/audit", response_class=HTMLResponse)
def audit(
    request: Request,
    desk: DeskDep,
    person: Administrator,
    asked: AskedDep,
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
) -> HTMLResponse:
    """Show the log, newest first."""
    progress = desk.verifier.progress  # before the log: what has ended by now stands in it
    with desk.db.read() as tx:
        rows = audit_log.page(tx, asked.wanted, before=before, limit=ROWS_OF_A_PAGE + 1)
        head, _ = audit_log.head(tx)
        last = desk.verifier.last(tx)
        receivers = audit_forward.states(tx)
    _record(desk, request, person, "page", asked)
    shown = rows[:ROWS_OF_A_PAGE]
    return page(
        request,
        "audit.html",
        person,
        rows=shown,
        older=asked.query(before=shown[-1].sequence) if len(rows) > ROWS_OF_A_PAGE else None,
        newest=asked.query() if before is not None else None,
        asked=asked,
        actions=list(AuditAction),
        outcomes=list(Outcome),
        head=head,
        last=last,
        progress=progress,
        signed=bool(desk.proof.all_keys()),
        receivers=receivers,
        unreadable=UNREADABLE,
    )


@router.get("/audit/verification/now", response_class=HTMLResponse)
def verification(request: Request, desk: DeskDep, person: Administrator) -> HTMLResponse:
    """Tell how far a verification is; a page that was told of its end asks no more.

    It shows no row of the log, and is not audited.
    """
    progress = desk.verifier.progress  # before the log, as above
    with desk.db.read() as tx:
        last = desk.verifier.last(tx)
    signed = bool(desk.proof.all_keys())
    status = 200 if progress.running else STOP_POLLING
    return page(request, "audit_state.html", person, status_code=status, last=last, progress=progress, signed=signed)


@router.post("/audit/verify")
def verify(request: Request, desk: DeskDep, person: Administrator) -> Response:
    """Begin to verify the whole log, unless somebody has begun; its result is audited."""
    desk.verifier.start(person.name, client_address(request))
    return RedirectResponse("/audit#verification", 303)


@router.get("/audit.csv")
def audit_csv(request: Request, desk: DeskDep, person: Administrator, asked: AskedDep) -> StreamingResponse:
    """Export rows of the log, one a line."""
    return _export(request, desk, person, asked, "csv", "text/csv; charset=utf-8", _csv)


@router.get("/audit.xml")
def audit_xml(request: Request, desk: DeskDep, person: Administrator, asked: AskedDep) -> StreamingResponse:
    """Export rows of the log as audit messages of DICOM PS3.15 A.5; acts that are internal have none."""

    def written(rows: Iterable[AuditRow]) -> str:
        return "".join(_xml(desk, row) for row in rows)

    return _export(
        request, desk, person, asked, "xml", "application/xml; charset=utf-8", written,
        '<?xml version="1.0" encoding="UTF-8"?>\n<AuditMessages>\n', "</AuditMessages>\n",
    )  # fmt: skip


def _record(desk: Desk, request: Request, person: Person, how: str, asked: Asked) -> None:
    """Have the look audited before anything is shown."""
    detail: dict[str, Detail] = {"how": how, "address": client_address(request), "filter": asked.words()}
    with desk.db.transaction() as tx:
        tx.audit(AuditEvent(at=desk.clock(), actor=person.name, action=AuditAction.AUDIT_READ, detail=detail))


def _export(
    request: Request,
    desk: Desk,
    person: Person,
    asked: Asked,
    kind: str,
    media_type: str,
    written: Callable[[Iterable[AuditRow]], str],
    first: str = "",
    end: str = "",
) -> StreamingResponse:
    _record(desk, request, person, kind, asked)
    with desk.db.read() as tx:
        last, _ = audit_log.head(tx)
    if kind == "csv":
        first = _written([COLUMNS])

    def lines() -> Iterator[str]:
        yield first
        yield from map(written, audit_log.in_chunks(desk.db, asked.wanted, last))
        yield end

    name = f"ich-triage-audit-{desk.clock():%Y%m%dT%H%M%S}.{kind}"
    return StreamingResponse(
        lines(), media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


def _csv(rows: Iterable[AuditRow]) -> str:
    return _written(_columns(row) for row in rows)


def _columns(row: AuditRow) -> list[str]:
    if isinstance(row, UnreadableRow):
        return [cell(row.sequence), "", "", UNREADABLE]
    event = row.event
    values = (
        row.sequence,
        event.at,
        event.actor,
        event.action.value,
        event.outcome.value,
        event.study_instance_uid,
        event.series_instance_uid,
        event.sop_instance_uid,
        json.dumps(dict(event.detail), sort_keys=True),
        row.previous,
        row.digest,
    )
    return [cell(value) for value in values]


def _written(rows: Iterable[Iterable[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _xml(desk: Desk, row: AuditRow) -> str:
    if isinstance(row, UnreadableRow):
        return f"<!-- row {row.sequence}: {UNREADABLE} -->\n"
    messages = (encode(message).decode("utf-8") for message in audit_messages(row, desk.reporter))
    return "".join(f"{message.split('?>', 1)[1]}\n" for message in messages)
