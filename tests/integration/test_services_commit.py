"""Storage commitment, step by step: requested, reported, looked up, lost and sent again."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.integration.site import BOTH, Site, head
from triage.domain.audit import AuditAction, Outcome
from triage.domain.errors import DeliveryRefused, DeliveryUnconfirmed, TriageError
from triage.domain.lifecycle import DeliveryState
from triage.domain.work import RetryPolicy
from triage.net.outgoing import OutgoingInstance, SendOutcome
from triage.services.commit import FOUND, Reference, Witness, confirm_next, take_report
from triage.services.deliver import Courier, deliver_next
from triage.store import commitments, deliveries
from triage.store.deliveries import DeliveryRecord

POLICY = RetryPolicy(base_seconds=2.0, cap_seconds=60.0, max_attempts=2)


@dataclass
class Archive:
    """What an archive is asked, and what it answers."""

    trouble: TriageError | None = None
    query_trouble: TriageError | None = None
    has: set[str] = field(default_factory=set)
    requests: list[tuple[str, list[Reference]]] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)

    def store(self, instances: Sequence[OutgoingInstance]) -> list[SendOutcome]:
        self.has |= {i.sop_instance_uid for i in instances}
        return [SendOutcome(i.sop_instance_uid, None, 0) for i in instances]

    def request(self, transaction_uid: str, references: Sequence[Reference]) -> None:
        self.requests.append((transaction_uid, list(references)))
        if self.trouble is not None:
            raise self.trouble

    def look_up(self, study_instance_uid: str, wanted: Collection[str]) -> set[str]:
        self.queries.append(study_instance_uid)
        if self.query_trouble is not None:
            raise self.query_trouble
        return self.has & set(wanted)


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(database_url, tmp_path / "blobs", profiles={"archive": BOTH})
    yield made
    made.db.dispose()


@pytest.fixture
def archive() -> Archive:
    return Archive()


@pytest.fixture
def study(site: Site, archive: Archive) -> str:
    """A study whose SEG and SR have been delivered to an archive that is to commit to them."""
    series = head()
    site.send(series)
    site.settle()
    assert site.analyse()
    assert deliver(site, archive)
    return str(series[0].StudyInstanceUID)


def deliver(site: Site, archive: Archive) -> bool:
    return deliver_next(
        Courier(
            site.db,
            site.blobs,
            "archive",
            archive.store,
            lambda: site.now,
            "sender-1",
            policy=POLICY,
            commitment=True,
            jitter=lambda: 1.0,
        )
    )


def witness(site: Site, archive: Archive) -> Witness:
    return Witness(site.db, "archive", archive.request, archive.look_up, lambda: site.now, 60.0, POLICY)


def sent(site: Site, study: str) -> list[DeliveryRecord]:
    with site.db.read() as tx:
        return deliveries.of_study(tx, study)


def states(site: Site, study: str) -> set[DeliveryState]:
    return {delivery.state for delivery in sent(site, study)}


def due(site: Site) -> bool:
    with site.db.read() as tx:
        return commitments.any_due(tx, destination="archive", now=site.now)


def test_everything_delivered_is_asked_for_in_one_transaction(site: Site, archive: Archive, study: str) -> None:
    assert confirm_next(witness(site, archive))
    assert not confirm_next(witness(site, archive))
    ((uid, references),) = archive.requests
    assert uid.startswith("2.25.")
    assert {sop for _, sop in references} == archive.has
    assert states(site, study) == {DeliveryState.DELIVERED}
    assert archive.queries == []


def test_the_report_commits(site: Site, archive: Archive, study: str) -> None:
    confirm_next(witness(site, archive))
    ((uid, _),) = archive.requests
    assert take_report(site.db, uid, archive.has, {}, now=site.now)
    assert states(site, study) == {DeliveryState.COMMITTED}
    assert {o.state for o in site.row(study).objects} == {"committed"}
    assert [r.event.detail["to"] for r in site.audit() if r.event.action is AuditAction.DELIVERY_MOVED][-2:] == [
        "committed",
        "committed",
    ]
    site.wait(3600)
    assert not confirm_next(witness(site, archive))


def test_a_report_twice_or_on_something_else_changes_nothing(site: Site, archive: Archive, study: str) -> None:
    confirm_next(witness(site, archive))
    ((uid, _),) = archive.requests
    assert not take_report(site.db, "2.25.1", archive.has, {}, now=site.now)
    assert states(site, study) == {DeliveryState.DELIVERED}
    assert take_report(site.db, uid, archive.has, {}, now=site.now)
    assert not take_report(site.db, uid, [], dict.fromkeys(archive.has, "gone"), now=site.now)
    assert states(site, study) == {DeliveryState.COMMITTED}


def test_what_the_report_leaves_out_comes_up_again(site: Site, archive: Archive, study: str) -> None:
    confirm_next(witness(site, archive))
    ((uid, references),) = archive.requests
    assert take_report(site.db, uid, [references[0][1]], {}, now=site.now)
    assert states(site, study) == {DeliveryState.COMMITTED, DeliveryState.DELIVERED}
    site.wait(60)
    assert confirm_next(witness(site, archive))
    assert states(site, study) == {DeliveryState.COMMITTED}


def test_no_report_in_time_and_the_archive_is_asked_what_it_has(site: Site, archive: Archive, study: str) -> None:
    confirm_next(witness(site, archive))
    site.wait(59)
    assert not confirm_next(witness(site, archive))
    site.wait(1)
    assert confirm_next(witness(site, archive))
    assert archive.queries == [study]
    assert len(archive.requests) == 1
    assert {(d.state, d.error) for d in sent(site, study)} == {(DeliveryState.COMMITTED, FOUND)}


def test_an_archive_that_knows_no_commitment_is_asked_what_it_has(site: Site, archive: Archive, study: str) -> None:
    archive.trouble = DeliveryRefused("SYNTHETIC: no such SOP class.")
    assert confirm_next(witness(site, archive))
    assert archive.queries == [study]
    assert states(site, study) == {DeliveryState.COMMITTED}


def test_where_there_is_no_commitment_the_archive_is_asked_what_it_has(
    site: Site, archive: Archive, study: str
) -> None:
    assert confirm_next(replace(witness(site, archive), request=None))
    assert (archive.requests, archive.queries) == ([], [study])
    assert states(site, study) == {DeliveryState.COMMITTED}


def test_a_late_report_after_the_question_is_no_news(site: Site, archive: Archive, study: str) -> None:
    confirm_next(witness(site, archive))
    site.wait(60)
    confirm_next(witness(site, archive))
    ((uid, _),) = archive.requests
    assert not take_report(site.db, uid, [], dict.fromkeys(archive.has, "gone"), now=site.now)
    assert states(site, study) == {DeliveryState.COMMITTED}


def test_an_object_that_the_archive_lost_is_sent_again_and_in_the_end_shown_to_a_person(
    site: Site, archive: Archive, study: str
) -> None:
    confirm_next(witness(site, archive))
    ((uid, references),) = archive.requests
    lost = references[0][1]
    assert take_report(site.db, uid, [references[1][1]], {lost: "no such object instance"}, now=site.now)
    (again,) = [d for d in sent(site, study) if d.sop_instance_uid == lost]
    assert again.state is DeliveryState.PENDING
    assert again.error is not None
    assert "no such object instance" in again.error
    assert again.next_attempt_at == site.now + timedelta(seconds=2)
    assert not deliver(site, archive)
    site.wait(2)
    assert deliver(site, archive)
    assert confirm_next(witness(site, archive)), "commitment is asked for anew"
    assert len(archive.requests) == 2
    assert archive.requests[1][0] != uid
    take_report(site.db, archive.requests[1][0], [], {lost: "no such object instance"}, now=site.now, policy=POLICY)
    (given_up,) = [d for d in sent(site, study) if d.sop_instance_uid == lost]
    assert given_up.state is DeliveryState.FAILED


def test_an_archive_that_is_down_is_asked_later(site: Site, archive: Archive, study: str) -> None:
    archive.trouble = archive.query_trouble = DeliveryUnconfirmed("SYNTHETIC: connection refused.")
    waits = []
    for _ in range(3):
        assert confirm_next(witness(site, archive))
        waits.append(0)
        while not due(site):
            site.wait(1)
            waits[-1] += 1
    assert waits == [10, 20, 40]
    archive.query_trouble = None
    assert confirm_next(witness(site, archive))
    assert states(site, study) == {DeliveryState.COMMITTED}


def given_up(site: Site) -> list[tuple[str | None, object, Outcome]]:
    rows = [record.event for record in site.audit() if record.event.action is AuditAction.COMMITMENT_GIVEN_UP]
    return [(event.sop_instance_uid, event.detail["attempt"], event.outcome) for event in rows]


def patient(site: Site, archive: Archive) -> Witness:
    """Asks three times."""
    return replace(witness(site, archive), asking=RetryPolicy(10.0, 600.0, max_attempts=3))


def test_an_archive_that_can_be_asked_in_no_way_is_not_asked_for_ever(site: Site, archive: Archive, study: str) -> None:
    archive.trouble = DeliveryRefused("SYNTHETIC: no such SOP class.")
    archive.query_trouble = DeliveryRefused("SYNTHETIC: C-FIND is not offered.")
    for _ in range(3):
        assert not given_up(site)
        assert confirm_next(patient(site, archive))
        site.wait(600)
    assert not confirm_next(patient(site, archive))
    assert (len(archive.requests), len(archive.queries)) == (1, 3)
    assert {(d.state, d.error) for d in sent(site, study)} == {
        (DeliveryState.DELIVERED, "Never confirmed, and not asked again: SYNTHETIC: C-FIND is not offered.")
    }
    assert sorted(given_up(site)) == sorted((uid, 3, Outcome.MINOR_FAILURE) for uid in archive.has)


def test_a_refusal_that_passes_ends_no_asking(site: Site, archive: Archive, study: str) -> None:
    """A proxy that starts anew answers 404, and an archive in maintenance knows nobody."""
    archive.trouble = archive.query_trouble = DeliveryRefused("SYNTHETIC: HTTP 404.")
    assert confirm_next(witness(site, archive))
    archive.query_trouble = None
    site.wait(10)
    assert confirm_next(witness(site, archive))
    assert states(site, study) == {DeliveryState.COMMITTED}
    assert not given_up(site)


@pytest.mark.parametrize("asked", [1, 2, 3], ids=["in time", "after a question", "when asking has ended"])
def test_a_report_counts_whenever_it_comes(site: Site, archive: Archive, study: str, asked: int) -> None:
    """The archive answers no query and needs longer than it is given: what it did not keep is sent again."""
    archive.query_trouble = DeliveryRefused("SYNTHETIC: C-FIND is not offered.")
    for _ in range(asked):
        assert confirm_next(patient(site, archive))
        site.wait(600)
    assert bool(given_up(site)) is (asked == 3)
    ((uid, references),) = archive.requests
    kept, lost = (sop for _, sop in references)
    assert take_report(site.db, uid, [kept], {lost: "no such object instance"}, now=site.now)
    found = {d.sop_instance_uid: d for d in sent(site, study)}
    assert (found[kept].state, found[kept].error) == (DeliveryState.COMMITTED, None)
    assert found[lost].state is DeliveryState.PENDING
    site.wait(2)
    assert deliver(site, archive)
    assert confirm_next(patient(site, archive))
    assert [sop for _, sop in archive.requests[1][1]] == [lost], "commitment is asked for anew"
    assert archive.requests[1][0] != uid


def test_what_was_sent_again_is_asked_for_beside_what_waits(site: Site, archive: Archive, study: str) -> None:
    archive.query_trouble = DeliveryRefused("SYNTHETIC: C-FIND is not offered.")
    confirm_next(witness(site, archive))
    ((uid, references),) = archive.requests
    waits, lost = (sop for _, sop in references)
    assert take_report(site.db, uid, [], {lost: "no such object instance"}, now=site.now)
    site.wait(60)
    assert deliver(site, archive)
    while confirm_next(witness(site, archive)):
        pass
    assert [sop for _, sop in archive.requests[1][1]] == [lost]
    assert take_report(site.db, uid, [waits], {}, now=site.now)
    assert {d.sop_instance_uid: d.state for d in sent(site, study)} == {
        waits: DeliveryState.COMMITTED,
        lost: DeliveryState.DELIVERED,
    }


def test_an_archive_that_never_answers_is_not_asked_for_ever(site: Site, archive: Archive, study: str) -> None:
    archive.query_trouble = DeliveryUnconfirmed("SYNTHETIC: connection refused.")
    for _ in range(3):
        assert not given_up(site)
        assert confirm_next(patient(site, archive))
        site.wait(600)
    assert not confirm_next(patient(site, archive))
    assert {(d.state, d.error) for d in sent(site, study)} == {
        (DeliveryState.DELIVERED, "Never confirmed, and not asked again: SYNTHETIC: connection refused.")
    }
    assert sorted(given_up(site)) == sorted((uid, 3, Outcome.MINOR_FAILURE) for uid in archive.has)


def test_a_report_that_comes_while_asking_ends_counts(site: Site, archive: Archive, study: str) -> None:
    def request(transaction_uid: str, references: Sequence[Reference]) -> None:
        assert take_report(site.db, transaction_uid, [uid for _, uid in references], {}, now=site.now)
        raise DeliveryRefused("SYNTHETIC: no such SOP class.")

    archive.query_trouble = DeliveryRefused("SYNTHETIC: C-FIND is not offered.")
    assert confirm_next(
        replace(patient(site, archive), request=request, asking=RetryPolicy(10.0, 600.0, max_attempts=1))
    )
    assert states(site, study) == {DeliveryState.COMMITTED}
    assert not given_up(site)


def test_an_answer_that_breaks_us_is_asked_for_later(site: Site, archive: Archive, study: str) -> None:
    def broken(_study: str, _wanted: Collection[str]) -> set[str]:
        raise AssertionError("SYNTHETIC: an answer that nobody foresaw.")

    assert confirm_next(replace(witness(site, archive), request=None, look_up=broken))
    assert states(site, study) == {DeliveryState.DELIVERED}
    site.wait(10)
    assert confirm_next(replace(witness(site, archive), request=None))
    assert states(site, study) == {DeliveryState.COMMITTED}


def test_without_commitment_delivered_is_the_end(site: Site, archive: Archive) -> None:
    site.send(head())
    site.settle()
    site.analyse()
    assert deliver_next(Courier(site.db, site.blobs, "archive", archive.store, lambda: site.now, "sender-1"))
    site.wait(3600)
    assert not confirm_next(witness(site, archive))
