"""What the commands print: the contract's JSON, and tables for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from triage.domain.audit import AuditRecord
from triage.domain.finding import WorklistStatus
from triage.domain.intended_use import INTENDED_USE
from triage.domain.notice import DEMONSTRATION
from triage.domain.worklist import WorklistRow
from triage.domain.worklist_json import instant
from triage.store.audit import UNREADABLE, AuditRow

_STYLE = {
    WorklistStatus.SUSPECTED: "bold red",
    WorklistStatus.PENDING: "yellow",
    WorklistStatus.NOT_ANALYSED: "bold magenta",
    WorklistStatus.NOT_SUSPECTED: "dim",
}


def print_json(value: object) -> None:
    """Print one JSON value to standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def worklist_table(rows: Iterable[WorklistRow], now: datetime) -> Table:
    """The list as a radiologist reads it, top first."""
    rows = list(rows)
    demonstration = f"{DEMONSTRATION} " if any(row.demonstration for row in rows) else ""
    table = Table(title="Worklist", caption=f"{demonstration}{INTENDED_USE}", expand=False)
    for heading, justify in (
        ("status", "left"),
        ("urgency", "left"),
        ("score", "right"),
        ("subtypes (p, ml)", "left"),
        ("ml", "right"),
        ("waiting", "right"),
        ("accession", "left"),
        ("study", "left"),
        ("objects", "left"),
    ):
        table.add_column(heading, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(
            _status(row),
            row.urgency.value if row.status is WorklistStatus.SUSPECTED else "",
            f"{row.score:.2f}" if row.score is not None else "",
            _subtypes(row),
            f"{row.total_volume_ml:.1f}" if row.total_volume_ml is not None else "",
            _duration((now - row.received_at).total_seconds()),
            row.accession_number,
            row.study_instance_uid,
            "\n".join(f"{o.kind} {o.state} ({o.destination})" for o in row.objects),
        )
    return table


def _status(row: WorklistRow) -> Text:
    text = (
        row.status.value
        + (f": {row.reason.value}" if row.reason else "")
        + (" (provisional)" if row.provisional else "")
        + (", demonstration" if row.demonstration else "")
    )
    return Text(text, style=_STYLE[row.status])


def _subtypes(row: WorklistRow) -> str:
    if row.status is not WorklistStatus.SUSPECTED:
        return ""
    named = [(s, f) for s, f in row.subtypes.items() if f.volume_ml > 0 or f.probability >= 0.5]
    return "\n".join(f"{s.value} {f.probability:.2f} {f.volume_ml:.1f}" for s, f in named)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def plain_table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table of text."""
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def detail_text(detail: Mapping[str, object]) -> str:
    """An audit row's facts on one line."""
    return " ".join(f"{key}={value}" for key, value in detail.items() if value is not None)


def console() -> Console:
    """Standard output, as wide as the terminal; wide enough for a UID when it is no terminal."""
    found = Console()
    return found if found.is_terminal else Console(width=200)


def audit_table(rows: Iterable[AuditRow]) -> Table:
    """Audit rows, oldest first."""
    return plain_table(
        "Audit log",
        ("no.", "at", "actor", "action", "outcome", "study", "detail"),
        (
            (
                str(r.sequence),
                instant(r.event.at) or "",
                r.event.actor,
                r.event.action.value,
                r.event.outcome.value,
                r.event.study_instance_uid or "",
                detail_text(r.event.detail),
            )
            if isinstance(r, AuditRecord)
            else (str(r.sequence), "", "", "", "", "", UNREADABLE)
            for r in rows
        ),
    )


def print_study(row: WorklistRow, told: Mapping[str, Any], now: datetime) -> None:
    """One study for a person: its row, then series, objects, deliveries and timeline."""
    out = console()
    out.print(worklist_table([row], now))
    if row.key_slice is not None:
        out.print(f"Key slice: image {row.key_slice.index + 1} from below, {row.key_slice.sop_instance_uid}")
    for title, key, headings in (
        ("Series", "series", ("series_instance_uid", "state", "revision", "instances", "reason", "detail")),
        ("Objects", "objects", ("kind", "sop_instance_uid", "file")),
        ("Deliveries", "deliveries", ("kind", "destination", "state", "attempt", "error")),
    ):
        if told[key]:
            out.print(plain_table(title, headings, ([str(item[h] or "") for h in headings] for item in told[key])))
    out.print(
        plain_table(
            "Timeline",
            ("at", "actor", "action", "detail"),
            ((e["at"], e["actor"], e["action"], detail_text(e["detail"])) for e in told["timeline"]),
        )
    )
