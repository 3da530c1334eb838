"""A file that no row names is left behind only by who could not know whether a row came to name it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.integration.site import BOTH, Site, head
from tests.integration.test_services_escalate import DUTY, flagged
from triage.domain.errors import OutOfSpace, StaleState, StoreUnavailable
from triage.services.escalate import escalate_due
from triage.services.place import placed
from triage.services.undetermined import report_next
from triage.store import result_objects
from triage.store.folder_area import FolderArea
from triage.store.series import REPORT_AFTER


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(database_url, tmp_path / "blobs", profiles={"archive": BOTH})
    yield made
    made.db.dispose()


class Meanwhile(FolderArea):
    """A file area during whose first writing something else happens."""

    def __init__(self, root: Path, *happens: Callable[[], object]) -> None:
        super().__init__(root)
        self._happens = iter(happens)

    def put(self, content: bytes) -> str:
        for happen in self._happens:
            happen()
        return super().put(content)


def test_a_result_that_is_recorded_names_all_its_files(site: Site) -> None:
    study = flagged(site)
    with site.db.read() as tx:
        assert len(result_objects.of_study(tx, study)) == 2
    assert site.unnamed() == []


def test_a_result_that_came_too_late_leaves_no_file(site: Site) -> None:
    series = head()
    study = str(series[0].StudyInstanceUID)
    site.send(series[:-1])
    site.settle()
    slow = Meanwhile(site.root, lambda: site.send(series[-1:], "late"))
    site.blobs = slow
    assert site.analyse()
    with site.db.read() as tx:
        assert result_objects.of_study(tx, study) == []
    assert site.unnamed() == []


def test_a_report_of_an_undetermined_series_that_came_too_late_leaves_no_file(site: Site) -> None:
    series = head()
    site.send(series[:3])
    site.settle()
    site.wait(REPORT_AFTER.total_seconds())
    slow = Meanwhile(site.root, lambda: site.send(series[3:], "late"))
    assert report_next(replace(site.analyst, blobs=slow))
    assert site.unnamed() == []


def test_of_two_workers_that_report_one_leaves_files(site: Site) -> None:
    site.send(head()[:3])
    site.settle()
    site.wait(REPORT_AFTER.total_seconds())
    slow = Meanwhile(site.root, lambda: report_next(site.analyst))
    assert report_next(replace(site.analyst, blobs=slow))
    assert site.unnamed() == []


def test_of_two_clocks_that_tell_again_one_leaves_a_file(site: Site) -> None:
    flagged(site)
    site.wait(timedelta(hours=1).total_seconds())
    other_told: list[int] = []
    slow = Meanwhile(site.root, lambda: other_told.append(escalate_due(site.db, site.blobs, DUTY, site.now)))
    assert escalate_due(site.db, slow, DUTY, site.now) == 0
    assert other_told == [1]
    assert site.unnamed() == []


class Fills(FolderArea):
    """A file area whose disk is full after one file."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.left = 1

    def put(self, content: bytes) -> str:
        if not self.left:
            raise OutOfSpace("SYNTHETIC")
        self.left -= 1
        return super().put(content)


def test_a_disk_that_fills_up_half_way_keeps_no_half(site: Site) -> None:
    with pytest.raises(OutOfSpace), placed(site.db, Fills(site.root), [b"first", b"second"]):
        pytest.fail("Both files were there.")
    assert site.unnamed() == []


@pytest.mark.parametrize(
    ("why", "left"),
    [
        (StaleState("SYNTHETIC"), []),
        (RuntimeError("SYNTHETIC"), []),
        (StoreUnavailable("SYNTHETIC"), [b"a report"]),
    ],
    ids=["too late", "a fault", "no answer to the commit"],
)
def test_only_what_may_have_been_committed_stays(site: Site, why: Exception, left: list[bytes]) -> None:
    with pytest.raises(type(why)), placed(site.db, site.blobs, [b"a report"]):
        raise why
    assert site.unnamed() == left
