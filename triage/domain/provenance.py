"""Which software and which bundle made a result, and when its content was fixed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

IMPLEMENTATION_CLASS_UID: Final = "2.25.176507654421706497607635539210400890106"
IMPLEMENTATION_VERSION_NAME: Final = "ICHTRIAGE"
"""What wrote a file or called on the network (PS3.7 D.3.3.2)."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Written into every result object.

    ``content_at`` is the time of the series revision, not of the encoding, so that analysing again writes
    the same object. ``demonstration`` marks a bundle that is not for use in care. ``measured`` is what
    the card of the bundle says of its data and figures, a sentence each; empty where nobody asked for it.
    """

    bundle_name: str
    bundle_version: str
    bundle_digest: str
    software_version: str
    demonstration: bool
    content_at: datetime
    measured: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.content_at.tzinfo is None:
            raise ValueError("content_at needs an aware UTC time")
        if len(self.bundle_digest) != 64:
            raise ValueError("bundle_digest is a SHA-256 in hexadecimal")
