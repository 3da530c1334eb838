"""A destination that is down is on record as long as it is, also across a new start of the sender."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.site import BOTH, Site, head
from tests.integration.test_services_deliver import Archive, courier
from triage.domain.audit import AuditAction
from triage.domain.downtime import Link
from triage.domain.errors import ConfigurationError
from triage.net.outgoing import OutgoingInstance, SendOutcome
from triage.services.circuit import TRIES
from triage.services.deliver import deliver_next
from triage.store import audit, links


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(database_url, tmp_path / "blobs", profiles={"archive": BOTH})
    series = head()
    made.send(series)
    made.settle()
    assert made.analyse()
    yield made
    made.db.dispose()


def known(site: Site) -> list[Link]:
    with site.db.read() as tx:
        return links.known(tx)


def turns(site: Site) -> list[AuditAction]:
    told = (AuditAction.DESTINATION_DOWN, AuditAction.DESTINATION_UP)
    with site.db.read() as tx:
        return [record.event.action for record in audit.records(tx) if record.event.action in told]


def fail(site: Site, sender: object) -> None:
    for _ in range(TRIES):
        assert deliver_next(sender)  # type: ignore[arg-type]
        site.wait(400)


def test_a_link_goes_down_with_its_circuit_and_up_with_the_first_answer(site: Site) -> None:
    archive = Archive(down=True)
    sender = courier(site, archive)
    fail(site, sender)
    (down,) = known(site)
    assert (down.destination, down.up) == ("archive", False)
    assert "connection refused" in (down.error or "")
    archive.down = False
    assert deliver_next(sender)
    (up,) = known(site)
    assert up.up
    assert up.since > down.since
    assert turns(site) == [AuditAction.DESTINATION_DOWN, AuditAction.DESTINATION_UP]


def test_a_certificate_that_cannot_be_read_for_a_while_takes_the_link_down_and_loses_nothing(site: Site) -> None:
    archive = Archive()
    renewing = True

    def send(instances: Sequence[OutgoingInstance]) -> list[SendOutcome]:
        if renewing:
            raise ConfigurationError("tls_certificate and tls_key are not a readable pair.")
        return archive.send(instances)

    sender = replace(courier(site, archive), send=send)
    fail(site, sender)
    (down,) = known(site)
    assert (down.up, down.error) == (False, "tls_certificate and tls_key are not a readable pair.")
    renewing = False
    assert deliver_next(sender)
    assert known(site)[0].up
    assert len(archive.calls[0]) == 2


def test_a_new_sender_that_is_answered_takes_the_alarm_back(site: Site) -> None:
    fail(site, courier(site, Archive(down=True)))
    assert not known(site)[0].up
    assert deliver_next(courier(site, Archive()))
    assert known(site)[0].up
    assert turns(site) == [AuditAction.DESTINATION_DOWN, AuditAction.DESTINATION_UP]


def test_a_destination_that_always_answers_has_no_row(site: Site) -> None:
    assert deliver_next(courier(site, Archive()))
    assert known(site) == []
    assert turns(site) == []
