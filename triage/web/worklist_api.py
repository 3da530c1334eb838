"""The worklist as JSON: the rows of the contract, page by page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from triage.domain.encoded import ObjectKind
from triage.domain.finding import ReasonCode, Subtype, Urgency, WorklistStatus
from triage.domain.lifecycle import DeliveryState
from triage.domain.reading import Verdict
from triage.domain.worklist_json import row_json
from triage.store import reading_list
from triage.store.reading_list import Place, Wanted
from triage.web.access import Caller
from triage.web.desk import DeskDep
from triage.web.worklist_query import LONGEST_SEARCH

router = APIRouter()

MOST_ROWS: Final = 1000
_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(2200, 1, 1, tzinfo=UTC)
"""No study came in before or comes after; instants at the very ends of the calendar cannot be turned into UTC."""


class SubtypeJson(BaseModel):
    """What was found of one subtype."""

    probability: float = Field(ge=0, le=1)
    volume_ml: float = Field(ge=0)


class KeySliceJson(BaseModel):
    """The slice to look at first: its instance, frame (from 1), and index in the sorted volume (from 0)."""

    sop_instance_uid: str
    frame_number: int
    index: int


class ObjectJson(BaseModel):
    """One result object at one destination."""

    kind: ObjectKind
    sop_instance_uid: str
    destination: str
    state: DeliveryState


class RowJson(BaseModel):
    """One study. A status other than ``suspected`` never means that there is no haemorrhage."""

    model_config = ConfigDict(extra="forbid")

    study_instance_uid: str
    series_instance_uid: str
    accession_number: str
    status: WorklistStatus
    provisional: bool
    reason: ReasonCode | None
    urgency: Urgency
    score: float | None
    subtypes: dict[Subtype, SubtypeJson]
    total_volume_ml: float | None
    key_slice: KeySliceJson | None
    received_at: datetime
    flagged_at: datetime | None
    bundle: str | None
    demonstration: bool = Field(description="The bundle that speaks in this row is for demonstration only.")
    objects: list[ObjectJson]


class WorklistQuery(BaseModel):
    """What is asked for; all of it must hold."""

    model_config = ConfigDict(extra="ignore")

    status: list[WorklistStatus] = Field([], description="Only these; may be given several times.")
    urgency: Urgency | None = None
    provisional: bool | None = None
    opened: bool | None = Field(None, description="Whether a radiologist has opened the study.")
    verdict: Verdict | None = None
    received_since: AwareDatetime | None = Field(None, description="ISO 8601 with its offset.")
    accession_number: str | None = Field(None, max_length=LONGEST_SEARCH, description="The whole number.")
    q: str = Field("", max_length=LONGEST_SEARCH, description="Beginning of an accession number or of a study UID.")
    limit: int = Field(100, ge=1, le=MOST_ROWS)
    cursor: str = Field(
        "",
        pattern=r"^([np]\.[0-5]\.[0-9]{1,16}\.[0-9.]{1,64})?$",
        description="Where to go on: taken from the Link header of the page before.",
    )


@router.get(
    "/api/worklist",
    response_model=list[RowJson],
    responses={
        200: {"headers": {"Link": {"description": 'rel="next": the following page.', "schema": {"type": "string"}}}}
    },
)
def worklist_as_json(
    desk: DeskDep, _caller: Caller, asked: Annotated[WorklistQuery, Query()], response: Response
) -> list[dict[str, Any]]:
    """List the studies, first to be read first. The ``Link`` header leads to the next page, if there is one."""
    wanted = Wanted(
        statuses=frozenset(asked.status),
        urgency=asked.urgency,
        provisional=asked.provisional,
        opened=asked.opened,
        verdict=asked.verdict,
        received_since=max(_FIRST, min(asked.received_since, _LAST)) if asked.received_since else None,
        accession_number=asked.accession_number,
        text=asked.q,
    )
    place = Place.parse(asked.cursor) if asked.cursor else None
    with desk.db.read() as tx:
        found = reading_list.page(tx, wanted, desk.clock(), size=asked.limit, place=place)
    if found.next is not None:
        given = asked.model_dump(mode="json", exclude_unset=True) | {"cursor": str(found.next)}
        response.headers["Link"] = f'</api/worklist?{urlencode(given, doseq=True)}>; rel="next"'
    return [row_json(study.row) for study in found.studies]
