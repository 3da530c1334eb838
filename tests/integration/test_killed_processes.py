"""SIGKILL at every step of every role: what was acknowledged is there, and every result arrives as one object."""

from __future__ import annotations

import hashlib
import io
import signal
import socket
import time
from datetime import timedelta
from pathlib import Path

import pydicom
import pytest

from tests.fakes import CountingArchive, counting_archive
from tests.integration.killed import CHILDREN, DEATHS, SLICES, Death, Site, archived_once, head_series, live_and_die
from triage.domain.errors import DeliveryUnconfirmed
from triage.domain.finding import WorklistStatus
from triage.domain.lifecycle import SeriesState
from triage.net.scu import OutgoingInstance, RemoteAe, SendOutcome, send
from triage.services.commit import confirm_next
from triage.services.deliver import deliver_next
from triage.store import audit, deliveries, instances, jobs, series, worklist


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(DEATHS)), ids=[str(d) for d in DEATHS])
def test_nothing_acknowledged_is_lost(number: int, database_url: str, tmp_path: Path, kill_rounds: int) -> None:
    death = DEATHS[number]
    with counting_archive() as archive:
        site = Site(database_url, tmp_path / "blobs", archive.scp.port)
        for round_number in range(kill_rounds):
            sent = head_series(round_number)
            acknowledged = _until_killed(number, round_number, site, sent)
            _send_again(site, sent, acknowledged)
            site.finish()
            _check(site, archive, sent, acknowledged, death)
            archive.contents.clear()
        with site.db.read() as tx:
            assert audit.verify(tx) > 0
        site.db.dispose()


def _until_killed(number: int, round_number: int, site: Site, sent: list[OutgoingInstance]) -> set[str]:
    """Bring the study up to the step, kill the role there, and say what the sender saw acknowledged."""
    role = DEATHS[number].role
    outcomes: list[SendOutcome] = []
    if role != "listen":
        outcomes = site.receive(sent)
    if role not in ("listen", "clock"):
        site.assemble()
    if role not in ("listen", "clock", "work"):
        site.analyse()
    if role in ("tell", "confirm", "look up"):
        assert deliver_next(site.courier())
    if role == "look up":
        assert confirm_next(site.witness())
        site.offset += timedelta(minutes=10)
    port = _free_port()
    child = CHILDREN.Process(
        target=live_and_die,
        args=(number, round_number, site.url, site.root, site.archive_port, site.offset, port),
    )
    child.start()
    if role == "listen":
        outcomes = _send_to_the_dying(port, sent)
    child.join(60)
    assert child.exitcode == -signal.SIGKILL, f"{DEATHS[number]} was never reached (exit {child.exitcode})"
    return {o.sop_instance_uid for o in outcomes if o.error is None}


def _send_to_the_dying(port: int, sent: list[OutgoingInstance]) -> list[SendOutcome]:
    remote = RemoteAe("ICHTRIAGE", "127.0.0.1", port)
    for _ in range(100):
        try:
            return send(remote, sent)
        except DeliveryUnconfirmed:
            time.sleep(0.1)  # the child is not listening yet
    raise AssertionError("the listener that was to be killed never listened")


def _send_again(site: Site, sent: list[OutgoingInstance], acknowledged: set[str]) -> None:
    """A sender repeats what it has no answer for, and only that."""
    missing = [instance for instance in sent if instance.sop_instance_uid not in acknowledged]
    if missing:
        assert all(o.error is None for o in site.receive(missing))


def _check(
    site: Site, archive: CountingArchive, sent: list[OutgoingInstance], acknowledged: set[str], death: Death
) -> None:
    study = pydicom.dcmread(io.BytesIO(sent[0].read()), stop_before_pixels=True).StudyInstanceUID
    with site.db.read() as tx:
        (record,) = series.of_study(tx, study)
        stored = instances.of_series(tx, record.id)
        row = worklist.row(tx, study)
        sends = deliveries.of_study(tx, study)
        done = jobs.of_study(tx, study)
    assert acknowledged <= {s.sop_instance_uid for s in stored}
    assert len(stored) == SLICES
    by_uid = {instance.sop_instance_uid: instance.read() for instance in sent}
    for s in stored:
        kept, original = site.blobs.read(s.blob_key), by_uid[s.sop_instance_uid]
        assert _pixels_digest(kept) == _pixels_digest(original)
    assert record.state is SeriesState.ANALYSED
    assert row is not None
    assert row.status is WorklistStatus.SUSPECTED
    assert not row.provisional
    assert {(d.kind, d.state.value) for d in sends} == {
        ("SEG", "committed"),
        ("SR", "committed"),
        ("WEBHOOK", "delivered"),
    }
    assert {d.sop_instance_uid for d in sends} == {o.sop_instance_uid for o in row.objects}
    assert sum(j.state.value == "succeeded" and j.revision == record.revision for j in done) == 1
    (message,) = [d.sop_instance_uid for d in sends if d.kind == "WEBHOOK"]
    assert [file.name for file in site.told.iterdir()] == [f"{message}.dcm"]
    (site.told / f"{message}.dcm").unlink()
    for outgoing in (d for d in sends if d.destination == "archive"):
        assert archived_once(archive, outgoing.sop_instance_uid), f"{death}: two different objects under one UID"


def _pixels_digest(content: bytes) -> str:
    return hashlib.sha256(pydicom.dcmread(io.BytesIO(content)).PixelData).hexdigest()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port
