"""The parts that keep the audit log: made of the settings, for the roles, the pages and the commands."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import datetime, timedelta

from triage.net.syslog import SyslogReceiver
from triage.net.tls import TlsFiles
from triage.services.audit_messages import Reporter
from triage.services.checkpoint import Signer, earlier_keys, read_signer
from triage.services.forward_audit import Forwarder, Route
from triage.services.verify_audit import Proof
from triage.settings import Settings
from triage.store.db import Database


def reporter(settings: Settings) -> Reporter:
    """Who we are in audit messages."""
    node = socket.gethostname()
    ours = settings.audit
    return Reporter(ours.source_id or node, settings.listener.ae_title, node, ours.enterprise_site)


def receiver_name(settings: Settings) -> str:
    """The name under which the database keeps how far the repository was told."""
    ours = settings.audit
    return f"{ours.syslog_transport}:{ours.syslog_host}:{ours.port()}"


def forwarder(settings: Settings, db: Database, clock: Callable[[], datetime], owner: str) -> Forwarder | None:
    """What forwarding needs; None where no repository is configured.

    Raises
    ------
    ConfigurationError
        A certificate or a key cannot be read.
    """
    ours = settings.audit
    if not ours.syslog_host:
        return None
    tls = None
    if ours.syslog_transport == "tls":
        tls = TlsFiles(
            ours.syslog_tls_ca, ours.syslog_tls_certificate, ours.syslog_tls_key, ours.syslog_tls_name or None
        )
        tls.client_context()  # what is wrong with the files is said at start
    receiver = SyslogReceiver(ours.syslog_host, ours.port(), tls)
    route = Route(
        db=db,
        receiver=receiver_name(settings),
        connect=receiver.connect,
        reporter=reporter(settings),
        message_id=ours.syslog_msgid,
        clock=clock,
        owner=owner,
    )
    return Forwarder(route)


def signer(settings: Settings) -> Signer | None:
    """What signs checkpoints; None where no key is configured.

    Raises
    ------
    ConfigurationError
        The key cannot be read.
    """
    file = settings.audit.checkpoint_key
    return None if file is None else read_signer(file)


def checkpoint_interval(settings: Settings) -> timedelta:
    """How often checkpoints are signed."""
    return timedelta(minutes=settings.audit.checkpoint_minutes)


def proof(settings: Settings) -> Proof:
    """What the log is checked against on this machine.

    Raises
    ------
    ConfigurationError
        The key, or an earlier one beside it, cannot be read.
    """
    file = settings.audit.checkpoint_key
    if file is None:
        return Proof()
    return Proof(earlier_keys(file), read_signer(file), checkpoint_interval(settings))
