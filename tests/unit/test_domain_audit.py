"""The audit chain: the same event gives the same digest, and every change of any part gives another."""

from __future__ import annotations

import dataclasses
import math
from datetime import UTC, datetime, timedelta, timezone

import pytest

from triage.domain.audit import (
    GENESIS,
    AuditAction,
    AuditEvent,
    LaterAction,
    Outcome,
    action_named,
    chain_digest,
    row_digest,
)

AT = datetime(2024, 5, 1, 12, 30, 0, 123456, tzinfo=UTC)
EVENT = AuditEvent(
    at=AT,
    actor="PACS",
    action=AuditAction.INSTANCES_RECEIVED,
    study_instance_uid="1.2.3",
    series_instance_uid="1.2.4",
    sop_instance_uid="1.2.5",
    detail={"count": 28, "reason": "gap"},
)


def test_the_digest_is_fixed_for_ever() -> None:
    """A stored chain must verify with every later release; this value was written down once."""
    assert chain_digest(GENESIS, 1, EVENT) == "67f532b6c156d9fc02126fffd2ba19309f73788d666e083147df4b903b2a2d07"


@pytest.mark.parametrize(
    "changes",
    [
        {"at": AT + timedelta(microseconds=1)},
        {"actor": "pacs"},
        {"action": AuditAction.INSTANCE_REFUSED},
        {"outcome": Outcome.MINOR_FAILURE},
        {"study_instance_uid": None},
        {"study_instance_uid": ""},
        {"series_instance_uid": "1.2.3"},
        {"sop_instance_uid": "1.2.50"},
        {"detail": {"count": 27, "reason": "gap"}},
        {"detail": {"count": "28", "reason": "gap"}},
        {"detail": {"count": 28}},
        {"detail": {}},
    ],
)
def test_no_part_of_an_event_can_change_unseen(changes: dict[str, object]) -> None:
    changed = dataclasses.replace(EVENT, **changes)  # type: ignore[arg-type]
    assert chain_digest(GENESIS, 1, changed) != chain_digest(GENESIS, 1, EVENT)


def test_place_and_past_are_part_of_the_digest() -> None:
    first = chain_digest(GENESIS, 1, EVENT)
    assert chain_digest(GENESIS, 2, EVENT) != first
    assert chain_digest(first, 1, EVENT) != first


def test_the_order_of_details_and_the_time_zone_do_not_matter() -> None:
    same = dataclasses.replace(
        EVENT, detail={"reason": "gap", "count": 28}, at=AT.astimezone(timezone(timedelta(hours=5, minutes=30)))
    )
    assert chain_digest(GENESIS, 1, same) == chain_digest(GENESIS, 1, EVENT)


def test_a_whole_second_is_written_like_any_other_instant() -> None:
    whole = dataclasses.replace(EVENT, at=AT.replace(microsecond=0))
    again = dataclasses.replace(EVENT, at=datetime.fromisoformat(whole.at.isoformat()))
    assert chain_digest(GENESIS, 1, whole) == chain_digest(GENESIS, 1, again)


def test_text_in_any_script_has_a_digest() -> None:
    for text in ("Größe", "頭部", "\udcff", "line\nbreak", '"quoted"'):
        assert len(chain_digest(GENESIS, 1, dataclasses.replace(EVENT, detail={"text": text}))) == 64


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        dataclasses.replace(EVENT, at=datetime(2024, 5, 1))  # noqa: DTZ001


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_cannot_hold_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        dataclasses.replace(EVENT, detail={"score": number})


def test_what_is_stored_has_the_digest_of_the_event() -> None:
    stored = {field.name: getattr(EVENT, field.name) for field in dataclasses.fields(EVENT)}
    assert row_digest(GENESIS, 1, {**stored, "action": "instances_received", "outcome": "success"}) == chain_digest(
        GENESIS, 1, EVENT
    )


def test_an_act_of_a_later_release_has_a_name_like_any_other() -> None:
    assert action_named("login") is AuditAction.LOGIN
    later = action_named("study_deleted")
    assert isinstance(later, LaterAction)
    assert (later.value, later) == ("study_deleted", "study_deleted")
    for name in ("", "Login", "<script>", "a b", "study_"):
        with pytest.raises(ValueError, match="small letters"):
            action_named(name)


def test_genesis_looks_like_a_digest() -> None:
    assert len(GENESIS) == len(chain_digest(GENESIS, 1, EVENT))
