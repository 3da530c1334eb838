"""Identifiers of result objects, derived from what went in: analysing again makes the same object, never a twin."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime

_NAMESPACE = uuid.UUID("5b0f7c52-6c1e-5a0e-9d0c-0f6a6c1d7a11")
"""Root of every name below. Changing it would rename every object ever sent."""


def _under_2_25(*parts: str) -> str:
    """A UID from a name-based UUID (PS3.5 B.2): version 5 over the joined parts."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, chr(10).join(parts)).int}"


def result_uid(kind: str, source_series_uid: str, source_sop_instance_uids: Iterable[str], bundle_digest: str) -> str:
    """The UID of one thing inside or around a result object.

    Parameters
    ----------
    kind : str
        What is named, for example ``SEG``, ``SEG series`` or ``tracking IPH``.
    source_series_uid : str
        The analysed series.
    source_sop_instance_uids : iterable of str
        The instances of the analysed revision; order and repetition do not matter.
    bundle_digest : str
        SHA-256 of the model bundle.
    """
    if not kind or not source_series_uid or not bundle_digest:
        raise ValueError("a result UID needs its kind, the source series and the bundle digest")
    instances = sorted(set(source_sop_instance_uids))
    if not instances:
        raise ValueError("a result UID needs at least one source instance")
    return _under_2_25("result", kind, source_series_uid, bundle_digest, *instances)


def device_uid(bundle_digest: str) -> str:
    """The Device UID of the algorithm; a changed bundle is another device (IHE AI Results)."""
    return _under_2_25("device", bundle_digest)


def coding_scheme_uid() -> str:
    """The UID of our private coding scheme."""
    return _under_2_25("coding scheme")


def escalation_uid(study_instance_uid: str, told: str, flagged_at: datetime) -> str:
    """What names the one message that tells a list again of a study that nobody opened since it was flagged."""
    return _under_2_25("escalation", told, study_instance_uid, flagged_at.isoformat(timespec="microseconds"))


def synthetic_uid(run: str, what: str) -> str:
    """The UID of something in the study of one self-test."""
    return _under_2_25("self-test", run, what)
