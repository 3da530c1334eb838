"""The page of one study: open it, look at its slices, judge it, try again what failed; and the same as JSON."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Path, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field

from triage.domain.account import Person
from triage.domain.finding import WorklistStatus
from triage.domain.reading import NOTE_CHARACTERS, Verdict
from triage.services import read, view
from triage.services.tell import reading_json, study_json
from triage.web.access import Caller, Reader
from triage.web.desk import Desk, DeskDep
from triage.web.page import STOP_POLLING, page
from triage.web.pictures import known_uid
from triage.web.study_page import reading_values, study_values

router = APIRouter()

SEEN_CHARACTERS: Final = 200

StudyUid = Annotated[str, Path(max_length=64)]
Seen = Annotated[str, Query(max_length=SEEN_CHARACTERS)]
Note = Annotated[str, Form(max_length=NOTE_CHARACTERS)]

_ERRORS: dict[int | str, dict[str, Any]] = {
    404: {"description": "There is no such study."},
    409: {"description": "This does not go with the state of the study."},
}


class Judgement(BaseModel):
    """What a reader says of a study. The note must not name the patient."""

    verdict: Verdict
    note: str = Field("", max_length=NOTE_CHARACTERS)
    status: WorklistStatus | None = Field(
        None, description="What the list said to the reader. When it says something else by now, nothing is kept."
    )


@router.get("/study/{study_uid}")
def study(request: Request, desk: DeskDep, person: Reader, study_uid: StudyUid) -> Response:
    """Show a study; that it was opened is recorded."""
    read.open_study(desk.db, known_uid(study_uid), person, desk.clock())
    with desk.db.read() as tx:
        values = study_values(desk, tx, view.find(tx, study_uid), request.query_params)
    return page(request, "study.html", person, **values)


@router.get("/study/{study_uid}/now")
def now(request: Request, desk: DeskDep, person: Reader, study_uid: StudyUid, seen: Seen = "") -> Response:
    """Tell an open page whether the study has something else to show meanwhile; one that was told asks no more."""
    with desk.db.read() as tx:
        new = view.find(tx, known_uid(study_uid)).state != seen
    return page(
        request, "study_now.html", person, status_code=STOP_POLLING if new else 200, study_uid=study_uid, new=new
    )


@router.post("/study/{study_uid}/verdict")
def verdict(
    request: Request, desk: DeskDep, person: Reader, study_uid: StudyUid, verdict: Annotated[Verdict, Form()],
    note: Note = "", seen: Annotated[str, Form(max_length=SEEN_CHARACTERS)] = "",
) -> Response:  # fmt: skip
    """Judge a study by the form of its page."""
    read.judge(desk.db, known_uid(study_uid), verdict, note, person, desk.clock(), seen=seen)
    return _answer(request, desk, person, study_uid)


@router.post("/study/{study_uid}/retry")
def retry(desk: DeskDep, person: Reader, study_uid: StudyUid) -> Response:
    """Queue again what failed."""
    read.try_again(desk.db, known_uid(study_uid), person, desk.clock())
    return RedirectResponse(f"/study/{study_uid}#deliveries", 303)


@router.get("/api/studies/{study_uid}", responses=_ERRORS)
def study_as_json(desk: DeskDep, _caller: Caller, study_uid: StudyUid) -> dict[str, Any]:
    """Tell everything that is known of one study: findings, series, objects, deliveries, readings and timeline."""
    with desk.db.read() as tx:
        return study_json(tx, known_uid(study_uid))


@router.post("/api/studies/{study_uid}/verdict", responses=_ERRORS)
def verdict_as_json(desk: DeskDep, person: Reader, study_uid: StudyUid, judgement: Judgement) -> dict[str, Any]:
    """Judge a study: agree, partly or disagree with what the list says of it."""
    reading = read.judge(
        desk.db, known_uid(study_uid), judgement.verdict, judgement.note, person, desk.clock(),
        seen=judgement.status.value if judgement.status is not None else "",
    )  # fmt: skip
    return {"study_instance_uid": study_uid, **reading_json(reading)}


def _answer(request: Request, desk: Desk, person: Person, study_uid: str) -> Response:
    """The judgements anew where the page asked for a part of it; otherwise back to the page."""
    if request.headers.get("HX-Request") != "true":
        return RedirectResponse(f"/study/{study_uid}#reading", 303)
    with desk.db.read() as tx:
        return page(request, "study_reading.html", person, **reading_values(tx, view.find(tx, study_uid)))
