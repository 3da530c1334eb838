"""The worklist: which study to open next, and why."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from triage.domain.finding import Urgency, WorklistStatus
from triage.domain.reading import Verdict
from triage.store import reading_list
from triage.web.access import Reader
from triage.web.desk import Desk, DeskDep
from triage.web.page import page
from triage.web.patients import patients_of
from triage.web.streams import lately_flagged, latest_changes
from triage.web.worklist_query import LONGEST_SEARCH, SPANS, Asked
from triage.web.worklist_rows import STATUS_MEANS, STATUS_WORDS, lines

router = APIRouter()

STUDIES_OF_A_PAGE: Final = 25


@router.get("/", response_class=HTMLResponse)
def worklist(request: Request, desk: DeskDep, person: Reader) -> HTMLResponse:
    """Show the list, the first study to be read first."""
    asked = Asked.of(request.query_params)
    return page(
        request,
        "worklist.html",
        person,
        **_rows(desk, asked),
        urgencies=[urgency for urgency in Urgency if urgency is not Urgency.NONE],
        verdicts=list(Verdict),
        longest_search=LONGEST_SEARCH,
    )


@router.get("/worklist/rows", response_class=HTMLResponse)
def rows(request: Request, desk: DeskDep, person: Reader) -> HTMLResponse:
    """The part of the page that changes: an open page asks for it again when it is told of news."""
    return page(request, "rows.html", person, **_rows(desk, Asked.of(request.query_params)))


def _rows(desk: Desk, asked: Asked) -> dict[str, Any]:
    now = desk.clock()
    wanted = asked.wanted(now)
    with desk.db.read() as tx:
        found = reading_list.page(tx, wanted, now, size=STUDIES_OF_A_PAGE, place=asked.place)
        counts = reading_list.counts(tx, wanted, now)
        last_received_at = reading_list.last_received_at(tx)
        # Opened ones too: the last look of the stream may be older than their opening, and tells of them again.
        flagged = lately_flagged(latest_changes(tx, now), now, opened=True)
        patients = patients_of(desk, tx, [study.row.study_instance_uid for study in found.studies])
    return {
        "asked": asked,
        "now": now,
        "lines": lines(found.studies, patients, now),
        "spans": SPANS,
        "tabs": [
            {
                "words": STATUS_WORDS[status],
                "means": STATUS_MEANS[status],
                "status": status,
                "count": counts[status],
                "query": asked.query(statuses=frozenset({status})),
                "chosen": asked.statuses == {status},
            }
            for status in (
                WorklistStatus.SUSPECTED,
                WorklistStatus.PENDING,
                WorklistStatus.NOT_ANALYSED,
                WorklistStatus.NOT_SUSPECTED,
            )
        ],
        "all_statuses": {
            "count": sum(counts.values()),
            "query": asked.query(statuses=frozenset()),
            "chosen": not asked.statuses,
        },
        "next_query": asked.query(place=found.next) if found.next else None,
        "previous_query": asked.query(place=found.previous) if found.previous else None,
        "first_query": asked.query(place=None) if asked.place else None,
        "last_received_at": last_received_at,
        "flagged": flagged,
    }
