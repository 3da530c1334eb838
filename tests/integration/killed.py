"""The main job as a site under test, and children of it that are killed at a named step."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from tests.builders import ct_series, ellipse_head
from tests.fakes import (
    CountingArchive,
    FixedPredictor,
    KillingBlobs,
    KillingDatabase,
    die,
    dying_send,
)
from tests.peers import outgoing
from triage.dicom.source import Source
from triage.domain.completeness import Timings
from triage.domain.encoded import EncodedObject
from triage.domain.notice import Notice
from triage.domain.work import RetryPolicy
from triage.entrypoints.app import utc_now
from triage.net import folder
from triage.net.folder import FolderTarget
from triage.net.scp import IncomingInstance, ListenerOptions, Peer, StorageScp
from triage.net.scu import OutgoingInstance, RemoteAe, SendOutcome, send
from triage.net.webhook import encode_webhook
from triage.services.analyse import Analyst, analyse_next
from triage.services.assemble import assemble_due
from triage.services.commit import Request, Witness, confirm_next
from triage.services.deliver import Courier, Send, deliver_next
from triage.services.notify import Notifier
from triage.services.receive import Door, association_ended, keep
from triage.services.recover import end_lost_associations, requeue_lapsed
from triage.services.result_set import DEFAULT
from triage.store.db import Database
from triage.store.folder_area import FolderArea

TIMINGS = Timings()
SLICES = 20
NAME = "site"

# The server process imports everything once; each child is forked from it in milliseconds.
CHILDREN = multiprocessing.get_context("forkserver")
CHILDREN.set_forkserver_preload(["tests.integration.killed"])


def head_series(seed: int = 0, slices: int = SLICES) -> list[OutgoingInstance]:
    """One analysable series, in an order that is not the scan order."""
    datasets = ct_series(slices, hu=lambda k: ellipse_head(64, 64, height=(k / (slices - 1) - 0.5)))
    return outgoing([datasets[(i * 7 + seed) % slices] for i in range(slices)])


@dataclass
class Site:
    """Everything of one installation but its processes; steps run here, at a clock that tests move."""

    url: str
    root: Path
    archive_port: int
    offset: timedelta = timedelta(0)
    db: Database = field(init=False)
    blobs: FolderArea = field(init=False)

    def __post_init__(self) -> None:
        self.db = Database(self.url)
        self.blobs = FolderArea(self.root)

    def now(self) -> datetime:
        return utc_now() + self.offset

    def door(self) -> Door:
        return Door(self.db, self.blobs, TIMINGS, 0, NAME)

    def analyst(self, predictor: Any = None) -> Analyst:
        return Analyst(
            db=self.db,
            blobs=self.blobs,
            predictor=predictor or FixedPredictor(),
            profiles={"archive": DEFAULT},
            notifiers={"list": Notifier(tell, after="archive")},
            clock=self.now,
            owner="test",
        )

    @property
    def archive(self) -> RemoteAe:
        return RemoteAe("ARCHIVE", "127.0.0.1", self.archive_port)

    @property
    def told(self) -> Path:
        """Where the reading list keeps its messages."""
        return self.root.parent / "told"

    def courier(self) -> Courier:
        return Courier(
            db=self.db,
            blobs=self.blobs,
            destination="archive",
            send=partial(send, self.archive),
            clock=self.now,
            owner="test",
            policy=RetryPolicy(),
            commitment=True,
        )

    def messenger(self) -> Courier:
        self.told.mkdir(exist_ok=True)
        to_list = partial(folder.send, FolderTarget(self.told))
        return replace(self.courier(), destination="list", send=to_list, after="archive", commitment=False)

    def witness(self, request: Request | None = None) -> Witness:
        """An archive that reports nothing and, asked, has everything: `_check` looks whether that is true."""
        return Witness(
            self.db, "archive", request or (lambda uid, references: None), lambda _, wanted: set(wanted), self.now
        )

    def listener(self, port: int = 0) -> StorageScp:
        door = self.door()

        def on_instance(incoming: IncomingInstance) -> None:
            keep(door, incoming, self.now())

        def on_ended(association_id: str, peer: Peer, released: bool) -> None:
            association_ended(door, association_id, released=released, now=self.now())

        def on_refused(peer: Peer, why: str) -> None:
            raise AssertionError(why)

        return StorageScp(ListenerOptions(ae_title="ICHTRIAGE", port=port), on_instance, on_ended, on_refused)

    def receive(self, instances: list[OutgoingInstance]) -> list[SendOutcome]:
        """What a listener that is not killed does with these."""
        scp = self.listener()
        scp.start()
        try:
            return send(RemoteAe("ICHTRIAGE", "127.0.0.1", scp.port), instances)
        finally:
            scp.stop(5.0)

    def assemble(self) -> None:
        self.offset += timedelta(seconds=TIMINGS.max_wait_seconds + 1)
        assemble_due(self.db, TIMINGS, self.now())

    def analyse(self) -> None:
        while analyse_next(self.analyst()):
            pass

    def deliver(self) -> None:
        for courier in (self.courier(), self.messenger()):
            while deliver_next(courier):
                pass

    def confirm(self) -> None:
        while confirm_next(self.witness()):
            pass

    def finish(self) -> None:
        """What the processes do after they were started again, with the waiting left out."""
        end_lost_associations(self.db, NAME, self.now())
        for _ in range(6):
            self.assemble()
            requeue_lapsed(self.db, self.now())
            self.offset += timedelta(minutes=10)
            self.analyse()
            self.deliver()
            self.confirm()


def tell(notice: Notice, _source: Source, identifier: str) -> EncodedObject:
    return encode_webhook(notice, identifier)


@dataclass(frozen=True)
class Death:
    """Where a role is killed: which parts of the site die at which call."""

    role: str
    step: str
    db: Callable[[str, int], Database] | None = None
    blobs: Callable[[Path, int], FolderArea] | None = None
    predictor: Callable[[], Any] | None = None
    send: Callable[[RemoteAe], Send] | None = None
    request: Request | None = None
    calls: Callable[[int], int] = lambda _: 1

    def __str__(self) -> str:
        return f"{self.role}: {self.step}"


def _before(url: str, n: int) -> Database:
    return KillingDatabase(url, n, before=True)


def _after(url: str, n: int) -> Database:
    return KillingDatabase(url, n, before=False)


def _instance(round_number: int) -> int:
    return 1 + round_number * 5 % SLICES


DEATHS: tuple[Death, ...] = (
    Death("listen", "file written, no row", blobs=KillingBlobs, calls=_instance),
    Death("listen", "row written, not committed", db=_before, calls=_instance),
    Death("listen", "committed, no status sent", db=_after, calls=_instance),
    Death("listen", "association ended, not recorded", db=_before, calls=lambda _: SLICES + 1),
    Death("clock", "series assembled, not committed", db=_before),
    Death("clock", "series assembled", db=_after),
    Death("work", "job claimed", db=_after),
    Death("work", "mid-job, before the gate", predictor=lambda: FixedPredictor(at_gate=die)),
    Death("work", "mid-job, provisional flag shown", predictor=lambda: FixedPredictor(at_segment=die)),
    Death("work", "one object written", blobs=KillingBlobs, calls=lambda _: 1),
    Death("work", "objects written, not committed", db=_before, calls=lambda _: 3),
    Death("work", "result committed", db=_after, calls=lambda _: 3),
    Death("send", "batch claimed", db=_after),
    Death("send", "first object acknowledged", send=partial(dying_send, 1)),
    Death("send", "all acknowledged, not recorded", send=partial(dying_send, 2)),
    Death("send", "outcome recorded", db=_after, calls=lambda _: 2),
    Death("tell", "message claimed", db=_after),
    Death("tell", "message sent, not recorded", db=_before, calls=lambda _: 2),
    Death("tell", "message recorded", db=_after, calls=lambda _: 2),
    Death("confirm", "commitment to be asked for", db=_after),
    Death("confirm", "commitment asked for", request=lambda uid, references: die()),
    Death("look up", "answer had, not recorded", db=_before, calls=lambda _: 2),
    Death("look up", "answer recorded", db=_after, calls=lambda _: 2),
)


def live_and_die(
    number: int, round_number: int, url: str, root: Path, archive_port: int, offset: timedelta, port: int
) -> None:
    """Run one role in this process until its death comes; returning means that it never came."""
    death = DEATHS[number]
    site = Site(url, root, archive_port, offset)
    if death.db is not None:
        site.db = death.db(site.url, death.calls(round_number))
    if death.blobs is not None:
        site.blobs = death.blobs(site.root, death.calls(round_number))
    if death.role == "listen":
        site.listener(port).start()
        signal.pause()
    elif death.role == "clock":
        site.assemble()
    elif death.role == "work":
        analyse_next(site.analyst(death.predictor() if death.predictor else None))
    elif death.role == "tell":
        deliver_next(site.messenger())
    elif death.role in ("confirm", "look up"):
        confirm_next(site.witness(death.request))
    else:
        courier = site.courier()
        deliver_next(replace(courier, send=death.send(site.archive)) if death.send else courier)


def archived_once(archive: CountingArchive, uid: str) -> bool:
    """Whether every copy that the archive was sent under this UID is the same object."""
    return len(set(archive.contents[uid])) == 1
