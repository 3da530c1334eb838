"""The outbox as a whole: a destination that is down is left alone, and one may wait for another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.integration.site import BOTH, REPORT, Site, head
from triage.domain.audit import AuditAction
from triage.domain.errors import DeliveryRefused, DeliveryUnconfirmed
from triage.domain.lifecycle import DeliveryState
from triage.domain.work import Backoff, RetryPolicy
from triage.net.outgoing import OutgoingInstance, SendOutcome
from triage.services.circuit import Circuit
from triage.services.deliver import Courier, deliver_next
from triage.store import deliveries

STUDIES = 5


@dataclass
class Archive:
    """Takes everything, or is not there."""

    down: bool = False
    batches: list[list[str]] = field(default_factory=list)

    def send(self, instances: Sequence[OutgoingInstance]) -> list[SendOutcome]:
        self.batches.append([i.sop_instance_uid for i in instances])
        if self.down:
            raise DeliveryUnconfirmed("SYNTHETIC: connection refused.")
        return [SendOutcome(i.sop_instance_uid, None, 0) for i in instances]


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(database_url, tmp_path / "blobs", profiles={"archive": BOTH, "list": REPORT})
    yield made
    made.db.dispose()


def analysed(site: Site, count: int) -> list[str]:
    """Studies whose results wait to be sent."""
    made = [head() for _ in range(count)]
    for number, series in enumerate(made):
        site.send(series, f"a{number}")
    site.settle()
    while site.analyse():
        pass
    return [str(series[0].StudyInstanceUID) for series in made]


def courier(site: Site, archive: Archive, destination: str = "archive") -> Courier:
    policy = RetryPolicy(base_seconds=100.0, cap_seconds=100.0, max_attempts=50)
    now, circuit = (lambda: site.now), Circuit(3, Backoff(5.0, 60.0))
    return Courier(site.db, site.blobs, destination, archive.send, now, "sender-1", policy=policy, circuit=circuit)


def turns(site: Site) -> list[AuditAction]:
    wanted = {AuditAction.DESTINATION_DOWN, AuditAction.DESTINATION_UP}
    return [record.event.action for record in site.audit() if record.event.action in wanted]


def states(site: Site, study: str, destination: str) -> set[DeliveryState]:
    with site.db.read() as tx:
        return {d.state for d in deliveries.of_study(tx, study) if d.destination == destination}


def test_an_archive_that_is_down_is_tried_with_three_results_not_with_all(site: Site) -> None:
    studies = analysed(site, STUDIES)
    archive = Archive(down=True)
    mine = courier(site, archive)
    while deliver_next(mine):
        pass
    assert len(archive.batches) == 3
    assert turns(site) == [AuditAction.DESTINATION_DOWN]
    assert {state for study in studies for state in states(site, study, "archive")} == {DeliveryState.PENDING}


def test_when_it_is_back_everything_is_due_at_once(site: Site) -> None:
    studies = analysed(site, STUDIES)
    archive = Archive(down=True)
    mine = courier(site, archive)
    while deliver_next(mine):
        pass
    archive.down = False
    assert not deliver_next(mine), "the cooldown has not ended"
    site.wait(5)
    while deliver_next(mine):
        pass
    assert {state for study in studies for state in states(site, study, "archive")} == {DeliveryState.DELIVERED}
    assert turns(site) == [AuditAction.DESTINATION_DOWN, AuditAction.DESTINATION_UP]


def test_a_refusal_is_an_answer(site: Site) -> None:
    analysed(site, STUDIES)

    def refuse(instances: Sequence[OutgoingInstance]) -> list[SendOutcome]:
        raise DeliveryRefused("SYNTHETIC: unknown AE title.")

    mine = replace(courier(site, Archive()), send=refuse)
    while deliver_next(mine):
        pass
    assert turns(site) == []


def test_a_list_that_waits_for_an_archive(site: Site) -> None:
    (study,) = analysed(site, 1)
    told, archive = Archive(), Archive(down=True)
    mine = replace(courier(site, told, "list"), after="archive")
    assert not deliver_next(mine)
    deliver_next(courier(site, archive))
    assert not deliver_next(mine)
    archive.down = False
    site.wait(100)
    assert deliver_next(courier(site, archive))
    assert deliver_next(mine)
    assert states(site, study, "list") == {DeliveryState.DELIVERED}


def test_waiting_for_one_archive_holds_up_no_other_result(site: Site) -> None:
    first, second = analysed(site, 2)
    archive, told = Archive(), Archive()
    assert deliver_next(courier(site, archive))
    mine = replace(courier(site, told, "list"), after="archive")
    assert deliver_next(mine)
    assert not deliver_next(mine)
    delivered = [study for study in (first, second) if states(site, study, "archive") == {DeliveryState.DELIVERED}]
    assert [states(site, study, "list") for study in delivered] == [{DeliveryState.DELIVERED}]
    assert len(delivered) == 1


def test_an_archive_that_gets_nothing_of_a_result_holds_it_up(site: Site) -> None:
    analysed(site, 1)
    assert not deliver_next(replace(courier(site, Archive(), "list"), after="nobody"))
