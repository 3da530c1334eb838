"""What a worker or a sender holds while it works: claimed rows with their lease, as values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from triage.domain.encoded import ObjectKind


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """One analysis, leased. ``lease`` must be shown again to finish it; ``attempt`` counts from 1."""

    job_id: int
    lease: str
    lease_until: datetime
    attempt: int
    series_id: int
    series_instance_uid: str
    study_instance_uid: str
    revision: int


@dataclass(frozen=True, slots=True)
class OutboundObject:
    """One encoded result object of a claimed delivery."""

    delivery_id: int
    kind: ObjectKind
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    blob_key: str


@dataclass(frozen=True, slots=True)
class ClaimedBatch:
    """All pending objects of one result for one destination, leased together: one association sends them."""

    lease: str
    lease_until: datetime
    attempt: int
    destination: str
    study_instance_uid: str
    series_instance_uid: str
    objects: tuple[OutboundObject, ...]


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with jitter: attempt n waits between half and all of base * 2^(n-1), capped."""

    base_seconds: float = 2.0
    cap_seconds: float = 300.0

    def __post_init__(self) -> None:
        if not 0 < self.base_seconds <= self.cap_seconds:
            raise ValueError("a retry policy needs 0 < base_seconds <= cap_seconds")

    def delay_seconds(self, attempt: int, jitter: float) -> float:
        """Seconds to wait after failed attempt ``attempt`` (from 1); ``jitter`` is drawn from 0..1."""
        doublings = min(attempt - 1, 64)  # a float overflows at 1024, and every cap is reached long before
        full = min(self.cap_seconds, self.base_seconds * 2.0**doublings)
        return full * (0.5 + jitter / 2)


@dataclass(frozen=True, slots=True)
class RetryPolicy(Backoff):
    """A backoff that ends: whoever holds one reads ``max_attempts``. What is tried for ever has a `Backoff`."""

    max_attempts: int = 50

    def __post_init__(self) -> None:
        Backoff.__post_init__(self)  # super() does not know the class that slots make of this one
        if self.max_attempts < 1:
            raise ValueError("a retry policy needs max_attempts >= 1")
