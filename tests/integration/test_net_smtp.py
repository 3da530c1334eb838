"""E-mail to a real mail server: TLS of each kind, passwords, refusals for now and for good; and what it says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from email import message_from_bytes
from email.policy import SMTP
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Authority
from tests.mail import Mailbox, taking_mail
from tests.notices import IDENTIFIER, PATIENT, STUDY, message, negative, not_analysed, notice, real
from tests.services import free_port
from triage.domain.encoded import ObjectKind
from triage.domain.errors import ConfigurationError, DeliveryRefused, DeliveryUnconfirmed, NotFound
from triage.domain.intended_use import INTENDED_USE
from triage.domain.notice import DEMONSTRATION, Demographics, Escalation, Notice
from triage.net.outgoing import OutgoingInstance, SendOutcome
from triage.net.smtp import MailServer, MailTls, encode_email, send
from triage.net.tls import TlsFiles

SENDER, RECIPIENTS = "triage@hospital.example", ("ward@hospital.example", "duty@hospital.example")


def encoded(said: Notice | None = None, **how: Any) -> bytes:
    return encode_email(said or notice(), IDENTIFIER, sender=SENDER, recipients=RECIPIENTS, **how).content


CONTENT = encoded()


def server(port: int, **changes: Any) -> MailServer:
    fields: dict[str, Any] = {"tls": MailTls.PLAIN, "sender": SENDER, "recipients": RECIPIENTS}
    return MailServer("127.0.0.1", port, **{**fields, **changes})


def handed_in(mailbox: Mailbox, count: int = 1, **changes: Any) -> list[SendOutcome]:
    with taking_mail(mailbox) as port:
        return send(server(port, **changes), [message(CONTENT, f"2.25.{n}") for n in range(count)])


def test_a_message_arrives_for_everybody() -> None:
    mailbox = Mailbox()
    (outcome,) = handed_in(mailbox)
    assert (outcome.error, outcome.status) == (None, 250)
    ((recipients, content),) = mailbox.taken
    assert recipients == list(RECIPIENTS)
    assert content == CONTENT


def test_several_messages_go_over_one_connection() -> None:
    mailbox = Mailbox()
    assert [o.error for o in handed_in(mailbox, 3)] == [None] * 3
    assert len(mailbox.taken) == 3


def test_nothing_to_send_asks_nobody() -> None:
    assert send(server(free_port()), []) == []


@pytest.mark.parametrize(
    ("reply", "error", "status"),
    [
        ("451 not now", DeliveryUnconfirmed, 451),
        ("452 disk full", DeliveryUnconfirmed, 452),
        ("550 spam", DeliveryRefused, 550),
        ("554 never", DeliveryRefused, 554),
    ],
)
def test_a_refusal_for_now_and_for_good(reply: str, error: type[Exception], status: int) -> None:
    first, second = handed_in(Mailbox(faults=[reply]), 2)
    assert (type(first.error), first.status) == (error, status)
    assert reply[4:] not in str(first.error)
    assert second.error is None


def test_a_recipient_who_is_unknown_keeps_the_message_from_nobody_else() -> None:
    mailbox = Mailbox(unknown=RECIPIENTS[0])
    (outcome,) = handed_in(mailbox)
    assert outcome.error is None
    assert [recipients for recipients, _ in mailbox.taken] == [[RECIPIENTS[1]]]


def test_without_any_recipient_it_failed_unless_one_may_come_back() -> None:
    (gone,) = handed_in(Mailbox(unknown=RECIPIENTS[0]), recipients=RECIPIENTS[:1])
    assert (type(gone.error), gone.status) == (DeliveryRefused, 550)
    (full,) = handed_in(Mailbox(unknown=RECIPIENTS[0], full=RECIPIENTS[1]))
    assert (type(full.error), full.status) == (DeliveryUnconfirmed, 452)


def test_a_server_that_breaks_off_leaves_all_the_rest_for_later() -> None:
    outcomes = handed_in(Mailbox(faults=["", "close"]), 3)
    assert outcomes[0].error is None
    assert [(type(o.error), o.status) for o in outcomes[1:]] == [(DeliveryUnconfirmed, None)] * 2


def test_nobody_listens() -> None:
    with pytest.raises(DeliveryUnconfirmed, match="Cannot connect to the mail server at"):
        send(server(free_port()), [message(CONTENT)])


@contextmanager
def saying(*lines: bytes) -> Iterator[int]:
    """A server that says these lines, whatever it hears, and then nothing."""
    listener = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            for line in lines:
                connection.sendall(line + b"\r\n")
            done.wait(10)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        done.set()
        thread.join()
        listener.close()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"554 go away", "does not take messages now"),
        (b"421 too busy", "does not take messages now"),
        (b"HTTP/1.1 400 Bad Request", "does not speak SMTP"),
    ],
)
def test_a_server_that_does_not_greet(line: bytes, words: str) -> None:
    with saying(line) as port, pytest.raises(DeliveryUnconfirmed, match=words):
        send(server(port), [message(CONTENT)], timeout_seconds=0.5)


def test_a_server_that_says_nothing() -> None:
    with saying() as port, pytest.raises(DeliveryUnconfirmed, match="broke off"):
        send(server(port), [message(CONTENT)], timeout_seconds=0.3)


def test_a_message_whose_file_is_gone_is_that_message_s_own_error() -> None:
    def read() -> bytes:
        raise NotFound("The file is gone.")

    with taking_mail(Mailbox()) as port:
        outcomes = send(server(port), [OutgoingInstance("", "2.25.44", "", read), message(CONTENT)])
    assert isinstance(outcomes[0].error, NotFound)
    assert outcomes[1].error is None


@pytest.mark.parametrize("mode", [MailTls.STARTTLS, MailTls.IMPLICIT])
def test_tls_and_a_password(mode: MailTls, tmp_path: Path) -> None:
    authority, stranger = Authority.make(tmp_path), Authority.make(tmp_path, "stranger")
    shown = authority.files("mail.example.org", ca_file=None).server_context()
    mailbox = Mailbox(login=("triage", "secret word"))
    context = TlsFiles(authority.ca_file).client_context()
    ours = {"tls": mode, "tls_context": context, "user": "triage", "password": "secret word"}
    with taking_mail(mailbox, shown, implicit=mode is MailTls.IMPLICIT) as port:
        named = server(port, **ours, tls_name="mail.example.org")
        (outcome,) = send(named, [message(CONTENT)])
        with pytest.raises(DeliveryUnconfirmed, match=r"certificate of the mail server .* is not trusted"):
            send(server(port, **ours), [message(CONTENT)])  # the certificate is for a name, not for the address
        other = {**ours, "tls_context": TlsFiles(stranger.ca_file).client_context()}
        with pytest.raises(DeliveryUnconfirmed, match="is not trusted"):
            send(server(port, **other, tls_name="mail.example.org"), [message(CONTENT)])
        with pytest.raises(DeliveryUnconfirmed, match=r"does not let us in \(reply 535\): check user") as wrong:
            send(server(port, **{**ours, "password": "guess"}, tls_name="mail.example.org"), [message(CONTENT)])
    assert outcome.error is None
    assert mailbox.over_tls == [True]
    assert "guess" not in str(wrong.value)


def test_a_server_without_starttls_is_not_spoken_to_in_plain_text(tmp_path: Path) -> None:
    mailbox = Mailbox()
    with taking_mail(mailbox) as port, pytest.raises(DeliveryUnconfirmed, match="offers no STARTTLS"):
        send(server(port, tls=MailTls.STARTTLS), [message(CONTENT)])
    assert mailbox.taken == []


def test_a_plain_port_does_not_speak_tls() -> None:
    with taking_mail(Mailbox()) as port, pytest.raises(DeliveryUnconfirmed, match="does not speak TLS with us"):
        send(server(port, tls=MailTls.IMPLICIT), [message(CONTENT)])


def test_a_server_that_asks_for_no_password() -> None:
    with taking_mail(Mailbox()) as port, pytest.raises(DeliveryUnconfirmed, match="leave out user"):
        send(server(port, user="triage", password="word"), [message(CONTENT)])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"host": "mail.example", "tls": MailTls.PLAIN}, "without TLS: set mail_tls to starttls"),
        ({"tls": MailTls.STARTTLS, "user": "triage", "password": "Schlüssel"}, "ASCII"),
        (
            {"host": "mail.example", "tls": MailTls.PLAIN, "plain_allowed": True, "user": "u", "password": "p"},
            "password is not sent",
        ),
        ({"user": "u"}, "go together"),
        ({"recipients": ()}, "needs recipients"),
        ({"port": 0}, "port between"),
        ({"sender": "nobody"}, "no e-mail address"),
        ({"recipients": ("a@b.example\r\nRCPT TO:<c@d.example>",)}, "no e-mail address"),
    ],
)
def test_what_cannot_be_used_is_said_at_start(changes: dict[str, Any], words: str) -> None:
    fields: dict[str, Any] = {"host": "127.0.0.1", "port": 25, "sender": SENDER, "recipients": RECIPIENTS}
    with pytest.raises(ConfigurationError, match=words):
        MailServer(**{**fields, **changes})


def test_plain_beyond_this_machine_when_told_so() -> None:
    relay = MailServer("relay.example", 25, SENDER, RECIPIENTS, tls=MailTls.PLAIN, plain_allowed=True)
    assert str(relay) == "the mail server at relay.example:25"


def test_the_password_is_not_shown() -> None:
    assert "secret" not in repr(server(25, tls=MailTls.STARTTLS, user="u", password="secret"))


def read(content: bytes) -> tuple[Any, str]:
    parsed = message_from_bytes(content, policy=SMTP)
    return parsed, parsed.get_content()  # type: ignore[attr-defined]


def test_what_it_says() -> None:
    parsed, body = read(encoded(public_url="https://triage.example/"))
    assert parsed["Subject"] == "DEMONSTRATION: Head CT: intracranial haemorrhage suspected, emergent"
    assert parsed["From"] == SENDER
    assert parsed["To"] == ", ".join(RECIPIENTS)
    assert parsed["Date"] == "Tue, 02 Jan 2024 03:04:05 +0000"
    assert parsed["Message-ID"] == f"<{IDENTIFIER}@hospital.example>"
    assert "Intracranial haemorrhage suspected: probability 0.970." in body
    assert "Urgency: emergent" in body
    assert f"https://triage.example/study/{STUDY}" in body
    assert INTENDED_USE in body
    assert DEMONSTRATION in body
    assert CONTENT.isascii()


def test_nothing_of_the_patient_and_the_accession_number_only_where_it_is_switched_on() -> None:
    named = encoded(include_patient=True)
    for value in ("Hara", "SYN|1", "1950", "HOSPITAL&A", "山田", "PLACER1"):
        assert value not in CONTENT.decode() + named.decode()
    assert "ACC" not in CONTENT.decode()
    assert f"Accession number: {PATIENT.accession_number}" in read(named)[1]


def test_an_accession_number_can_say_nothing_else() -> None:
    said = notice(demographics=Demographics(accession_number="1\r\nBcc: all@example.org\r\n\r\n<b>" + "9" * 200))
    parsed, body = read(encoded(said, include_patient=True))
    assert parsed["Bcc"] is None
    (line,) = [line for line in body.splitlines() if "Bcc" in line]
    assert line.startswith("Accession number: 1Bcc")
    assert len(line) < 100


def test_the_same_notice_is_the_same_message() -> None:
    assert encoded() == CONTENT
    made = encode_email(notice(), IDENTIFIER, sender=SENDER, recipients=RECIPIENTS)
    assert (made.kind, made.sop_instance_uid, made.sop_class_uid) == (ObjectKind.EMAIL, IDENTIFIER, "")


def test_a_study_without_a_flag_is_not_called_negative() -> None:
    parsed, body = read(encoded(real(negative())))
    assert parsed["Subject"] == "Head CT: intracranial haemorrhage not suspected"
    assert "A study without a flag is not a negative study." in body
    assert "DEMONSTRATION" not in body
    assert parsed["Importance"] is None
    refused, why = read(encoded(not_analysed()))
    assert refused["Subject"] == "DEMONSTRATION: Head CT not analysed (gap)"
    assert "says nothing about the presence of haemorrhage" in why


def test_an_escalation_says_how_long_nobody_looked() -> None:
    first = notice()
    due_at = first.at + timedelta(minutes=15)
    parsed, body = read(encoded(notice(escalation=Escalation(15, due_at))))
    assert parsed["Subject"] == "DEMONSTRATION: Head CT: NOT OPENED YET, intracranial haemorrhage suspected, emergent"
    assert parsed["Date"] == "Tue, 02 Jan 2024 03:19:05 +0000"
    assert "Not opened on the triage pages for 15 min after it was flagged." in body
    assert "Images received: 2024-01-02 03:04 UTC" in body
