"""What goes into a column comes out as it was, on both databases."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stores import NOW, STUDY, header, receive, result
from triage.domain.finding import SUBTYPES, ReasonCode, TriageResult
from triage.domain.study import FrameGeometry, InstanceHeader
from triage.store import instances, studies
from triage.store.codec import (
    header_json,
    header_of,
    key_slice_json,
    key_slice_of,
    result_columns,
    subtypes_json,
    subtypes_of,
)
from triage.store.db import Database
from triage.store.schema import studies as table
from triage.store.types import Named, clean

ZONE = timezone(timedelta(hours=5, minutes=45))
numbers = st.floats(allow_nan=False)
triples = st.tuples(numbers, numbers, numbers)
frames = st.builds(
    FrameGeometry,
    position_mm=triples,
    orientation=st.tuples(*[numbers] * 6),
    thickness_mm=st.none() | numbers,
)
headers = st.builds(
    InstanceHeader,
    sop_instance_uid=st.just("1.2"),
    sop_class_uid=st.just("1.3"),
    series_instance_uid=st.just("1.4"),
    study_instance_uid=st.just("1.5"),
    transfer_syntax_uid=st.just("1.6"),
    image_type=st.lists(st.text()).map(tuple),
    kernel=st.text(),
    series_number=st.none() | st.integers(),
    pixel_spacing_mm=st.none() | st.tuples(numbers, numbers),
    frames=st.lists(frames, max_size=3).map(tuple),
)


@given(headers)
def test_a_header_comes_back_as_it_was(given_header: InstanceHeader) -> None:
    text = json.dumps(header_json(given_header), allow_nan=False)
    assert header_of(json.loads(text)) == given_header


def test_a_position_that_is_no_number_stays_one() -> None:
    odd = header(frames=(FrameGeometry((math.nan, math.inf, -math.inf), (1, 0, 0, 0, 1, 0), None),))
    text = json.dumps(header_json(odd), allow_nan=False)
    (frame,) = header_of(json.loads(text)).frames
    assert math.isnan(frame.position_mm[0])
    assert frame.position_mm[1:] == (math.inf, -math.inf)


def test_a_header_of_a_later_release_can_be_read() -> None:
    assert header_of({**header_json(header()), "field_of_tomorrow": 1}) == header()


@pytest.mark.parametrize("provisional", [True, False])
def test_a_result_comes_back_as_it_was(provisional: bool) -> None:
    from triage.store.codec import result_of

    class Row:
        def __init__(self, columns: dict[str, Any]) -> None:
            self.__dict__ = columns

    given_result = result(0.75, provisional=provisional)
    columns = json.loads(json.dumps(result_columns(given_result)))
    assert result_of(Row(columns)) == given_result
    assert columns["status"] == "suspected"


def test_findings_and_key_slice_come_back_as_they_were() -> None:
    given_result: TriageResult = result()
    assert subtypes_of(subtypes_json(given_result.subtypes)) == given_result.subtypes
    assert list(subtypes_json(given_result.subtypes)) == [subtype.value for subtype in SUBTYPES]
    assert key_slice_of(key_slice_json(given_result.key_slice)) == given_result.key_slice
    assert key_slice_of(key_slice_json(None)) is None


def test_a_header_that_no_database_likes_is_stored_all_the_same(database: Database) -> None:
    odd = {
        "series_description": "Kopf \x00 \ud800 頭部",
        "accession_number": "A\x001",
        "frames": (FrameGeometry((math.inf, 0.0, 0.0), (1, 0, 0, 0, 1, 0), None),),
    }
    with database.transaction() as tx:
        receive(tx, **odd)
    with database.read() as tx:
        stored = instances.find(tx, header().sop_instance_uid)
        accession_number = tx.connection.execute(table.select()).one().accession_number
    assert stored is not None
    assert stored.header == header(**odd)
    assert accession_number == "A?1"


@pytest.mark.parametrize("moment", [NOW, NOW.astimezone(ZONE), datetime(2026, 6, 1, tzinfo=UTC)])
def test_an_instant_comes_back_as_the_same_instant_in_utc(database: Database, moment: datetime) -> None:
    with database.transaction() as tx:
        studies.lock(tx, STUDY, now=moment)
    with database.read() as tx:
        stored = tx.connection.execute(table.select()).one().received_at
    assert stored == moment
    assert stored.utcoffset() == timedelta(0)


def test_instants_are_ordered_as_in_time_and_not_as_text(database: Database) -> None:
    early, late = NOW.replace(microsecond=0), NOW.replace(microsecond=1).astimezone(ZONE)
    with database.transaction() as tx:
        studies.lock(tx, "1.1", now=early)
        studies.lock(tx, "1.2", now=late)
    with database.read() as tx:
        after = tx.connection.execute(table.select().where(table.c.received_at > early)).scalars().all()
    assert after == ["1.2"]


@given(st.text(st.characters()))
def test_cleaned_text_can_be_encoded_and_keeps_what_was_good(text: str) -> None:
    cleaned = clean(text)
    assert "\x00" not in cleaned
    assert len(cleaned) == len(text)
    assert cleaned.encode("utf-8").decode("utf-8") == cleaned
    if "\x00" not in text and not any("\ud800" <= c <= "\udfff" for c in text):
        assert cleaned == text


def test_a_value_outside_the_closed_set_is_no_reason() -> None:
    kind = Named(ReasonCode)
    dialect: Any = None
    assert kind.process_bind_param(ReasonCode.GAP, dialect) == "gap"
    assert kind.process_result_value("gap", dialect) is ReasonCode.GAP
    assert kind.process_result_value(None, dialect) is None
    with pytest.raises(ValueError, match="nonsense"):
        kind.process_result_value("nonsense", dialect)
