"""Old files go, and nothing that somebody may still need; what was found stays."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from tests.builders import localizer
from tests.fakes import FixedPredictor
from tests.integration.site import Site, head
from tests.studies import events, installation
from triage.domain.audit import AuditAction
from triage.domain.errors import DeliveryRefused, StaleState, StoreUnavailable
from triage.domain.finding import WorklistStatus
from triage.domain.lifecycle import DeliveryState
from triage.entrypoints.look import file_of
from triage.net.scu import OutgoingInstance, SendOutcome
from triage.services.deliver import Courier, deliver_next
from triage.services.reanalyse import reanalyse
from triage.services.receive import Receipt
from triage.services.recover import retry_study, set_orphans_aside
from triage.services.retain import remove_old_files
from triage.services.tell import study_json
from triage.store import jobs, retention, shadow_results

DAYS = 30
OTHER = "ef" * 32


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    with installation(database_url, tmp_path / "blobs") as made:
        yield made


@pytest.fixture
def slices() -> list[Dataset]:
    return head()


@pytest.fixture
def study(site: Site, slices: list[Dataset]) -> str:
    """A study that was analysed, and whose objects wait to be sent."""
    site.send(slices)
    site.settle()
    assert site.analyse()
    return str(slices[0].StudyInstanceUID)


def send(site: Site, status: int = 0) -> bool:
    """Send what is due, to an archive that answers so."""

    def stored(batch: list[OutgoingInstance]) -> list[SendOutcome]:
        error = DeliveryRefused("SYNTHETIC: refused.", status) if status else None
        return [SendOutcome(one.sop_instance_uid, error, status) for one in batch]

    return deliver_next(Courier(site.db, site.blobs, "archive", stored, lambda: site.now, "sender-1"))


@pytest.fixture
def sent(site: Site, study: str) -> str:
    """The same when all of it is done."""
    assert send(site)
    assert {one.state for one in site.row(study).objects} == {DeliveryState.DELIVERED}
    return study


def files(site: Site) -> int:
    return sum(1 for _ in site.root.rglob("*.dcm"))


def sweep(site: Site, days: float = 0.0) -> int:
    """Let days pass, and remove what is old then."""
    site.now += timedelta(days=days)
    return remove_old_files(site.db, site.blobs, DAYS, site.now)


def removed_at(site: Site, study: str) -> datetime | None:
    with site.db.read() as tx:
        return retention.removed_at(tx, study)


def test_the_files_of_an_old_study_go_and_what_was_found_stays(site: Site, sent: str) -> None:
    row = site.row(sent)
    held = files(site)
    assert held == 18 + 2
    assert sweep(site, DAYS - 1) == 0
    assert files(site) == held
    assert sweep(site, 2) == 1
    assert files(site) == 0
    assert site.row(sent) == row
    (event,) = events(site, AuditAction.FILES_REMOVED)
    assert (event.actor, event.study_instance_uid, event.detail) == ("clock", sent, {"files": held})
    assert removed_at(site, sent) == site.now
    assert sweep(site, DAYS) == 0


def test_nobody_is_told_of_a_file_that_is_gone(
    site: Site, sent: str, slices: list[Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> dict[str, Any]:
        with site.db.read() as tx:
            return study_json(tx, sent, partial(file_of, site.blobs))

    assert all(Path(one["file"]).is_file() for one in told()["objects"])
    sweep(site, DAYS + 1)
    after = told()
    assert [one["file"] for one in after["objects"]] == [None, None]
    assert after["timeline"][-1]["action"] == "files_removed"
    site.keep(slices[0], "again")  # an image comes again, no object does
    assert [one["file"] for one in told()["objects"]] == [None, None]
    monkeypatch.setattr(site.blobs, "holds", silent)
    assert len(told()["objects"]) == 2


def silent(key: str) -> bool:
    raise StoreUnavailable(f"SYNTHETIC: nothing is said of {key}.")


def test_a_younger_study_keeps_its_files(site: Site, sent: str) -> None:
    site.now += timedelta(days=DAYS)
    young = head()
    site.send(young, "young")
    site.settle()
    site.analyse()
    send(site)
    assert sweep(site, 1) == 1
    assert files(site) == 18 + 2
    assert removed_at(site, str(young[0].StudyInstanceUID)) is None


def test_what_was_not_sent_is_kept(site: Site, study: str) -> None:
    assert sweep(site, 2 * DAYS) == 0
    assert send(site, 0x0122)
    assert {one.state for one in site.row(study).objects} == {DeliveryState.FAILED}
    assert sweep(site, 2 * DAYS) == 0
    retry_study(site.db, study, actor="person", now=site.now)
    assert send(site)
    assert sweep(site, 1) == 0  # the days are counted from the delivery
    assert sweep(site, DAYS) == 1
    assert files(site) == 0


def test_what_is_arriving_or_waits_for_a_worker_is_kept(site: Site, slices: list[Dataset]) -> None:
    site.send(slices)
    assert sweep(site, 2 * DAYS) == 0
    assert site.assemble() == 1
    assert sweep(site, 2 * DAYS) == 0
    with site.db.transaction() as tx:
        assert jobs.claim(tx, owner="w", now=site.now, lease_seconds=15) is not None
    assert sweep(site, 2 * DAYS) == 0
    assert files(site) == 18


def test_what_was_analysed_anew_is_kept_from_then_on(site: Site, sent: str) -> None:
    site.now += timedelta(days=DAYS - 1)
    reanalyse(site.db, site.blobs, sent, bundle_digest=OTHER, actor="person", now=site.now)
    assert sweep(site, 2) == 0
    assert site.analyse()
    send(site)
    assert sweep(site, DAYS - 1) == 0
    assert sweep(site, 2) == 1


def test_a_late_image_keeps_the_study(site: Site, sent: str, slices: list[Dataset]) -> None:
    site.now += timedelta(days=DAYS - 1)
    late = copy.deepcopy(slices[-1])
    late.SOPInstanceUID = f"{late.SOPInstanceUID}.1"
    late.file_meta.MediaStorageSOPInstanceUID = late.SOPInstanceUID
    late.ImagePositionPatient = [*late.ImagePositionPatient[:2], late.ImagePositionPatient[2] + 5]
    site.send([late], "late")
    assert sweep(site, 2) == 0
    assert files(site) == 18 + 2 + 1


def test_a_copy_that_was_kept_aside_goes_too(site: Site, sent: str, slices: list[Dataset]) -> None:
    other = copy.deepcopy(slices[0])
    other.PatientName = "OTHER^SYNTHETIC"
    assert site.keep(other, "a2") is Receipt.CONFLICT
    assert files(site) == 18 + 2 + 1
    assert sweep(site, DAYS + 1) == 1
    assert files(site) == 0
    # Acknowledged is kept: it is not taken for the copy that is gone.
    assert site.keep(slices[0], "a3") is Receipt.RESTORED
    assert site.keep(other, "a4") is Receipt.CONFLICT
    assert files(site) == 2


def test_what_comes_again_is_kept_as_long_again_and_can_be_analysed(
    site: Site, sent: str, slices: list[Dataset]
) -> None:
    sweep(site, DAYS + 1)
    assert {site.keep(one, "again") for one in slices} == {Receipt.RESTORED}
    assert removed_at(site, sent) is None
    assert files(site) == 18
    assert sweep(site, DAYS - 1) == 0
    site.predictor = FixedPredictor(score=0.1)
    assert reanalyse(site.db, site.blobs, sent, bundle_digest=OTHER, actor="person", now=site.now) == 1
    assert site.analyse()
    assert site.row(sent).status is WorklistStatus.NOT_SUSPECTED
    send(site)
    assert sweep(site, DAYS + 1) == 1
    assert files(site) == 0


def test_an_image_that_no_analysis_looks_at_has_its_days_too(site: Site, sent: str, slices: list[Dataset]) -> None:
    sweep(site, DAYS + 1)
    other = localizer(sent)
    other.SeriesInstanceUID = slices[0].SeriesInstanceUID  # which stays as it stands
    site.keep(other, "other")
    assert removed_at(site, sent) is None
    assert files(site) == 1
    assert sweep(site, DAYS - 1) == 0
    assert files(site) == 1
    assert sweep(site, 2) == 1
    assert files(site) == 0


@pytest.mark.parametrize("came_again", [0, 1, 17])
def test_nothing_is_analysed_anew_until_every_image_is_there(
    site: Site, sent: str, slices: list[Dataset], came_again: int
) -> None:
    """An analysis that cannot read an image would take back what was found."""
    sweep(site, DAYS + 1)
    row = site.row(sent)
    with site.db.read() as tx:
        assert shadow_results.next_unshadowed(tx, OTHER, site.now - timedelta(days=3 * DAYS)) is None
    for one in slices[:came_again]:
        site.keep(one, "again")
    with pytest.raises(StaleState, match=rf"{18 - came_again} of 18 files .* gone .* send the study again first"):
        reanalyse(site.db, site.blobs, sent, bundle_digest=OTHER, actor="person", now=site.now)
    assert site.row(sent) == row


def test_a_shadow_still_asks_of_what_is_kept(site: Site, sent: str) -> None:
    with site.db.read() as tx:
        found = shadow_results.next_unshadowed(tx, OTHER, site.now - timedelta(days=DAYS))
    assert found is not None
    assert found.study_instance_uid == sent


def test_a_pass_that_was_cut_off_is_finished_by_the_next(
    site: Site, sent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is killed removes some files, and commits nothing."""
    remove, before = site.blobs.remove, files(site)
    left = iter(range(5))

    def cut_off(key: str) -> None:
        if next(left, None) is None:
            raise StoreUnavailable("SYNTHETIC: no answer.")
        remove(key)

    with monkeypatch.context() as broken:
        broken.setattr(site.blobs, "remove", cut_off)
        with pytest.raises(StoreUnavailable):
            sweep(site, DAYS + 1)
    assert files(site) == before - 5
    assert removed_at(site, sent) is None
    assert events(site, AuditAction.FILES_REMOVED) == []
    assert sweep(site) == 1
    assert files(site) == 0
    assert set_orphans_aside(site.db, site.blobs, site.now) == 0
