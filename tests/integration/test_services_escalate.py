"""A suspected study that nobody opens is told again: once for each list, and never one that was opened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.fakes import FixedPredictor
from tests.integration.site import BOTH, Site, head
from tests.mail import Mailbox, taking_mail
from triage.dicom.source import Source
from triage.domain.audit import AuditAction, AuditEvent
from triage.domain.encoded import EncodedObject, ObjectKind
from triage.domain.notice import Notice
from triage.domain.profile import Profile
from triage.net.hl7 import Hl7Names, encode_oru
from triage.net.smtp import MailServer, MailTls, encode_email, send
from triage.net.webhook import encode_webhook
from triage.services.deliver import Courier, deliver_next
from triage.services.escalate import STALE_AFTER, escalate_due
from triage.services.notify import Notifier
from triage.store import deliveries, instances, readings, result_objects, series
from triage.store.deliveries import DeliveryRecord
from triage.store.schema import worklist

MINUTES = 15


def mail(notice: Notice, _source: Source, identifier: str) -> EncodedObject:
    return encode_email(notice, identifier, sender="triage@a.example", recipients=("ward@a.example",))


def hook(notice: Notice, _source: Source, identifier: str) -> EncodedObject:
    return encode_webhook(notice, identifier)


def ris(notice: Notice, _source: Source, identifier: str) -> EncodedObject:
    return encode_oru(notice, Hl7Names(), identifier)


DUTY = {"duty": Notifier(mail, escalate_after=timedelta(minutes=MINUTES))}
ALL = {
    **DUTY,
    "chat": Notifier(hook, escalate_after=timedelta(minutes=2 * MINUTES)),
    "ris": Notifier(ris, escalate_after=timedelta(minutes=MINUTES)),
    "quiet": Notifier(mail),
}


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(database_url, tmp_path / "blobs", profiles={"archive": BOTH})
    yield made
    made.db.dispose()


def flagged(site: Site, **how: float) -> str:
    """A study that was analysed, suspected unless its score says otherwise."""
    slices = head()
    site.predictor = FixedPredictor(**how)
    site.send(slices, f"association of {slices[0].SeriesInstanceUID}")
    site.settle()
    assert site.analyse()
    return str(slices[0].StudyInstanceUID)


@pytest.fixture
def study(site: Site) -> str:
    return flagged(site)


def escalate(site: Site, notifiers: dict[str, Notifier] = DUTY) -> int:
    return escalate_due(site.db, site.blobs, notifiers, site.now)


def sent(site: Site, study: str, name: str = "duty") -> list[DeliveryRecord]:
    with site.db.read() as tx:
        return [d for d in deliveries.of_study(tx, study) if d.destination == name]


def escalations(site: Site) -> list[AuditEvent]:
    return [r.event for r in site.audit() if r.event.action is AuditAction.STUDY_ESCALATED]


def escalated_at(site: Site, study: str) -> object:
    mine = select(worklist.c.escalated_at).where(worklist.c.study_instance_uid == study)
    with site.db.read() as tx:
        return tx.connection.execute(mine).scalar_one()


def open_study(site: Site, study: str) -> None:
    with site.db.transaction() as tx:
        assert readings.mark_opened(tx, study, reader="reader", now=site.now)


def content(site: Site, study: str, kind: ObjectKind) -> bytes:
    with site.db.read() as tx:
        (made,) = [o for o in result_objects.of_study(tx, study) if o.kind is kind]
    return site.blobs.read(made.blob_key)


def test_a_study_that_nobody_opens_is_told_once(site: Site, study: str) -> None:
    site.wait(60 * MINUTES - 1)
    assert escalate(site) == 0
    assert escalated_at(site, study) is None
    site.wait(1)
    assert escalate(site) == 1
    assert escalated_at(site, study) == site.now
    (event,) = escalations(site)
    assert (event.actor, event.study_instance_uid) == ("clock", study)
    assert (event.detail["told"], event.detail["minutes"]) == ("duty", MINUTES)
    assert [(d.kind, d.state.value) for d in sent(site, study)] == [("EMAIL", "pending")]
    for _ in range(3):
        site.wait(600)
        assert escalate(site) == 0
    assert len(sent(site, study)) == 1


def test_a_study_that_was_opened_is_left_alone(site: Site, study: str) -> None:
    open_study(site, study)
    site.wait(60 * MINUTES)
    assert escalate(site) == 0
    assert sent(site, study) == []
    assert escalations(site) == []


def test_a_study_that_was_opened_before_it_was_flagged_is_still_to_be_opened(site: Site) -> None:
    slices = head()
    site.send(slices)
    site.settle()
    study = str(slices[0].StudyInstanceUID)
    open_study(site, study)
    site.wait(5)
    site.analyse()
    site.wait(60 * MINUTES)
    assert escalate(site) == 1
    assert escalated_at(site, study) == site.now


def test_a_study_that_is_not_suspected_is_left_alone(site: Site) -> None:
    study = flagged(site, score=0.02)
    site.wait(60 * MINUTES)
    assert escalate(site, ALL) == 0
    assert sent(site, study) == []


def test_each_list_has_its_own_time_and_its_own_words(site: Site, study: str) -> None:
    site.wait(60 * MINUTES)
    assert escalate(site, ALL) == 2
    assert b"Not opened on the triage pages for 15 min" in content(site, study, ObjectKind.EMAIL)
    oru = content(site, study, ObjectKind.ORU)
    assert b"Not opened on the triage pages for 15 min" in oru
    with site.db.read() as tx:
        (sr,) = [o.sop_instance_uid for o in result_objects.of_study(tx, study) if o.kind is ObjectKind.SR]
    assert sr.encode() in oru
    assert sent(site, study, "chat") == []
    site.wait(60 * MINUTES)
    assert escalate(site, ALL) == 1
    assert b'"unopened_minutes": 30' in content(site, study, ObjectKind.WEBHOOK)
    assert len(sent(site, study, "chat")) == 1
    assert sent(site, study, "quiet") == []
    assert escalate(site, ALL) == 0
    assert len(escalations(site)) == 3


def test_every_page_is_named_when_it_is_told_again(site: Site) -> None:
    site.profiles = {"archive": Profile((ObjectKind.SR, ObjectKind.SC))}
    study = flagged(site)
    site.wait(60 * MINUTES)
    escalate(site, ALL)
    oru = content(site, study, ObjectKind.ORU)
    with site.db.read() as tx:
        pages = [o.sop_instance_uid for o in result_objects.of_study(tx, study) if o.kind is ObjectKind.SC]
    assert len(pages) > 1
    assert all(uid.encode() in oru for uid in pages)


def test_a_late_slice_makes_no_second_escalation(site: Site) -> None:
    slices = head()
    site.send(slices[:-1])
    site.settle()
    site.analyse()
    study = str(slices[0].StudyInstanceUID)
    site.wait(60 * MINUTES)
    assert escalate(site) == 1
    site.send(slices[-1:], "late")
    site.settle()
    site.analyse()
    site.wait(60 * MINUTES)
    assert escalate(site) == 0
    assert len(sent(site, study)) == 1


def test_a_suspicion_that_was_taken_back_and_comes_again_is_told_again(site: Site) -> None:
    slices = head()
    study = str(slices[0].StudyInstanceUID)
    for part, score in ((slices[:-2], 0.9), (slices[-2:-1], 0.02), (slices[-1:], 0.9)):
        site.predictor = FixedPredictor(score=score)
        site.send(part, f"association {len(part)} {score}")
        site.settle()
        assert site.analyse()
        site.wait(60 * MINUTES)
        assert escalate(site) == (score > 0.5)
    assert len(sent(site, study)) == 2
    first, second = escalations(site)
    assert first.detail["flagged_at"] < second.detail["flagged_at"]


def test_after_an_outage_the_newest_comes_first_and_what_is_stale_is_not_told(site: Site) -> None:
    old = flagged(site)
    site.wait(STALE_AFTER.total_seconds())
    first, second = flagged(site), flagged(site)
    site.wait(60 * MINUTES)
    assert escalate(site) == 2
    assert sent(site, old) == []
    assert [event.study_instance_uid for event in escalations(site)] == [second, first]


def test_telling_says_the_same_whenever_it_is_made(site: Site, study: str) -> None:
    """A clock that comes late, or dies and is started again, makes the message that it would have made in time."""
    site.wait(60 * MINUTES)
    on_time = made_at(site, study)
    site.wait(3600)
    assert made_at(site, study) == on_time
    parsed = message_from_bytes(on_time.content)
    assert parsed["Message-ID"] == f"<{on_time.sop_instance_uid}@a.example>"


def made_at(site: Site, study: str) -> EncodedObject:
    """What would be said now, with nothing kept."""
    seen: list[EncodedObject] = []

    def look(notice: Notice, source: Source, identifier: str) -> EncodedObject:
        seen.append(mail(notice, source, identifier))
        raise NotKept

    with pytest.raises(NotKept):
        escalate(site, {"duty": replace(DUTY["duty"], encode=look)})
    return seen[0]


class NotKept(Exception):
    pass


@pytest.mark.parametrize("how", ["gone", "unreadable"])
def test_an_image_that_cannot_be_read_keeps_no_other_study_waiting(site: Site, how: str) -> None:
    good, bad = flagged(site), flagged(site)
    site.wait(60 * MINUTES)
    with site.db.read() as tx:
        (record,) = series.of_study(tx, bad)
        lost = instances.of_series(tx, record.id)[0].blob_key
    site.blobs.remove(lost)
    if how == "unreadable":
        site.blobs.path(lost).mkdir()
    assert escalate(site) == 1
    assert (len(sent(site, good)), len(sent(site, bad))) == (1, 0)


def test_it_goes_through_the_outbox_and_is_sent_again_until_it_is_taken(site: Site, study: str) -> None:
    site.wait(60 * MINUTES)
    escalate(site)
    mailbox = Mailbox(faults=["451 not now"])
    with taking_mail(mailbox) as port:
        server = MailServer("127.0.0.1", port, "triage@a.example", ("ward@a.example",), tls=MailTls.PLAIN)
        courier = Courier(site.db, site.blobs, "duty", partial(send, server), lambda: site.now, "sender-1")
        assert deliver_next(courier)
        assert [(d.state.value, d.status) for d in sent(site, study)] == [("pending", 451)]
        site.wait(60)
        assert deliver_next(courier)
        assert not deliver_next(courier)
    assert [(d.state.value, d.attempt) for d in sent(site, study)] == [("delivered", 2)]
    (message,) = mailbox.messages
    assert "Head CT: NOT OPENED YET" in message["Subject"]
