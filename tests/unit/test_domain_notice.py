"""What every list driver says: one status, one conclusion, and never a name in a log."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.notices import PATIENT, negative, not_analysed, notice, real, result
from triage.domain.finding import ReasonCode, Urgency, WorklistStatus
from triage.domain.notice import (
    DEMONSTRATION,
    NOTIFICATION_ONLY,
    Demographics,
    Escalation,
    PersonName,
    checked_mail_address,
    short_identifier,
)


@pytest.mark.parametrize(
    ("said", "status", "urgency", "suspected", "conclusion"),
    [
        (notice(), "suspected", "emergent", True, "Intracranial haemorrhage suspected: probability 0.970."),
        (notice(result=result(0.6)), "suspected", "urgent", True, "Intracranial haemorrhage suspected: "),
        (negative(), "not_suspected", "none", False, "Intracranial haemorrhage not suspected: probability 0.100."),
        (not_analysed(), "not_analysed", "none", False, "Not analysed (gap): this says nothing about"),
    ],
    ids=["emergent", "urgent", "negative", "not analysed"],
)
def test_one_status_and_one_conclusion(said, status, urgency, suspected, conclusion):
    assert (said.status, said.urgency, said.suspected) == (WorklistStatus(status), Urgency(urgency), suspected)
    assert said.conclusion.startswith(conclusion)


def test_every_message_says_what_it_is_for():
    assert notice().statements == (notice().conclusion, NOTIFICATION_ONLY, DEMONSTRATION)
    assert real(notice()).statements == (notice().conclusion, NOTIFICATION_ONLY)


def test_the_time_is_that_of_the_content():
    assert notice().at == notice().provenance.content_at
    assert notice().bundle == "demo-heads 1.2"


def test_nothing_of_the_patient_is_shown():
    shown = repr(notice()) + repr(PATIENT) + repr(PATIENT.name) + str(notice())

    assert not [value for value in ("Hara", "SYN|1", "19500102", "山田", "ACC") if value in shown]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"result": None}, "either a result or the reason"),
        ({"reason": ReasonCode.GAP}, "either a result or the reason"),
        ({"revision": -1}, "count from 0"),
    ],
)
def test_what_is_no_notice(changes, words):
    with pytest.raises(ValueError, match=words):
        notice(**changes)


def test_an_empty_name_is_none():
    assert not PersonName()
    assert PersonName(suffix="Jr")
    assert not Demographics().name


@given(st.text(min_size=1), st.text(min_size=1))
def test_short_identifiers_differ_where_the_long_ones_do(one, other):
    short = short_identifier(one)

    assert len(short) == 20
    assert short.isalnum()
    assert short.isascii()
    assert (short == short_identifier(other)) == (one == other)


def test_a_suspicion_that_nobody_opened_says_so_and_carries_the_time_when_it_was_due():
    due_at = notice().at + timedelta(minutes=15)
    again = notice(escalation=Escalation(15, due_at))
    assert again.at == due_at
    assert again.statements[:2] == (notice().conclusion, str(again.escalation))
    assert "15 min" in str(again.escalation)
    for quiet in (negative, not_analysed):
        with pytest.raises(ValueError, match="only a suspicion"):
            quiet(escalation=again.escalation)
    with pytest.raises(ValueError, match="at least a minute"):
        Escalation(0, due_at)


@pytest.mark.parametrize("address", ["ward@hospital.example", "o'hara+ct@b.example", "a@b"])
def test_an_address(address):
    assert checked_mail_address(address) == address


@pytest.mark.parametrize(
    "address",
    ["", "ward", "@b.example", "a@", "a b@c.example", "a@b.example\nBcc: x@y.example", "<a@b.example>", "ä@b.de"],
)
def test_what_is_no_address(address):
    with pytest.raises(ValueError, match="no e-mail address"):
        checked_mail_address(address)
