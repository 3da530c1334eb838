"""What every page needs, wired once by the entrypoints and handed to each request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Final

from fastapi import Depends, Request

from triage.net.oidc import Provider
from triage.services.audit_messages import Reporter
from triage.services.figures import Ledger
from triage.services.passwords import Passwords
from triage.services.sign_in import SessionLimits
from triage.services.verify_audit import Proof, Verifier
from triage.services.vouched import RoleRule
from triage.services.watch import Watch
from triage.store.db import Database
from triage.store.file_area import FileArea
from triage.web.byte_cache import ByteCache
from triage.web.streams import Streams

PICTURE_BYTES: Final = 96 * 2**20
"""Room for the slices of about ten studies."""


@dataclass(frozen=True)
class WebOptions:
    """What the settings say about the pages, as plain values.

    ``secure`` is whether browsers reach the pages by https, from us or from a proxy in front of us.
    ``viewer_link`` may hold ``{study_instance_uid}`` and ``{accession_number}``; empty: there is no viewer.
    """

    viewer_link: str = ""
    public_url: str = ""
    secure: bool = False
    sessions: SessionLimits = field(default_factory=SessionLimits)
    oidc: Provider | None = None
    oidc_roles: RoleRule = field(default_factory=RoleRule)


@dataclass(frozen=True)
class Desk:
    """The stores, the clock and the options of the pages."""

    db: Database
    blobs: FileArea
    clock: Callable[[], datetime]
    options: WebOptions = WebOptions()
    passwords: Passwords = field(default_factory=Passwords)
    pictures: ByteCache = field(default_factory=lambda: ByteCache(PICTURE_BYTES))
    streams: Streams = field(default_factory=Streams)
    reporter: Reporter = field(default_factory=lambda: Reporter("ich-triage", "ICHTRIAGE", "localhost"))
    proof: Proof = field(default_factory=Proof)
    ledger: Ledger = field(init=False)
    watch: Watch = field(init=False)
    verifier: Verifier = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ledger", Ledger(self.db))
        object.__setattr__(self, "watch", Watch(self.db, self.blobs, self.ledger))
        object.__setattr__(self, "verifier", Verifier(self.db, self.proof, self.clock))


def desk_of(request: Request) -> Desk:
    """The desk of the app that answers this request."""
    desk: Desk = request.app.state.desk
    return desk


DeskDep = Annotated[Desk, Depends(desk_of)]
