"""Result objects as bytes, ready for the file area and the archive."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EncodedObject:
    """One result object; ``content`` is the whole Part 10 file, ``kind`` is ``SEG`` or ``SR``."""

    kind: str
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Predecessor:
    """The structured report of the revision that a new report supersedes (PS3.3 C.17.2)."""

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
