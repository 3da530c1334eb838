"""Every act is told to the audit repository as DICOM PS3.15 A.5 wants it, or is deliberately not told."""

from __future__ import annotations

from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from tests.audit_trail import REPORTER, SAMPLES, SENT, TRANSFER, detail, parsed, record, samples
from tests.stores import NOW, STUDY
from triage.domain.audit import AuditAction, AuditRecord, Outcome
from triage.domain.audit_message import MOST_BYTES, AuditMessage, Code, Participant, encode
from triage.services.audit_messages import INTERNAL, TOLD, audit_messages


def roots(told: AuditRecord, after: int | None = None) -> list[etree._Element]:
    return [parsed(encode(message)) for message in audit_messages(told, REPORTER, after)]


def root(told: AuditRecord) -> etree._Element:
    (only,) = roots(told)
    return only


def told_of(action: AuditAction, **changes: object) -> etree._Element:
    return root(record(action, **{**SAMPLES[action], **changes}))


def event(message: etree._Element) -> tuple[str, ...]:
    """Event, its types, action and outcome."""
    head = message.find("EventIdentification")
    codes = [e.get("csd-code") for e in head if e.tag in ("EventID", "EventTypeCode")]
    return (*codes, head.get("EventActionCode"), head.get("EventOutcomeIndicator"))


def roles(message: etree._Element) -> list[tuple[str, str | None, str]]:
    return [
        (p.get("UserID"), next((r.get("csd-code") for r in p.findall("RoleIDCode")), None), p.get("UserIsRequestor"))
        for p in message.findall("ActiveParticipant")
    ]


def objects(message: etree._Element) -> list[tuple[str, str, str]]:
    return [
        (
            o.get("ParticipantObjectID"),
            o.get("ParticipantObjectTypeCodeRole"),
            o.find("ParticipantObjectIDTypeCode").get("csd-code"),
        )
        for o in message.findall("ParticipantObjectIdentification")
    ]


def test_every_action_is_told_or_internal_for_a_reason() -> None:
    assert TOLD | set(INTERNAL) == set(AuditAction)
    assert not TOLD & set(INTERNAL)
    assert all(INTERNAL.values())
    assert set(SAMPLES) == set(AuditAction)


def test_every_message_is_valid_by_the_schema_of_the_standard() -> None:
    seen = set()
    for told in samples():
        messages = roots(told, after=3)
        assert bool(messages) is (told.event.action in TOLD) or told.event.action is AuditAction.DELIVERY_MOVED
        seen |= {event(message)[0] for message in messages}
    assert seen == {"110100", "110101", "110103", "110104", "110105", "110106", "110112", "110113", "110114"}


def test_the_schema_refuses_what_the_standard_does() -> None:
    """The judge itself is awake."""
    good = told_of(AuditAction.LOGIN)
    for spoil in (
        lambda r: r.find("EventIdentification").set("EventOutcomeIndicator", "5"),
        lambda r: r.remove(r.find("AuditSourceIdentification")),
        lambda r: r.find("ActiveParticipant").attrib.pop("UserID"),
        lambda r: r.append(r.find("EventIdentification")),
        lambda r: r.find("EventIdentification").set("EventDateTime", "yesterday"),
    ):
        bad = etree.fromstring(etree.tostring(good))
        spoil(bad)
        with pytest.raises(etree.DocumentInvalid):
            parsed(etree.tostring(bad))


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (AuditAction.SERVICE_STARTED, ("110100", "110120", "E", "0")),
        (AuditAction.SERVICE_STOPPED, ("110100", "110121", "E", "0")),
        (AuditAction.SETTINGS_RECORDED, ("110113", "110131", "E", "0")),
        (AuditAction.BUNDLE_CHOSEN, ("110113", "110131", "E", "0")),
        (AuditAction.ASSOCIATION_REFUSED, ("110113", "110126", "E", "0")),
        (AuditAction.INSTANCE_CONFLICT, ("110113", "110132", "E", "0")),
        (AuditAction.INSTANCE_RESTORED, ("110104", "C", "0")),
        (AuditAction.INSTANCE_IGNORED, ("110104", "R", "0")),
        (AuditAction.FILES_REMOVED, ("110105", "D", "0")),
        (AuditAction.RESULT_RECORDED, ("110103", "R", "0")),
        (AuditAction.AUDIT_READ, ("110101", "R", "0")),
        (AuditAction.LOGIN, ("110114", "110122", "E", "0")),
        (AuditAction.LOGIN_FAILED, ("110114", "110122", "E", "0")),
        (AuditAction.LOGOUT, ("110114", "110123", "E", "0")),
        (AuditAction.ACCESS_REFUSED, ("110113", "110132", "E", "0")),
        (AuditAction.ACCOUNT_CHANGED, ("110113", "110137", "E", "0")),
        (AuditAction.STUDY_OPENED, ("110103", "R", "0")),
        (AuditAction.STUDY_JUDGED, ("110103", "R", "0")),
        (AuditAction.EXPORTED, ("110106", "R", "0")),
        (AuditAction.WORKLIST_QUERIED, ("110112", "E", "0")),
    ],
)
def test_each_act_is_the_event_that_the_standard_has_for_it(action: AuditAction, expected: tuple[str, ...]) -> None:
    assert event(told_of(action)) == expected


def test_outcomes_are_those_of_the_row_with_the_reason_of_a_failure() -> None:
    failed = told_of(AuditAction.LOGIN_FAILED, outcome=Outcome.MINOR_FAILURE)
    assert event(failed)[-1] == "4"
    assert failed.findtext("EventIdentification/EventOutcomeDescription") == "wrong password"
    assert event(told_of(AuditAction.LOGIN_FAILED, outcome=Outcome.SERIOUS_FAILURE))[-1] == "8"
    assert told_of(AuditAction.LOGIN).find("EventIdentification/EventOutcomeDescription") is None


def test_the_time_is_that_of_the_row_in_utc() -> None:
    there = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    message = told_of(AuditAction.LOGIN, at=there)
    assert message.find("EventIdentification").get("EventDateTime") == "2026-11-20T08:00:00.123456Z"


def test_an_association_that_ended_cleanly_is_one_message_about_its_study() -> None:
    message = told_of(AuditAction.INSTANCES_RECEIVED)
    assert event(message) == ("110104", "C", "0")
    assert roles(message) == [("CT1", "110153", "true"), ("triage1", "110152", "false")]
    caller, us = message.findall("ActiveParticipant")
    assert caller.get("AlternativeUserID") == "AETITLES=CT1"
    assert (caller.get("NetworkAccessPointID"), caller.get("NetworkAccessPointTypeCode")) == ("192.0.2.8", "2")
    assert (us.get("AlternativeUserID"), us.get("NetworkAccessPointTypeCode")) == ("AETITLES=ICHTRIAGE", "1")
    assert objects(message) == [(STUDY, "3", "110180")]
    assert message.find(".//SOPClass").get("NumberOfInstances") == "30"


def test_mixed_results_are_two_messages() -> None:
    fields = {**SAMPLES[AuditAction.INSTANCES_RECEIVED], "outcome": Outcome.MINOR_FAILURE}
    brought, broke = roots(record(AuditAction.INSTANCES_RECEIVED, **fields))
    assert (event(brought), event(broke)) == (("110104", "C", "0"), ("110104", "C", "4"))
    assert brought.find(".//SOPClass").get("NumberOfInstances") == "30"
    assert broke.find(".//SOPClass") is None
    assert "aborted" in broke.findtext("EventIdentification/EventOutcomeDescription")
    assert [detail(message, "part") for message in (brought, broke)] == ["1/2", "2/2"]


@pytest.mark.parametrize(
    ("start", "to", "outcome", "expected"),
    [
        ("pending", "sending", Outcome.SUCCESS, ("110102", "E", "0")),
        ("sending", "delivered", Outcome.SUCCESS, ("110104", "R", "0")),
        ("sending", "pending", Outcome.MINOR_FAILURE, ("110104", "R", "4")),
        ("sending", "failed", Outcome.SERIOUS_FAILURE, ("110104", "R", "8")),
    ],
)
def test_a_delivery_is_told_from_its_beginning_to_its_end(
    start: str, to: str, outcome: Outcome, expected: tuple[str, ...]
) -> None:
    moved = {**SENT, "from": start, "to": to, "reason": "no answer" if outcome is not Outcome.SUCCESS else None}
    message = told_of(AuditAction.DELIVERY_MOVED, detail=moved, outcome=outcome)
    assert event(message) == expected
    assert roles(message) == [("h/1/send", "110153", "true"), ("pacs", "110152", "false")]
    assert detail(message, "SOPInstanceUID") == "2.25.77"


@pytest.mark.parametrize(
    "moved",
    [
        {"from": "delivered", "to": "committed"},
        {"from": "failed", "to": "pending"},
        {"kind": "ORU", "from": "sending", "to": "delivered"},
    ],
)
def test_moves_that_send_no_instance_are_internal(moved: dict[str, str]) -> None:
    assert roots(record(AuditAction.DELIVERY_MOVED, **TRANSFER, detail={**SENT, **moved})) == []


def test_looking_at_the_log_names_person_process_and_log() -> None:
    message = told_of(AuditAction.AUDIT_READ)
    assert roles(message) == [("ada@triage1", None, "true"), ("triage1", None, "false")]
    assert objects(message) == [("ich-triage://triage1/audit", "13", "12")]
    assert message.findtext(".//ParticipantObjectName") == "Security Audit Log"


def test_an_application_starts_under_the_name_that_our_logs_give_it() -> None:
    assert roles(told_of(AuditAction.SERVICE_STARTED)) == [("h/1/listen", "110150", "false")]


def test_an_alert_describes_itself_and_nobody_who_did_it_asked_for_it() -> None:
    message = told_of(AuditAction.ASSOCIATION_REFUSED, outcome=Outcome.MINOR_FAILURE)
    assert roles(message) == [("triage1", None, "false"), ("EVIL", None, "false")]
    assert objects(message) == [("192.0.2.8", "13", "110182")]
    assert detail(message, "Alert Description").startswith("association refused: why not let in")


def test_a_login_names_where_from() -> None:
    person = told_of(AuditAction.LOGIN).find("ActiveParticipant")
    assert (person.get("NetworkAccessPointID"), person.get("NetworkAccessPointTypeCode")) == ("192.0.2.7", "2")
    assert person.get("AlternativeUserID") == "ada"


def test_an_export_names_person_process_and_medium() -> None:
    message = told_of(AuditAction.EXPORTED)
    assert [role for _, role, _ in roles(message)] == ["110153", "110153", "110154"]
    assert message.find(".//MediaType").get("csd-code") == "110037"


def test_a_query_names_who_asked_and_of_what_class_and_nothing_that_was_asked_for() -> None:
    message = told_of(AuditAction.WORKLIST_QUERIED)
    assert roles(message) == [("WORKSTATION", "110153", "true"), ("triage1", "110152", "false")]
    assert objects(message) == [("1.2.840.10008.5.1.4.34.6.3", "3", "110181")]
    assert (detail(message, "questions"), detail(message, "answers")) == ("2", "30")
    assert message.find(".//ParticipantObjectQuery") is None


def test_each_message_names_its_row_and_the_row_told_before() -> None:
    for action in TOLD - {AuditAction.DELIVERY_MOVED}:
        (message, *_) = roots(record(action, 41, **SAMPLES[action]), after=39)
        assert (detail(message, "sequence"), detail(message, "after")) == ("41", "39")
        assert detail(message, "digest") == f"{41:064x}"
    assert detail(told_of(AuditAction.LOGIN), "after") is None


def test_the_source_is_named_with_its_site() -> None:
    source = told_of(AuditAction.LOGIN).find("AuditSourceIdentification")
    assert (source.get("AuditSourceID"), source.get("AuditEnterpriseSiteID")) == ("triage1", "General Hospital")


def test_no_message_has_a_person_as_its_object() -> None:
    for told in samples():
        for message in roots(told):
            assert not message.xpath("//ParticipantObjectIdentification[@ParticipantObjectTypeCode='1']")


@given(actor=st.text(min_size=1), why=st.text(), address=st.text())
def test_whatever_a_peer_calls_itself_gives_a_valid_message(actor: str, why: str, address: str) -> None:
    told = record(AuditAction.ASSOCIATION_REFUSED, actor=actor, detail={"why": why, "address": address})
    for outcome in (Outcome.SUCCESS, Outcome.MINOR_FAILURE):
        (message,) = audit_messages(AuditRecord(1, "", "", _with(told, outcome)), REPORTER)
        parsed(encode(message))


def _with(told: AuditRecord, outcome: Outcome) -> object:
    import dataclasses

    return dataclasses.replace(told.event, outcome=outcome)


def test_text_stays_text() -> None:
    hostile = '"><AuditMessage/>&amp; =cmd|\x00\x1b\r\n'
    message = told_of(AuditAction.ASSOCIATION_REFUSED, actor=hostile, outcome=Outcome.MINOR_FAILURE)
    assert '"><AuditMessage/>&amp; =cmd|??' in message.findall("ActiveParticipant")[1].get("UserID")


@pytest.mark.parametrize("text", ["x" * 500_000, "&" * 50_000, "頭" * 30_000, "\U0001f600" * 30_000, "\x00" * 40_000])
def test_no_message_is_longer_than_every_repository_takes(text: str) -> None:
    (message,) = audit_messages(
        record(AuditAction.LOGIN_FAILED, actor=text, outcome=Outcome.MINOR_FAILURE, detail={"why": text}), REPORTER
    )
    content = encode(message)
    assert len(content) <= MOST_BYTES
    assert parsed(content).findtext("EventIdentification/EventOutcomeDescription").endswith("...")


def test_a_message_is_one_line_of_utf8() -> None:
    (message,) = audit_messages(record(AuditAction.LOGIN, actor="Jörg", detail={"address": "::1"}), REPORTER)
    content = encode(message)
    assert b"\n" not in content
    assert "Jörg@triage1" in content.decode("utf-8")
    several = {"why": "first\r\nsecond\nthird", "address": "a\nb"}
    (message,) = audit_messages(
        record(AuditAction.LOGIN_FAILED, outcome=Outcome.MINOR_FAILURE, detail=several), REPORTER
    )
    content = encode(message)
    assert b"\n" not in content
    assert parsed(content).findtext("EventIdentification/EventOutcomeDescription") == "first second third"


@pytest.mark.parametrize(
    "changes", [{"action": "X"}, {"outcome": 5}, {"participants": ()}, {"at": NOW.replace(tzinfo=None)}]
)
def test_a_message_that_the_standard_does_not_know_is_refused(changes: dict[str, object]) -> None:
    right = {
        "event": Code("110114", "User Authentication"),
        "action": "E",
        "at": NOW,
        "outcome": 0,
        "participants": (Participant("ada", True),),
        "source_id": "triage1",
    }
    AuditMessage(**right)
    with pytest.raises(ValueError, match=r"event of PS3|participant|aware"):
        AuditMessage(**{**right, **changes})


def test_only_one_participant_asked_for_it() -> None:
    for told in samples():
        for message in roots(told):
            assert [requestor for _, _, requestor in roles(message)].count("true") <= 1
