"""A clock that is killed while it escalates, and a person whose choice of a bundle is cut short: once, or not yet."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.fakes import KillingBlobs, KillingDatabase
from tests.integration.killed import CHILDREN
from tests.integration.site import BOTH, Site, head
from tests.onnx_models import tiny_bundle
from triage.dicom.source import Source
from triage.domain.audit import AuditAction
from triage.domain.encoded import EncodedObject, ObjectKind
from triage.domain.notice import Notice
from triage.inference.bundle import load_bundle
from triage.net.webhook import encode_webhook
from triage.services import change_bundle
from triage.services.escalate import escalate_due
from triage.services.notify import Notifier
from triage.store import bundle_slots, result_objects
from triage.store.bundle_slots import Slot
from triage.store.db import Database
from triage.store.folder_area import FolderArea

WAIT = timedelta(minutes=15)


def tell(notice: Notice, _source: Source, identifier: str) -> EncodedObject:
    return encode_webhook(notice, identifier)


NOTIFIERS = {"duty": Notifier(tell, escalate_after=WAIT), "chat": Notifier(tell, escalate_after=WAIT)}


def escalate_and_die(step: str, url: str, root: Path, now: datetime) -> None:
    db: Database = Database(url)
    blobs: FolderArea = FolderArea(root)
    if step == "message written":
        blobs = KillingBlobs(root, 1)
    else:
        db = KillingDatabase(url, 1, before=step == "not committed")
    escalate_due(db, blobs, NOTIFIERS, now)


def choose_and_die(url: str, root: Path, path: Path, now: datetime) -> None:
    db = KillingDatabase(url, 1, before=True)
    change_bundle.choose(db, FolderArea(root), load_bundle(path), Slot.ACTIVE, actor="person", now=now)


def killed(target: Callable[..., None], *arguments: object) -> None:
    child = CHILDREN.Process(target=target, args=arguments)
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("step", ["message written", "not committed", "committed"])
def test_a_study_is_escalated_once_for_each_list(step: str, database_url: str, tmp_path: Path) -> None:
    site = Site(database_url, tmp_path / "blobs", profiles={"archive": BOTH})
    slices = head()
    site.send(slices)
    site.settle()
    site.analyse()
    site.wait(WAIT.total_seconds())
    killed(escalate_and_die, step, site.url, site.root, site.now)
    for _ in range(2):
        site.wait(5)
        escalate_due(site.db, site.blobs, NOTIFIERS, site.now)
    study = str(slices[0].StudyInstanceUID)
    with site.db.read() as tx:
        made = [o for o in result_objects.of_study(tx, study) if o.kind is ObjectKind.WEBHOOK]
    told = [r.event.detail["told"] for r in site.audit() if r.event.action is AuditAction.STUDY_ESCALATED]
    assert sorted(map(str, told)) == ["chat", "duty"]
    assert len(made) == 2
    assert all(site.blobs.read(o.blob_key) for o in made)
    site.db.dispose()


@pytest.mark.slow
def test_a_choice_that_was_cut_short_is_none(database_url: str, tmp_path: Path) -> None:
    site = Site(database_url, tmp_path / "blobs")
    bundle = tiny_bundle(tmp_path / "bundle")
    killed(choose_and_die, site.url, site.root, bundle.path, site.now)
    with site.db.read() as tx:
        assert bundle_slots.chosen(tx) == {}
    change_bundle.choose(site.db, site.blobs, bundle, Slot.ACTIVE, actor="person", now=site.now)
    with site.db.read() as tx:
        assert bundle_slots.chosen(tx)[Slot.ACTIVE].digest == bundle.digest
    site.db.dispose()
