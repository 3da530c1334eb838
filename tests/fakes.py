"""Small objects that stand in for a model, an archive or a process that dies."""

from __future__ import annotations

import os
import signal
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from triage.domain.finding import KINDS, SUBTYPES, DecisionRule, KeySlice, Subtype, SubtypeFinding, TriageResult
from triage.domain.volume import Volume
from triage.inference.predict import Analysis
from triage.net.scp import IncomingInstance, ListenerOptions, Peer, StorageScp
from triage.net.scu import OutgoingInstance, RemoteAe, SendOutcome, send
from triage.net.tls import TlsFiles
from triage.services.deliver import Send
from triage.store.db import Database, Transaction
from triage.store.folder_area import FolderArea

RULE = DecisionRule(suspected_at=0.5, emergent_at=0.9)
DIGEST = "ab" * 32


def die() -> None:
    """End this process as the kernel would: no clean-up, no flush, no goodbye."""
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class FixedPredictor:
    """Says the same of every volume: one box of blood of one kind in the middle slices, or none.

    ``at_gate`` and ``at_segment`` are called before the answers, to fail or to die there.
    """

    score: float = 0.95
    at_gate: Callable[[], None] = lambda: None
    at_segment: Callable[[], None] = lambda: None
    kind: Subtype = Subtype.IPH
    provider: str = "CPUExecutionProvider"
    bundle: Any = field(
        default_factory=lambda: SimpleNamespace(
            name="fixed",
            version="1",
            digest=DIGEST,
            demonstration=True,
            measured=("Learned from: nothing.",),
            preprocessing=SimpleNamespace(field_mm=256.0),
        )
    )

    def gate(self, volume: Volume) -> Any:
        self.at_gate()
        labels = self._labels(volume)
        scores = np.where(labels.any(axis=(1, 2)), self.score, 0.02)
        return SimpleNamespace(
            result=self._result(volume, labels, provisional=True),
            slice_probabilities=np.repeat(scores[:, None], 6, axis=1),
        )

    def segment(self, volume: Volume, gate: Any, *, every_slice: bool = False, probabilities: bool = False) -> Analysis:
        self.at_segment()
        labels = self._labels(volume)
        result = self._result(volume, labels, provisional=False)
        return Analysis(result, labels, labels, np.zeros((len(labels), 6)), len(labels))

    def _labels(self, volume: Volume) -> Any:
        labels = np.zeros(volume.hu.shape, np.uint8)
        if self.score >= RULE.suspected_at:
            middle = len(labels) // 2
            labels[middle - 1 : middle + 1, 28:36, 38:46] = KINDS.index(self.kind) + 1
        return labels

    def _result(self, volume: Volume, labels: Any, *, provisional: bool) -> TriageResult:
        named = (Subtype.ICH,) if self.kind is Subtype.ICH else SUBTYPES
        volumes = {s: volume.mask_ml(labels == KINDS.index(s) + 1) for s in named}
        middle = len(labels) // 2
        source = volume.sources[middle]
        return TriageResult(
            score=self.score,
            rule=RULE,
            subtypes={s: SubtypeFinding(self.score if ml else 0.01, ml) for s, ml in volumes.items()},
            total_volume_ml=sum(volumes.values()),
            key_slice=KeySlice(source.sop_instance_uid, source.frame_number, middle) if labels.any() else None,
            provisional=provisional,
        )


@dataclass
class CountingArchive:
    """A Storage SCP that remembers every object it was sent, and how often."""

    scp: StorageScp
    contents: dict[str, list[bytes]]

    @property
    def remote(self) -> RemoteAe:
        return RemoteAe("ARCHIVE", "127.0.0.1", self.scp.port)


@contextmanager
def counting_archive(port: int = 0, tls: TlsFiles | None = None) -> Iterator[CountingArchive]:
    """Run a `CountingArchive` on loopback."""
    contents: dict[str, list[bytes]] = defaultdict(list)
    lock = threading.Lock()

    def keep(incoming: IncomingInstance) -> None:
        with lock:
            contents[incoming.sop_instance_uid].append(incoming.content[incoming.dataset_offset :])

    def ended(association_id: str, peer: Peer, released: bool) -> None:
        pass

    def refused(peer: Peer, why: str) -> None:
        pass

    scp = StorageScp(ListenerOptions(ae_title="ARCHIVE", port=port, tls=tls), keep, ended, refused)
    scp.start()
    try:
        yield CountingArchive(scp, contents)
    finally:
        scp.stop(1.0)


class KillingBlobs(FolderArea):
    """A file area whose process dies right after the n-th file was written."""

    def __init__(self, root: Any, deaths_at: int) -> None:
        super().__init__(root)
        self._left = deaths_at

    def put(self, content: bytes) -> str:
        key = super().put(content)
        self._left -= 1
        if self._left == 0:
            die()
        return key


class KillingDatabase(Database):
    """A database whose process dies right before, or right after, the n-th commit."""

    def __init__(self, url: str, deaths_at: int, *, before: bool) -> None:
        super().__init__(url)
        self._left = deaths_at
        self._before = before

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        with super().transaction() as tx:
            yield tx
            self._left -= 1
            if self._left == 0 and self._before:
                die()
        if self._left == 0:
            die()


def dying_send(after: int, remote: RemoteAe) -> Send:
    """A Storage SCU whose process dies after the archive acknowledged ``after`` objects."""

    def send_some(instances: Sequence[OutgoingInstance]) -> list[SendOutcome]:
        left = [after]

        def count(_: SendOutcome) -> None:
            left[0] -= 1
            if left[0] == 0:
                die()

        return send(remote, instances, on_sent=count)

    return send_some
