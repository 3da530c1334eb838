"""The one place that wires: settings in, the parts of each role out.

What a part is made of is imported where it is made: a process of one role starts sooner, and holds no library of the
others.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from triage.domain.audit import AuditAction, AuditEvent
from triage.domain.errors import ConfigurationError
from triage.settings import Settings, settings_of_record
from triage.store import records_of_settings
from triage.store.bucket_url import BucketUrl
from triage.store.db import Database, require_current
from triage.store.file_area import FileArea
from triage.store.folder_area import FolderArea

if TYPE_CHECKING:
    from triage.inference.predict import Predictor
    from triage.net.commitment import CommitmentReport
    from triage.net.scp import ListenerOptions
    from triage.services.analyse import Analyst
    from triage.services.commit import Witness
    from triage.services.deliver import Courier, Send
    from triage.services.notify import Notifier
    from triage.services.rack import Rack
    from triage.services.receive import Door
    from triage.settings.ways_out import WayOut
    from triage.web.desk import Desk

log = structlog.get_logger()


def utc_now() -> datetime:
    """The clock that every role runs on."""
    return datetime.now(UTC)


def shipped_bundle() -> Path:
    """Folder of the demonstration bundle inside the installed package."""
    return Path(str(files("triage") / "bundles" / "demo"))


def database_url(settings: Settings) -> str:
    """The URL as given; the folder of an embedded database is made first.

    Raises
    ------
    ConfigurationError
        The folder cannot be made.
    """
    url = settings.database.url
    if url.startswith("sqlite:///"):
        folder = Path(url.removeprefix("sqlite:///")).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            told = f"The folder {folder} of the database cannot be made ({exc.strerror}): set database.url."
            raise ConfigurationError(told) from exc
    return url


@dataclass(frozen=True)
class App:
    """The parts that the roles of one process share. Tests replace single parts with ``dataclasses.replace``."""

    settings: Settings
    db: Database
    blobs: FileArea
    clock: Callable[[], datetime] = utc_now

    def door(self) -> Door:
        """What the listener needs to keep instances."""
        from triage.services.receive import Door

        return Door(
            db=self.db,
            blobs=self.blobs,
            timings=self.settings.series.timings(),
            min_free_bytes=int(self.settings.storage.min_free_gb * 1e9),
            name=f"{socket.gethostname()}:{self.settings.listener.port}",
        )

    def listener_options(self) -> ListenerOptions:
        """How the Storage SCP listens."""
        from triage.net.scp import ListenerOptions
        from triage.net.tls import TlsFiles

        listener = self.settings.listener
        files = (listener.tls_ca, listener.tls_certificate, listener.tls_key)
        return ListenerOptions(
            ae_title=listener.ae_title,
            host=listener.host,
            port=listener.port,
            allowed_callers=listener.allowed_callers,
            max_associations=listener.max_associations,
            tls=TlsFiles(*files) if listener.tls_certificate is not None else None,
        )

    @property
    def configured_bundle(self) -> Path:
        """The bundle that is used until a person has chosen one (``triage bundle use``)."""
        return self.settings.inference.bundle or shipped_bundle()

    def predictor(self, path: Path) -> Predictor:
        """Open a bundle on the device of the settings.

        Raises
        ------
        BundleError, ProviderUnavailable
        """
        from triage.inference.predict import Predictor

        inference = self.settings.inference
        return Predictor.load(path, device=inference.device, threads=inference.threads or os.cpu_count() or 1)

    def rack(self) -> Rack:
        """The bundles of a worker; none is loaded yet."""
        from triage.services.rack import Rack

        return Rack(
            db=self.db,
            blobs=self.blobs,
            configured=self.configured_bundle,
            fallback=self.settings.inference.bundle is not None,
            load=self.predictor,
            clock=self.clock,
        )

    def analyst(self, predictor: Predictor) -> Analyst:
        """What analysing needs."""
        from triage.services.analyse import Analyst

        return Analyst(
            db=self.db,
            blobs=self.blobs,
            predictor=predictor,
            profiles={d.name: d.profile() for d in self.settings.destinations},
            notifiers=self.notifiers(),
            clock=self.clock,
            owner=owner("work"),
            every_slice=self.settings.inference.every_slice,
        )

    def notifiers(self) -> dict[str, Notifier]:
        """What each reading list is told."""
        if not self.settings.notify:
            return {}
        from triage.entrypoints import ways_out

        return ways_out.notifiers(self.settings)

    def couriers(self) -> list[Courier]:
        """What sending needs: for each destination and each list, as many as it is sent results at the same time.

        Raises
        ------
        ConfigurationError
            A certificate, a token or a secret cannot be read.
        """
        from triage.entrypoints import ways_out
        from triage.services.deliver import Courier

        settings = self.settings
        ways: list[tuple[WayOut, Send, str, bool]] = [
            (d, ways_out.send_to(d, settings), "", d.commitment) for d in settings.destinations
        ]
        ways += [(n, ways_out.tell(n, settings), n.after, False) for n in settings.notify if n.kind != "pull"]
        couriers = []
        for way, send, after, commitment in ways:
            one = Courier(
                db=self.db,
                blobs=self.blobs,
                destination=way.name,
                send=send,
                clock=self.clock,
                owner=owner("send"),
                policy=way.retry_policy(),
                after=after or None,
                commitment=commitment,
            )
            couriers += [one] * way.concurrency  # they share the circuit
        return couriers

    def witnesses(self) -> list[Witness]:
        """What asking for storage commitment needs, for each destination that is asked for it."""
        from triage.entrypoints import ways_out
        from triage.services.commit import Witness

        return [
            Witness(
                db=self.db,
                destination=destination.name,
                request=ways_out.commitment_request(destination, self.settings, self.take_report),
                look_up=ways_out.archive(destination, self.settings).find,
                clock=self.clock,
                wait_seconds=destination.commitment_wait_seconds,
                policy=destination.retry_policy(),
            )
            for destination in self.settings.destinations
            if destination.commitment
        ]

    def take_report(self, report: CommitmentReport) -> None:
        """What an archive says it keeps, from either side of an association."""
        from triage.services.commit import take_report

        known = take_report(self.db, report.transaction_uid, report.committed, dict(report.failed), now=self.clock())
        if not known:
            log.info("commitment_report_on_nothing", transaction_uid=report.transaction_uid)

    def desk(self) -> Desk:
        """What the pages need."""
        from triage.entrypoints import audit_parts
        from triage.net.oidc import Provider
        from triage.services.sign_in import SessionLimits
        from triage.services.vouched import RoleRule
        from triage.web.desk import Desk, WebOptions

        web = self.settings.web
        provider = None
        if web.oidc_issuer:
            redirect = f"{web.public_url}/oidc/callback"
            secret, authorities = web.oidc_client_secret_file, web.oidc_ca
            provider = Provider(web.oidc_issuer, web.oidc_client_id, redirect, secret, authorities)
        return Desk(
            db=self.db,
            blobs=self.blobs,
            clock=self.clock,
            options=WebOptions(
                viewer_link=web.viewer_link,
                public_url=web.public_url,
                secure=web.secure(),
                sessions=SessionLimits(timedelta(hours=web.session_hours), timedelta(minutes=web.idle_minutes)),
                oidc=provider,
                oidc_roles=RoleRule(web.oidc_name_claim, web.oidc_roles_claim, web.role_mapping()),
            ),
            reporter=audit_parts.reporter(self.settings),
            proof=audit_parts.proof(self.settings),
        )

    def record_start(self, role: str) -> None:
        """Put the start of a role and the settings it runs under on record."""
        with self.db.transaction() as tx:
            records_of_settings.record(tx, settings_of_record(self.settings), self.clock())
            tx.audit(AuditEvent(at=self.clock(), actor=role, action=AuditAction.SERVICE_STARTED, detail=_process()))

    def record_stop(self, role: str) -> None:
        """Put a clean stop on record."""
        with self.db.transaction() as tx:
            tx.audit(AuditEvent(at=self.clock(), actor=role, action=AuditAction.SERVICE_STOPPED, detail=_process()))


def owner(role: str) -> str:
    """Who holds a lease: host, process and role."""
    return f"{socket.gethostname()}/{os.getpid()}/{role}"


def _process() -> dict[str, str | int]:
    return {"host": socket.gethostname(), "pid": os.getpid()}


def open_file_area(root: Path | str) -> FileArea:
    """A folder, or a bucket where ``root`` is a URL.

    Raises
    ------
    ConfigurationError
        What a bucket needs is not installed, or cannot work.
    """
    if isinstance(root, Path):
        return FolderArea(root)
    try:
        from triage.store.bucket_area import BucketArea
    except ImportError as exc:
        raise ConfigurationError(
            f"storage.root is a bucket, and {exc.name} is not installed: install ich-triage with its extra s3."
        ) from exc
    return BucketArea(BucketUrl.parse(root))


def build(settings: Settings) -> App:
    """Open the stores.

    Raises
    ------
    ConfigurationError
        The database has no schema, or not one that this release can work on.
    StoreUnavailable
        The database does not answer.
    """
    db = Database(database_url(settings))
    require_current(db)
    return App(settings=settings, db=db, blobs=open_file_area(settings.storage.root))
