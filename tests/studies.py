"""Studies for tests of the pages: received, analysed and stored beside the desk that shows them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydicom.dataset import Dataset

from tests.fakes import FixedPredictor
from tests.integration.site import BOTH, Site, head
from triage.domain.audit import AuditAction, AuditEvent
from triage.domain.finding import Subtype
from triage.domain.worklist import ListedStudy, WorklistRow
from triage.store import worklist


@contextmanager
def installation(database_url: str, blobs: Path) -> Iterator[Site]:
    """An installation whose analysis finds one box of IPH in every study.

    The fixture ``desk`` is on the same database, and on ``tmp_path / "blobs"``.
    """
    site = Site(database_url, blobs, profiles={"archive": BOTH})
    try:
        yield site
    finally:
        site.db.dispose()


def taken_in(site: Site, datasets: Sequence[Dataset], score: float = 0.95, kind: Subtype = Subtype.IPH) -> WorklistRow:
    """Receive a series and bring it to its end."""
    site.predictor = FixedPredictor(score, kind=kind)
    site.send(datasets, association=f"a{site.now.timestamp()}")
    site.wait(60)
    site.assemble()
    while site.analyse():
        pass
    return site.row(str(datasets[0].StudyInstanceUID))


def suspected(site: Site, **overrides: object) -> str:
    """UID of a study with the box on slices 8 and 9 (from 0) of 18."""
    return taken_in(site, head(18, **overrides)).study_instance_uid


def not_suspected(site: Site, **overrides: object) -> str:
    """UID of a study in which nothing was found."""
    return taken_in(site, head(18, **overrides), score=0.1).study_instance_uid


def not_analysed(site: Site, **overrides: object) -> str:
    """UID of a study whose slices do not make a volume: one is missing."""
    slices = head(18, **overrides)
    return taken_in(site, slices[:8] + slices[11:]).study_instance_uid


def pending(site: Site, **overrides: object) -> str:
    """UID of a study that is still coming in."""
    slices = head(18, **overrides)
    site.send(slices[:9], association=f"a{site.now.timestamp()}", released=False)
    return str(slices[0].StudyInstanceUID)


def listed(site: Site, uid: str) -> ListedStudy:
    """The study as the page lists it."""
    with site.db.read() as tx:
        found = worklist.listed(tx, uid)
    assert found is not None
    return found


def events(site: Site, action: AuditAction) -> list[AuditEvent]:
    """What the audit log holds of one sort, oldest first."""
    return [record.event for record in site.audit() if record.event.action is action]
