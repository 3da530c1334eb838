"""Who is on the other side of an association."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Peer:
    """A caller as it names itself, and where it calls from.

    The titles are empty for a peer that was refused before it could name itself.
    """

    calling_ae_title: str
    called_ae_title: str
    address: str
    port: int
