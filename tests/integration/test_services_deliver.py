"""Delivering: every answer is remembered, what may be there is sent again, what was refused waits for a person."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.integration.site import BOTH, REPORT, Site, head
from triage.domain.errors import DeliveryRefused, DeliveryUnconfirmed, NotFound, TriageError
from triage.domain.lifecycle import DeliveryState
from triage.domain.work import RetryPolicy
from triage.net.scu import OutgoingInstance, SendOutcome
from triage.services.deliver import Courier, deliver_next
from triage.services.recover import requeue_lapsed, retry_study
from triage.store import deliveries, links
from triage.store.deliveries import DeliveryRecord

SECRET = "HARA^TARO"

Answer = Callable[[OutgoingInstance], SendOutcome]


def accepted(instance: OutgoingInstance, status: int = 0x0000) -> SendOutcome:
    return SendOutcome(instance.sop_instance_uid, None, status)


def coerced(instance: OutgoingInstance) -> SendOutcome:
    return accepted(instance, 0xB000)


def refused(instance: OutgoingInstance) -> SendOutcome:
    return SendOutcome(instance.sop_instance_uid, DeliveryRefused("SYNTHETIC: no such class here.", 0x0122), 0x0122)


def unanswered(instance: OutgoingInstance) -> SendOutcome:
    return SendOutcome(instance.sop_instance_uid, DeliveryUnconfirmed("SYNTHETIC: no answer."), None)


@dataclass
class Archive:
    """A Storage SCU that answers as told, one list of instances a call."""

    answer: Answer = accepted
    down: bool = False
    calls: list[list[OutgoingInstance]] = field(default_factory=list)

    def send(self, instances: Sequence[OutgoingInstance]) -> list[SendOutcome]:
        self.calls.append(list(instances))
        if self.down:
            raise DeliveryUnconfirmed("SYNTHETIC: connection refused.")
        return [self._store(instance) for instance in instances]

    def _store(self, instance: OutgoingInstance) -> SendOutcome:
        try:
            instance.read()
        except NotFound as exc:
            return SendOutcome(instance.sop_instance_uid, exc, None)
        return self.answer(instance)


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(database_url, tmp_path / "blobs", profiles={"archive": BOTH, "other": REPORT})
    yield made
    made.db.dispose()


@pytest.fixture
def study(site: Site) -> str:
    """A study whose SEG and SR wait to be sent."""
    series = head()
    site.send(series)
    site.settle()
    assert site.analyse()
    return str(series[0].StudyInstanceUID)


def courier(site: Site, archive: Archive, destination: str = "archive") -> Courier:
    return Courier(
        db=site.db,
        blobs=site.blobs,
        destination=destination,
        clock=lambda: site.now,
        owner="sender-1",
        policy=RetryPolicy(base_seconds=2.0, cap_seconds=60.0, max_attempts=4),
        send=archive.send,
        jitter=lambda: 1.0,
    )


def sent(site: Site, study: str, destination: str = "archive") -> dict[str, DeliveryRecord]:
    with site.db.read() as tx:
        return {d.kind: d for d in deliveries.of_study(tx, study) if d.destination == destination}


def test_one_call_carries_the_whole_result(site: Site, study: str) -> None:
    archive = Archive()
    assert deliver_next(courier(site, archive))
    assert not deliver_next(courier(site, archive))
    (call,) = archive.calls
    assert len(call) == 2
    assert {d.state for d in sent(site, study).values()} == {DeliveryState.DELIVERED}
    assert {o.state for o in site.row(study).objects if o.destination == "archive"} == {"delivered"}


def test_what_is_sent_is_what_is_kept(site: Site, study: str) -> None:
    archive = Archive()
    deliver_next(courier(site, archive))
    for instance in archive.calls[0]:
        assert instance.read()[128:132] == b"DICM"
        assert instance.sop_instance_uid.encode() in instance.read()


def test_a_coercion_warning_is_a_delivery(site: Site, study: str) -> None:
    deliver_next(courier(site, Archive(coerced)))
    assert {(d.state, d.status) for d in sent(site, study).values()} == {(DeliveryState.DELIVERED, 0xB000)}


def test_destinations_do_not_wait_for_each_other(site: Site, study: str) -> None:
    deliver_next(courier(site, Archive(down=True)))
    assert deliver_next(courier(site, Archive(), "other"))
    assert {d.state for d in sent(site, study, "other").values()} == {DeliveryState.DELIVERED}
    assert {d.state for d in sent(site, study).values()} == {DeliveryState.PENDING}


def test_an_archive_that_is_down_is_tried_again_later_and_later(site: Site, study: str) -> None:
    archive = Archive(down=True)
    pauses = []
    for _ in range(3):
        assert deliver_next(courier(site, archive))
        pauses.append((sent(site, study)["SR"].next_attempt_at - site.now).total_seconds())
        site.wait(pauses[-1] - 0.1)
        assert not deliver_next(courier(site, archive))
        site.wait(0.1)
    assert pauses == [2.0, 4.0, 8.0]
    archive.down = False
    assert deliver_next(courier(site, archive))
    assert {d.state for d in sent(site, study).values()} == {DeliveryState.DELIVERED}


def test_only_what_has_no_answer_is_sent_again(site: Site, study: str) -> None:
    def half(instance: OutgoingInstance) -> SendOutcome:
        return accepted(instance) if instance is archive.calls[-1][0] else unanswered(instance)

    archive = Archive(half)
    deliver_next(courier(site, archive))
    states = sorted(d.state for d in sent(site, study).values())
    assert states == [DeliveryState.DELIVERED, DeliveryState.PENDING]
    site.wait(60)
    archive.answer = accepted
    deliver_next(courier(site, archive))
    first, second = archive.calls
    assert [i.sop_instance_uid for i in second] == [first[1].sop_instance_uid]


def test_an_answer_that_is_missing_counts_as_unknown(site: Site, study: str) -> None:
    """A sender that reports on fewer objects than it was given has not delivered the rest."""
    silent = replace(courier(site, Archive()), send=lambda instances: [])
    deliver_next(silent)
    assert {d.state for d in sent(site, study).values()} == {DeliveryState.PENDING}
    assert all(d.error for d in sent(site, study).values())


def test_a_refusal_waits_for_a_person(site: Site, study: str) -> None:
    deliver_next(courier(site, Archive(refused)))
    site.wait(3600)
    assert not deliver_next(courier(site, Archive()))
    failed = sent(site, study)
    assert {(d.state, d.status) for d in failed.values()} == {(DeliveryState.FAILED, 0x0122)}
    assert all("no such class" in str(d.error) for d in failed.values())

    assert retry_study(site.db, study, actor="person", now=site.now) == (0, 2)
    assert deliver_next(courier(site, Archive()))
    assert {d.state for d in sent(site, study).values()} == {DeliveryState.DELIVERED}


def test_a_way_out_that_breaks_in_itself_is_a_destination_that_is_down(site: Site, study: str) -> None:
    def broken(instances: Sequence[OutgoingInstance]) -> list[SendOutcome]:
        raise AssertionError(f"SYNTHETIC: {SECRET}")

    mine = replace(courier(site, Archive()), send=broken)
    for _ in range(3):
        assert deliver_next(mine)
        site.wait(60)
    waiting = sent(site, study)
    assert {d.state for d in waiting.values()} == {DeliveryState.PENDING}
    assert {d.error for d in waiting.values()} == {"AssertionError in the sender; its log tells more."}
    with site.db.read() as tx:
        assert links.is_down(tx, "archive")
    assert SECRET not in str([record.event for record in site.audit()])


def test_trying_ends_and_is_shown(site: Site, study: str) -> None:
    archive = Archive(down=True)
    for _ in range(4):
        assert deliver_next(courier(site, archive))
        site.wait(120)
    assert not deliver_next(courier(site, archive))
    assert {d.state for d in sent(site, study).values()} == {DeliveryState.FAILED}
    assert {o.state for o in site.row(study).objects if o.destination == "archive"} == {"failed"}


def test_a_file_that_is_gone_is_a_failure_with_a_sentence(site: Site, study: str) -> None:
    with site.db.transaction() as tx:
        batch = deliveries.claim(tx, destination="other", owner="peek", now=site.now, lease_seconds=1)
    assert batch is not None
    site.blobs.remove(batch.objects[0].blob_key)
    site.wait(2)
    requeue_lapsed(site.db, site.now)
    assert deliver_next(courier(site, Archive(), "other"))
    (failed,) = sent(site, study, "other").values()
    assert failed.state is DeliveryState.FAILED
    assert failed.error


def test_a_sender_that_vanishes_loses_its_batch(site: Site, study: str) -> None:
    with site.db.transaction() as tx:
        assert deliveries.claim(tx, destination="archive", owner="gone", now=site.now, lease_seconds=15) is not None
    archive = Archive()
    assert not deliver_next(courier(site, archive))
    site.wait(16)
    assert requeue_lapsed(site.db, site.now) >= 1
    assert deliver_next(courier(site, archive))
    assert {d.state for d in sent(site, study).values()} == {DeliveryState.DELIVERED}


def test_an_answer_that_comes_after_the_lease_is_left_to_the_next(site: Site, study: str) -> None:
    def slow(instance: OutgoingInstance) -> SendOutcome:
        site.wait(60)
        requeue_lapsed(site.db, site.now)
        return accepted(instance)

    assert deliver_next(courier(site, Archive(slow)))
    assert {d.state for d in sent(site, study).values()} == {DeliveryState.PENDING}
    assert deliver_next(courier(site, Archive()))
    assert {d.state for d in sent(site, study).values()} == {DeliveryState.DELIVERED}


@pytest.mark.parametrize("error", [DeliveryUnconfirmed("x"), DeliveryRefused("x")])
def test_only_some_errors_are_worth_trying_again(error: TriageError) -> None:
    assert error.retry is isinstance(error, DeliveryUnconfirmed)
