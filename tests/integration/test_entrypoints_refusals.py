"""A request that carries no instance: answered, and on record like every other refusal."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.site import Site
from tests.peers import RawPeer, store_command
from tests.services import free_port
from triage.domain.audit import AuditAction
from triage.entrypoints.app import App
from triage.entrypoints.listener import storage_scp
from triage.net.scp import StorageScp
from triage.net.status import CANNOT_UNDERSTAND
from triage.settings import Settings

REFUSED = struct.pack("<HHIH", 0x0000, 0x0900, 2, CANNOT_UNDERSTAND)
"""Status (0000,0900) of an answer, in Implicit VR Little Endian."""


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(database_url, tmp_path / "blobs")
    yield made
    made.db.dispose()


@pytest.fixture
def scp(site: Site) -> Iterator[StorageScp]:
    settings = Settings.model_validate({"listener": {"port": free_port()}})
    made = storage_scp(App(settings, site.db, site.blobs, lambda: site.now), site.door)
    made.start()
    yield made
    made.stop(grace_seconds=2)


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize(
    ("sop_instance_uid", "content", "why"), [("2.25.7", b"", "no data set"), ("2.25.x", bytes(8), "is no UID")]
)
def test_a_request_that_carries_no_instance_leaves_a_row(
    site: Site, scp: StorageScp, sop_instance_uid: str, content: bytes, why: str
) -> None:
    with RawPeer(scp.port) as peer:
        assert peer.associate() == 2
        peer.send_data(store_command(sop_instance_uid), command=True)
        peer.send_data(content, command=False)
        kind, answer = peer.read_pdu()
        assert kind == 4
        assert REFUSED in answer
    (row,) = [r.event for r in site.audit() if r.event.action is AuditAction.INSTANCE_REFUSED]
    assert (row.actor, row.sop_instance_uid, row.detail["code"]) == ("RAW", None, "unreadable_instance")
    assert why in str(row.detail["why"])
