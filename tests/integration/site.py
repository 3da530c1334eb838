"""One installation without processes or sockets: the steps called by hand, at a clock that tests move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from tests.builders import ct_series, ellipse_head, part10
from tests.fakes import FixedPredictor
from triage.domain.completeness import Timings
from triage.domain.encoded import ObjectKind
from triage.domain.profile import Profile
from triage.domain.worklist import WorklistRow
from triage.net.part10 import dataset_offset
from triage.net.scp import IncomingInstance, Peer
from triage.services.analyse import Analyst, analyse_next
from triage.services.assemble import assemble_due
from triage.services.notify import Notifier
from triage.services.receive import Door, Receipt, association_ended, keep
from triage.store import audit, instances, jobs, series, worklist
from triage.store.audit import AuditRecord
from triage.store.db import Database
from triage.store.folder_area import FolderArea
from triage.store.jobs import JobRecord
from triage.store.series import SeriesRecord

PEER = Peer("SCANNER", "ICHTRIAGE", "127.0.0.1", 40000)
TIMINGS = Timings()
BOTH, REPORT = Profile((ObjectKind.SEG, ObjectKind.SR)), Profile((ObjectKind.SR,))


def head(slices: int = 18, **overrides: Any) -> list[Dataset]:
    """An analysable series of a few slices."""
    return ct_series(slices, 64, 64, hu=lambda k: ellipse_head(64, 64, height=k / slices - 0.5), **overrides)


@dataclass
class Site:
    """Stores, a clock, and the steps of the main job."""

    url: str
    root: Path
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    predictor: Any = field(default_factory=FixedPredictor)
    notifiers: Mapping[str, Notifier] = field(default_factory=dict)
    now: datetime = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)
    min_free_bytes: int = 0

    def __post_init__(self) -> None:
        self.db = Database(self.url)
        self.blobs = FolderArea(self.root)

    @property
    def door(self) -> Door:
        return Door(self.db, self.blobs, TIMINGS, self.min_free_bytes, "site")

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    def keep(self, ds: Dataset, association: str = "a1", *, content: bytes | None = None) -> Receipt:
        """Receive one instance."""
        content = content or part10(ds)
        return keep(
            self.door,
            IncomingInstance(
                association,
                PEER,
                str(ds.SOPClassUID),
                str(ds.SOPInstanceUID),
                str(ds.file_meta.TransferSyntaxUID),
                content,
                dataset_offset(content),
            ),
            self.now,
        )

    def send(self, datasets: Sequence[Dataset], association: str = "a1", *, released: bool = True) -> None:
        """Receive a series over one association."""
        for ds in datasets:
            self.keep(ds, association)
        association_ended(self.door, association, released=released, now=self.now)

    def assemble(self) -> int:
        return assemble_due(self.db, TIMINGS, self.now)

    def settle(self) -> int:
        """Wait as long as a complete series needs, and assemble."""
        self.wait(TIMINGS.settle_seconds)
        return self.assemble()

    @property
    def analyst(self) -> Analyst:
        return Analyst(
            self.db, self.blobs, self.predictor, self.profiles, lambda: self.now, "worker-1", notifiers=self.notifiers
        )

    def analyse(self) -> bool:
        return analyse_next(self.analyst)

    def row(self, study: str) -> WorklistRow:
        with self.db.read() as tx:
            found = worklist.row(tx, study)
        assert found is not None
        return found

    def series(self, study: str) -> list[SeriesRecord]:
        with self.db.read() as tx:
            return series.of_study(tx, study)

    def jobs(self, study: str) -> list[JobRecord]:
        with self.db.read() as tx:
            return jobs.of_study(tx, study)

    def audit(self) -> list[AuditRecord]:
        with self.db.read() as tx:
            audit.verify(tx)
            return audit.records(tx)

    def unnamed(self) -> list[bytes]:
        """The files of the file area that no row names."""
        keys = list(self.blobs.keys_older_than(self.now.replace(year=2999)))
        with self.db.read() as tx:
            known = instances.blob_keys_known(tx, keys)
        return [self.blobs.read(key) for key in keys if key not in known]
