"""The states of a series, a job and a delivery, and every move that is allowed.

Only ``triage.store`` moves a state: one guarded ``UPDATE ... WHERE state = :from`` with the audit row in the
same transaction. The comment beside each state says what a crash leaves behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class SeriesState(StrEnum):
    """Where the current revision of a series stands."""

    RECEIVING = "receiving"  # crash: assemble_at is a column, so the next clock pass finishes it
    STABLE = "stable"  # crash: a job exists, written in the same transaction
    PASSED_OVER = "passed_over"  # another series of the study is better; taken up again if that one fails
    UNUSABLE = "unusable"  # final for this revision; a late instance, or a person (reanalyse), opens the next one
    ANALYSED = "analysed"  # final for this revision; results and deliveries were written with it


class JobState(StrEnum):
    """One analysis of one revision of one series."""

    QUEUED = "queued"  # crash: nobody holds it
    RUNNING = "running"  # crash: the lease runs out and the clock queues it again
    SUCCEEDED = "succeeded"  # final
    FAILED = "failed"  # waits for a person (triage retry)
    CANCELLED = "cancelled"  # final: superseded by a later revision, passed over, or a person said so


class DeliveryState(StrEnum):
    """One result object on its way to one destination."""

    PENDING = "pending"  # crash: nobody holds it
    SENDING = "sending"  # crash: the lease runs out; sending again stores the same SOP Instance UID
    DELIVERED = "delivered"  # the archive answered success (or a coercion warning); crash: commit_at is a column
    COMMITTED = "committed"  # the archive took responsibility (storage commitment)
    FAILED = "failed"  # refused for good; waits for a person (triage retry)


SERIES_MOVES: Mapping[SeriesState, frozenset[SeriesState]] = MappingProxyType(
    {
        SeriesState.RECEIVING: frozenset({SeriesState.STABLE, SeriesState.UNUSABLE, SeriesState.PASSED_OVER}),
        SeriesState.STABLE: frozenset(
            {SeriesState.ANALYSED, SeriesState.UNUSABLE, SeriesState.PASSED_OVER, SeriesState.RECEIVING}
        ),
        SeriesState.PASSED_OVER: frozenset({SeriesState.STABLE, SeriesState.RECEIVING}),
        # A person's retry of a failed job makes the series stable again, as does having it analysed anew.
        SeriesState.UNUSABLE: frozenset({SeriesState.RECEIVING, SeriesState.STABLE}),
        SeriesState.ANALYSED: frozenset({SeriesState.RECEIVING, SeriesState.STABLE}),
    }
)
"""A late instance moves any state to RECEIVING and adds one to the revision; analysing anew adds one as well."""

JOB_MOVES: Mapping[JobState, frozenset[JobState]] = MappingProxyType(
    {
        JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED}),
        JobState.RUNNING: frozenset({JobState.SUCCEEDED, JobState.QUEUED, JobState.FAILED, JobState.CANCELLED}),
        JobState.SUCCEEDED: frozenset(),
        JobState.FAILED: frozenset({JobState.QUEUED}),
        JobState.CANCELLED: frozenset(),
    }
)

DELIVERY_MOVES: Mapping[DeliveryState, frozenset[DeliveryState]] = MappingProxyType(
    {
        DeliveryState.PENDING: frozenset({DeliveryState.SENDING}),
        DeliveryState.SENDING: frozenset({DeliveryState.DELIVERED, DeliveryState.PENDING, DeliveryState.FAILED}),
        # Without commitment DELIVERED is final; an archive that lost the object gets it again, or a person looks.
        DeliveryState.DELIVERED: frozenset({DeliveryState.COMMITTED, DeliveryState.PENDING, DeliveryState.FAILED}),
        DeliveryState.COMMITTED: frozenset(),
        DeliveryState.FAILED: frozenset({DeliveryState.PENDING}),
    }
)
