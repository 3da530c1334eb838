"""The statistics page, and the same studies one a line as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from enum import IntEnum

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, StreamingResponse

from triage.domain.audit import AuditAction, AuditEvent, Detail
from triage.domain.figures import FEWEST, FIRST_STUDIES, OPENED_EDGES_MINUTES, SHIFT_NAMES, Comparison, SiteFigures
from triage.domain.finding import WorklistStatus
from triage.domain.reading import Verdict
from triage.services.figures import WINDOWS_DAYS
from triage.store import figures
from triage.store.figures import ExportedStudy
from triage.web.access import Reader
from triage.web.desk import Desk, DeskDep
from triage.web.page import page
from triage.web.plots import Plot, paired_bars, percent, rates

router = APIRouter()

EXPORT_CHUNK = 2000

STATUSES = (
    (WorklistStatus.SUSPECTED, "flagged (suspected)"),
    (WorklistStatus.NOT_SUSPECTED, "not flagged (not suspected)"),
    (WorklistStatus.NOT_ANALYSED, "not analysed"),
    (WorklistStatus.PENDING, "pending"),
)

_LEADS_TO_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


class Days(IntEnum):
    """How far back the statistics look."""

    WEEK = 7
    MONTH = 30
    QUARTER = 90


@router.get("/statistics", response_class=HTMLResponse)
def statistics(request: Request, desk: DeskDep, person: Reader, days: Days = Days.MONTH) -> HTMLResponse:
    """Show what a site must know about its use of the analysis."""
    found = desk.ledger.statistics(int(days), desk.clock())
    return page(
        request,
        "statistics.html",
        person,
        days=int(days),
        windows=WINDOWS_DAYS,
        found=found,
        site=found.figures,
        statuses=STATUSES,
        verdicts=list(Verdict),
        flagged=WorklistStatus.SUSPECTED,
        unflagged=WorklistStatus.NOT_SUSPECTED,
        percent=percent,
        fewest=FEWEST,
        first_studies=FIRST_STUDIES,
        shift_names=SHIFT_NAMES,
        opened_labels=opened_labels(),
        daily_plot=_daily_plot(found.figures),
        opened_plot=_opened_plot(found.figures),
        score_plot=_score_plot("scores", found.scores) if found.scores else None,
        made_plot=_score_plot("made", found.made) if found.made else None,
    )


@router.get("/statistics.csv")
def statistics_csv(desk: DeskDep, person: Reader, days: Days = Days.MONTH) -> StreamingResponse:
    """Export the studies of the window, one a line, without patient data; who did it and how many are audited."""
    until = desk.clock()
    since = figures.start_of((until - timedelta(days=int(days) - 1)).date())
    with desk.db.transaction() as tx:
        rows = figures.count_received(tx, since, until)
        detail: dict[str, Detail] = {"what": "statistics.csv", "days": int(days), "rows": rows}
        tx.audit(AuditEvent(at=until, actor=person.name, action=AuditAction.EXPORTED, detail=detail))
    name = f"ich-triage-studies-{since:%Y%m%d}-{until:%Y%m%d}.csv"
    return StreamingResponse(
        _csv_lines(desk, since, until),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def cell(value: object) -> str:
    """A value as a spreadsheet may safely read it: text from elsewhere never begins a formula."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    text = str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(_LEADS_TO_FORMULA) else text


def opened_labels() -> list[str]:
    """Names of the bins of the time to open."""
    edges = [_minutes(edge) for edge in OPENED_EDGES_MINUTES[1:-1]]
    return [*(f"< {edge}" for edge in edges), f"> {edges[-1]}"]


def _minutes(edge: float) -> str:
    return f"{edge:.0f} min" if edge < 60 else f"{edge / 60:.0f} h"


def _csv_lines(desk: Desk, since: datetime, until: datetime) -> Iterator[str]:
    """Lines in pieces, each read in a transaction of its own: a slow download holds nothing open."""
    yield _written([ExportedStudy._fields])
    last: ExportedStudy | None = None
    while True:
        with desk.db.read() as tx:
            rows = figures.export(tx, since, until, after=last, most=EXPORT_CHUNK)
        if rows:
            yield _written([[cell(value) for value in row] for row in rows])
        if len(rows) < EXPORT_CHUNK:
            return
        last = rows[-1]


def _written(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _daily_plot(site: SiteFigures) -> Plot:
    positive = site.positive
    days = [(day.isoformat(), share.value, share.interval, share.n) for day, share in site.by_day]
    text = (
        f"Share of analysed studies that were flagged, by day from {site.first} to {site.last}, with 95 % intervals; "
        f"over all days {positive.count} of {positive.n}, {percent(positive.value) or 'none analysed'}. "
        "Bars below: analysed studies of the day."
    )
    return rates("daily", "Flagged studies by day", text, days)


def _opened_plot(site: SiteFigures) -> Plot:
    parts = {status: _shares(counts) for status, counts in site.opened_counts.items()}
    text = "Share of the studies that were opened, by how long after their first instance a reader opened them."
    return paired_bars(
        "opened",
        "Time until a study was opened",
        text,
        opened_labels(),
        ("flagged", parts[WorklistStatus.SUSPECTED]),
        ("not flagged", parts[WorklistStatus.NOT_SUSPECTED]),
    )


def _score_plot(name: str, scores: Comparison) -> Plot:
    text = f"Share of the {scores.n} scores of this window in each bin, beside {scores.against}."
    labels = [label.split()[0] for label in scores.labels]
    return paired_bars(
        name,
        f"Scores, and {scores.against}",
        text,
        labels,
        ("this window", _shares(scores.counts)),
        ("compared with", list(scores.shares)),
    )


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts)
    return [count / total if total else 0.0 for count in counts]
