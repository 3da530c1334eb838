"""E-mail of a result: an RFC 5322 message in plain text, handed to the site's mail server.

E-mail is read on telephones and forwarded without thought, so it says as little as it can: what is suspected, how
urgent it is, and where to look. The patient is never named in it; the accession number is, where that is switched on.
``Message-ID`` is the same however often a message is sent, so that a repetition can be told.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from enum import StrEnum
from typing import Final

import structlog

from triage.domain.encoded import EncodedObject, ObjectKind
from triage.domain.errors import ConfigurationError, DeliveryRefused, DeliveryUnconfirmed, TriageError
from triage.domain.finding import WorklistStatus
from triage.domain.intended_use import INTENDED_USE
from triage.domain.notice import DEMONSTRATION, Notice, checked_mail_address
from triage.net.callers import is_loopback
from triage.net.outgoing import OutgoingInstance, SendOutcome

log = structlog.get_logger()

_READY: Final = 220
_TAKEN: Final = 250
_LONGEST_TEXT: Final = 64


class MailTls(StrEnum):
    """How the way to the mail server is encrypted."""

    STARTTLS = "starttls"  # begins in plain text and must change to TLS; usually port 587 or 25
    IMPLICIT = "implicit"  # TLS from the first byte; usually port 465
    PLAIN = "plain"  # not at all


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where messages are handed in, and who they are from and for.

    ``tls_context`` replaces the certificate authorities of the machine, ``tls_name`` is the name in the server's
    certificate where it is not ``host``. ``plain_allowed`` lets messages, but never a password, leave this machine
    without TLS.
    """

    host: str
    port: int
    sender: str
    recipients: tuple[str, ...]
    tls: MailTls = MailTls.STARTTLS
    user: str = ""
    password: str = field(default="", repr=False)
    tls_context: ssl.SSLContext | None = field(default=None, repr=False)
    tls_name: str = ""
    plain_allowed: bool = False

    def __post_init__(self) -> None:
        if not self.host or not 0 < self.port <= 65535:
            raise ConfigurationError("An e-mail notifier needs a host and a port between 1 and 65535.")
        if not self.recipients:
            raise ConfigurationError("An e-mail notifier needs recipients.")
        for address in (self.sender, *self.recipients):
            try:
                checked_mail_address(address)
            except ValueError as exc:
                raise ConfigurationError(f"{exc}.") from exc
        if bool(self.user) is not bool(self.password):
            raise ConfigurationError(f"user and password of {self} go together; one of them is missing or empty.")
        if not (self.user + self.password).isascii():
            # smtplib sends nothing else, whatever the server would take.
            raise ConfigurationError(f"user and password of {self} must be plain letters, digits and marks (ASCII).")
        if self.tls is MailTls.PLAIN and not is_loopback(self.host):
            if self.user:
                raise ConfigurationError(f"A password is not sent to {self} without TLS: set mail_tls.")
            if not self.plain_allowed:
                raise ConfigurationError(
                    f"Messages to {self} would leave this machine without TLS: set mail_tls to starttls or implicit, "
                    "or plain_allowed = true if your network is to be trusted with them."
                )

    def __str__(self) -> str:
        return f"the mail server at {self.host}:{self.port}"


def encode_email(
    notice: Notice,
    identifier: str,
    *,
    sender: str,
    recipients: Sequence[str],
    public_url: str = "",
    include_patient: bool = False,
) -> EncodedObject:
    """Encode a notice as an e-mail; the same bytes for the same notice.

    Parameters
    ----------
    identifier : str
        Names this message among all; ``Message-ID`` is made of it.
    public_url : str
        Where our pages are found; the message then links to that of the study.
    include_patient : bool
        Write the accession number. The name of the patient is never written.
    """
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = ", ".join(recipients)
    message["Subject"] = _subject(notice)
    message["Date"] = format_datetime(notice.at.astimezone(UTC))
    message["Message-ID"] = f"<{identifier}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence is answered to us
    if notice.suspected:
        message["Importance"] = "high"
    message.set_content(_body(notice, public_url, include_patient))
    return EncodedObject(
        kind=ObjectKind.EMAIL,
        sop_class_uid="",
        sop_instance_uid=identifier,
        series_instance_uid="",
        transfer_syntax_uid="",
        content=message.as_bytes(),
    )


def send(
    server: MailServer, instances: Sequence[OutgoingInstance], *, timeout_seconds: float = 30.0
) -> list[SendOutcome]:
    """Hand messages in over one connection; one outcome each, in order, whose status is the server's reply code.

    A message is accepted when the server takes it for at least one recipient. Replies of 4xx and silence are tried
    again, 5xx to a message is refused for good. A server that does not let us in at all (no TLS, a wrong password)
    is tried again too: the message is not to blame.

    Raises
    ------
    DeliveryUnconfirmed
        If there is no connection that messages could be handed in over.
    """
    outcomes: list[SendOutcome] = []
    if not instances:
        return outcomes
    with _connected(server, timeout_seconds) as connection:
        for position, item in enumerate(instances):
            status: int | None = None
            error: TriageError | None = None
            try:
                status, error = _hand_in(server, connection, item.read())
            except OSError:  # every other exception of smtplib is one
                lost = DeliveryUnconfirmed(f"{_begin(server)} broke off before it took the message.")
                return outcomes + [SendOutcome(i.sop_instance_uid, lost, None) for i in instances[position:]]
            except TriageError as exc:
                error = exc
            outcomes.append(SendOutcome(item.sop_instance_uid, error, status))
    return outcomes


def _hand_in(server: MailServer, connection: smtplib.SMTP, content: bytes) -> tuple[int, TriageError | None]:
    """One message, without a look at the texts of the replies: they may quote it."""
    try:
        refused = connection.sendmail(server.sender, list(server.recipients), content)
    except smtplib.SMTPRecipientsRefused as exc:
        codes = [code for code, _ in exc.recipients.values()]
        # One that may take it later is worth another try for all.
        status = min(codes)
        return status, _error(server, status, "refused every recipient")
    except smtplib.SMTPSenderRefused as exc:
        return exc.smtp_code, _error(server, exc.smtp_code, "refused the sender")
    except smtplib.SMTPResponseException as exc:
        return exc.smtp_code, _error(server, exc.smtp_code, "refused the message")
    for address, (code, _) in refused.items():
        log.warning("recipient_refused", recipient=address, status=code)
    return _TAKEN, None


def _error(server: MailServer, status: int, did: str) -> TriageError:
    said = f"{_begin(server)} {did} (reply {status})"
    if 500 <= status < 600:
        return DeliveryRefused(f"{said}: check sender and recipients; its log says why.", status)
    return DeliveryUnconfirmed(f"{said}; it will be sent again.", status)


@contextmanager
def _connected(server: MailServer, timeout_seconds: float) -> Iterator[smtplib.SMTP]:
    """A connection that is encrypted and logged in as it should be.

    smtplib connects by itself only to the name that it expects in the certificate; here those may differ.
    """
    connection = smtplib.SMTP(local_hostname=socket.gethostname(), timeout=timeout_seconds)
    try:
        connection.sock = socket.create_connection((server.host, server.port), timeout_seconds)
        if server.tls is MailTls.IMPLICIT:
            _encrypt(server, connection)
        code, _ = connection.getreply()
        if code < 0:
            raise smtplib.SMTPConnectError(code, "no SMTP")
        if code != _READY:
            raise DeliveryUnconfirmed(f"{_begin(server)} does not take messages now (reply {code}).", code)
        if server.tls is MailTls.STARTTLS:
            _start_tls(server, connection)
        connection.ehlo_or_helo_if_needed()
        if server.user:
            connection.login(server.user, server.password)
        yield connection
    except ssl.SSLCertVerificationError as exc:
        raise DeliveryUnconfirmed(
            f"The certificate of {server} is not trusted ({exc.verify_message}): check tls_ca, tls_name and host."
        ) from exc
    except ssl.SSLError as exc:
        raise DeliveryUnconfirmed(f"{_begin(server)} does not speak TLS with us: check its port and mail_tls.") from exc
    except smtplib.SMTPAuthenticationError as exc:
        raise DeliveryUnconfirmed(
            f"{_begin(server)} does not let us in (reply {exc.smtp_code}): check user and password_file.", exc.smtp_code
        ) from exc
    except smtplib.SMTPNotSupportedError as exc:
        raise DeliveryUnconfirmed(f"{_begin(server)} asks for no password: leave out user and password_file.") from exc
    except smtplib.SMTPException as exc:
        raise DeliveryUnconfirmed(f"{_begin(server)} broke off, or does not speak SMTP: check its port.") from exc
    except OSError as exc:
        raise DeliveryUnconfirmed(f"Cannot connect to {server}: is it running, and are host and port right?") from exc
    finally:
        with suppress(smtplib.SMTPException, OSError):
            connection.quit()
        connection.close()


def _start_tls(server: MailServer, connection: smtplib.SMTP) -> None:
    """Change to TLS; a server that cannot is not spoken to in plain text, or whoever sits between could ask for it."""
    connection.ehlo_or_helo_if_needed()
    code = connection.docmd("STARTTLS")[0] if connection.has_extn("starttls") else 0
    if code != _READY:
        raise DeliveryUnconfirmed(f"{_begin(server)} offers no STARTTLS: check its port and mail_tls.")
    _encrypt(server, connection)
    connection.ehlo()


def _encrypt(server: MailServer, connection: smtplib.SMTP) -> None:
    context = server.tls_context or ssl.create_default_context()
    assert connection.sock is not None
    connection.sock = context.wrap_socket(connection.sock, server_hostname=server.tls_name or server.host)
    connection.file = None  # what came before the encryption is not to be believed


def _begin(server: MailServer) -> str:
    return f"The{str(server).removeprefix('the')}"


def _subject(notice: Notice) -> str:
    """One line for a list of mails: what a demonstration is stands first, for such a line may be cut at its end."""
    return f"{'DEMONSTRATION: ' if notice.provenance.demonstration else ''}{_outcome(notice)}"


def _outcome(notice: Notice) -> str:
    if notice.status is WorklistStatus.NOT_ANALYSED:
        return f"Head CT not analysed ({notice.reason})"
    if not notice.suspected:
        return "Head CT: intracranial haemorrhage not suspected"
    waiting = "NOT OPENED YET, " if notice.escalation is not None else ""
    return f"Head CT: {waiting}intracranial haemorrhage suspected, {notice.urgency}"


def _body(notice: Notice, public_url: str, include_patient: bool) -> str:
    accession = "".join(c for c in notice.demographics.accession_number if c.isprintable())[:_LONGEST_TEXT]
    lines = [notice.conclusion]
    if notice.escalation is not None:
        lines.append(str(notice.escalation))
    if notice.suspected:
        lines.append(f"Urgency: {notice.urgency}")
    if include_patient and accession:
        lines.append(f"Accession number: {accession}")
    if public_url:
        lines.append(f"Study: {public_url.rstrip('/')}/study/{notice.study_instance_uid}")
    else:
        lines.append(f"Study Instance UID: {notice.study_instance_uid}")
    received = notice.provenance.content_at.astimezone(UTC)
    lines.append(f"Images received: {received:%Y-%m-%d %H:%M} UTC")
    lines += ["", INTENDED_USE]
    if notice.provenance.demonstration:
        lines.append(DEMONSTRATION)
    return "\n".join(lines) + "\n"
