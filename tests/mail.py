"""A real mail server for the tests: aiosmtpd on loopback, with TLS, a password, and faults that a test asks for."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP as POLICY
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.services import free_port


@dataclass
class Mailbox:
    """Takes messages. ``faults`` are the replies to the first messages, one each; ``unknown`` has no mailbox here.

    ``full`` is a mailbox that may be empty again later. ``login`` is the user and the password that let anybody in.
    """

    faults: list[str] = field(default_factory=list)
    unknown: str = ""
    full: str = ""
    login: tuple[str, str] | None = None
    taken: list[tuple[list[str], bytes]] = field(default_factory=list)
    over_tls: list[bool] = field(default_factory=list)
    users: list[str] = field(default_factory=list)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd looks for this name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address == self.unknown:
            return "550 no such user"
        if address == self.full:
            return "452 mailbox full"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "close":
            server.transport.abort()
            return "421 gone"
        if fault:
            return fault
        content = envelope.content
        assert isinstance(content, bytes)
        self.taken.append((list(envelope.rcpt_tos), content))
        self.over_tls.append(session.ssl is not None or server.transport.get_extra_info("ssl_object") is not None)
        return "250 taken"

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, how: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        given = (data.login.decode(), data.password.decode())
        self.users.append(given[0])
        return AuthResult(success=given == self.login, handled=False)

    @property
    def messages(self) -> list[EmailMessage]:
        """What was taken, as a mail program reads it."""
        read = [message_from_bytes(content, policy=POLICY) for _, content in self.taken]
        assert all(isinstance(one, EmailMessage) for one in read)
        return read  # type: ignore[return-value]


@contextmanager
def taking_mail(
    mailbox: Mailbox, tls: ssl.SSLContext | None = None, *, implicit: bool = False, port: int = 0
) -> Iterator[int]:
    """The mailbox behind a server; gives its port. ``tls`` is offered by STARTTLS, and needed, unless ``implicit``."""
    server = Controller(
        mailbox,
        hostname="127.0.0.1",
        port=port or free_port(),
        server_hostname="mail.example.org",
        ssl_context=tls if implicit else None,
        tls_context=None if implicit else tls,
        require_starttls=tls is not None and not implicit,
        authenticator=mailbox.authenticate if mailbox.login else None,
        auth_required=mailbox.login is not None and not implicit,
        auth_require_tls=not implicit,
    )
    server.start()
    try:
        yield server.port
    finally:
        server.stop()
