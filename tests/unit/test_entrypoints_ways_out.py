"""From settings to ways out: every kind is reached as it is configured, and what is missing is named at start."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.builders import ct_series, part10
from tests.certificates import Authority
from tests.mail import Mailbox, taking_mail
from tests.results import PROVENANCE
from tests.stores import result
from triage.dicom.source import read_source
from triage.domain.encoded import ObjectKind, ObjectReference
from triage.domain.errors import ConfigurationError, DeliveryUnconfirmed
from triage.domain.notice import Demographics, Notice
from triage.entrypoints import ways_out
from triage.net.outgoing import OutgoingInstance
from triage.settings import DestinationSettings, NotifierSettings, Settings

PACS = DestinationSettings(name="pacs", ae_title="PACS", host="127.0.0.1", port=1)
OBJECT = OutgoingInstance("1.2", "2.25.1", "1.2.840.10008.1.2.1", lambda: part10(ct_series(1, 8, 8)[0]))


def notifier(kind: str, **more: Any) -> NotifierSettings:
    needed: dict[str, Any] = {
        "hl7": {"host": "127.0.0.1", "port": 1},
        "ups": {"host": "127.0.0.1", "port": 1, "ae_title": "UPS", "retrieve_ae_title": "PACS"},
        "ian": {"host": "127.0.0.1", "port": 1, "ae_title": "IAN", "after": "pacs"},
        "pull": {"retrieve_ae_title": "PACS"},
        "webhook": {"url": "http://127.0.0.1:1/"},
        "email": {"host": "127.0.0.1", "port": 1, "sender": "a@b.example", "recipients": ("c@d.example",)},
    }[kind]
    return NotifierSettings(name=kind, kind=kind, **{**needed, **more})


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text("sixteen characters and more\n")
    return file


def test_each_kind_of_destination_is_tried(tmp_path: Path) -> None:
    web = DestinationSettings(name="web", kind="stow", url="http://127.0.0.1:1/dicom-web")
    share = DestinationSettings(name="share", kind="folder", folder=tmp_path)
    with pytest.raises(DeliveryUnconfirmed, match=r"PACS@127\.0\.0\.1:1"):
        ways_out.send_to(PACS, Settings())([OBJECT])
    (outcome,) = ways_out.send_to(web, Settings())([OBJECT])
    assert "http://127.0.0.1:1/dicom-web" in str(outcome.error)
    (outcome,) = ways_out.send_to(share, Settings())([OBJECT])
    assert outcome.error is None
    assert [file.name for file in tmp_path.iterdir()] == ["2.25.1.dcm"]


@pytest.mark.parametrize("kind", ["hl7", "ups", "ian", "email"])
def test_each_kind_of_list_on_a_port_is_tried(kind: str) -> None:
    with pytest.raises(DeliveryUnconfirmed, match=r"127\.0\.0\.1:1"):
        ways_out.tell(notifier(kind), Settings())([OBJECT])


def test_a_webhook_is_tried(secret: Path) -> None:
    (outcome,) = ways_out.tell(notifier("webhook", secret_file=secret), Settings())([OBJECT])
    assert isinstance(outcome.error, DeliveryUnconfirmed)
    assert "sixteen" not in str(outcome.error)


def test_what_cannot_be_read_is_named_at_start(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(ConfigurationError, match="secret_file of webhook cannot be read"):
        ways_out.tell(notifier("webhook", secret_file=gone), Settings())
    token = DestinationSettings(name="web", kind="stow", url="https://a.example/dicom-web", token_file=gone)
    with pytest.raises(ConfigurationError, match=r"token_file of https://a\.example/dicom-web cannot be read"):
        ways_out.send_to(token, Settings())
    for kind in ("hl7", "ups", "ian", "email"):
        more = {} if kind == "email" else {"tls": True}
        with pytest.raises(ConfigurationError, match="tls_ca"):
            ways_out.tell(notifier(kind, tls_ca=gone, **more), Settings())
    web = DestinationSettings(name="web", kind="stow", url="https://a.example/dicom-web", tls_ca=gone)
    for destination in (PACS.model_copy(update={"tls": True, "tls_ca": gone}), web):
        with pytest.raises(ConfigurationError, match="tls_ca"):
            ways_out.send_to(destination, Settings())


def test_a_secret_is_read_anew_for_each_sending(secret: Path) -> None:
    send = ways_out.tell(notifier("webhook", secret_file=secret), Settings())
    secret.write_text("too short")
    with pytest.raises(ConfigurationError, match="at least 16 characters"):
        send([OBJECT])
    secret.write_text("another secret, renewed while we run")
    (outcome,) = send([OBJECT])
    assert isinstance(outcome.error, DeliveryUnconfirmed)


def test_tls_is_spoken_where_it_is_switched_on(tmp_path: Path) -> None:
    assert ways_out.remote_ae(PACS, Settings()).tls is None
    ca = tmp_path / "ca.pem"
    with_tls = PACS.model_copy(update={"tls": True, "tls_ca": ca, "tls_name": "pacs.example"})
    files = ways_out.remote_ae(with_tls, Settings()).tls
    assert files is not None
    assert (files.ca_file, files.expected_name) == (ca, "pacs.example")


def test_a_folder_cannot_be_asked(tmp_path: Path) -> None:
    share = DestinationSettings(name="share", kind="folder", folder=tmp_path)
    with pytest.raises(ConfigurationError, match="nobody to ask"):
        ways_out.archive(share, Settings())
    assert ways_out.commitment_request(share, Settings(), lambda report: None) is None


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        ("hl7", ObjectKind.ORU),
        ("ups", ObjectKind.UPS),
        ("pull", ObjectKind.UPS),
        ("ian", ObjectKind.IAN),
        ("webhook", ObjectKind.WEBHOOK),
        ("email", ObjectKind.EMAIL),
    ],
)
def test_each_list_is_told_in_its_own_words(kind: str, made: ObjectKind, secret: Path) -> None:
    more = {"secret_file": secret} if kind == "webhook" else {}
    settings = Settings(destinations=(PACS,), notify=(notifier(kind, **more),))
    source = read_source([part10(ds) for ds in ct_series(2, 8, 8)], None)
    sr = ObjectReference(source.study_instance_uid, "2.25.8", "1.2.840.10008.5.1.4.1.1.88.34", "2.25.9")
    page = ObjectReference(source.study_instance_uid, "2.25.10", "1.2.840.10008.5.1.4.1.1.7", "2.25.11")
    last = replace(page, sop_instance_uid="2.25.12")
    notice = Notice(
        source.study_instance_uid,
        source.series_instance_uid,
        Demographics(),
        PROVENANCE,
        result(0.9),
        objects=((ObjectKind.SR, sr), (ObjectKind.SC, page), (ObjectKind.SC, last)),
    )
    (told,) = ways_out.notifiers(settings).values()
    assert told.only_suspected
    assert told.pulled is (kind == "pull")
    assert told.after == ("pacs" if kind == "ian" else None)
    encoded = told.encode(notice, source, "2.25.77")
    assert (encoded.kind, encoded.sop_instance_uid) == (made, "2.25.77")
    if kind == "ian":
        assert b"PACS" in encoded.content
    if kind != "email":  # which names no object
        assert all(one.sop_instance_uid.encode() in encoded.content for one in (sr, page, last))


def test_a_mail_server_is_logged_in_to_as_configured(tmp_path: Path) -> None:
    word = tmp_path / "word"
    word.write_text("secret word\n")
    mailbox = Mailbox(login=("triage", "secret word"))
    authority = Authority.make(tmp_path)
    shown = authority.files("mail.example.org", ca_file=None).server_context()
    with taking_mail(mailbox, shown) as port:
        ours = notifier(
            "email",
            port=port,
            user="triage",
            password_file=word,
            tls_ca=authority.ca_file,
            tls_name="mail.example.org",
        )
        message = OutgoingInstance("", "2.25.1", "", lambda: b"Subject: SYNTHETIC\r\n\r\n.\r\n")
        (outcome,) = ways_out.tell(ours, Settings())([message])
    assert outcome.error is None
    assert mailbox.over_tls == [True]
    with pytest.raises(ConfigurationError, match="password_file of email cannot be read"):
        ways_out.tell(notifier("email", user="triage", password_file=tmp_path / "gone"), Settings())


def test_a_list_that_is_told_again_says_after_how_long() -> None:
    (told,) = ways_out.notifiers(Settings(notify=(notifier("email", escalate_minutes=15),))).values()
    assert told.escalate_after == timedelta(minutes=15)
    (told,) = ways_out.notifiers(Settings(notify=(notifier("email"),))).values()
    assert told.escalate_after is None


@pytest.mark.parametrize(
    ("kind", "more", "words"),
    [
        ("ups", {"escalate_minutes": 5}, "escalate_minutes is for kinds hl7, webhook, email"),
        ("email", {"sender": "nobody"}, "no e-mail address"),
        ("email", {"recipients": ("a@b.example\nBcc: c@d.example",)}, "no e-mail address"),
        ("email", {"recipients": ()}, "needs recipients"),
        ("email", {"tls": True}, "mail_tls in place of tls"),
        ("email", {"user": "triage"}, "user and password_file go together"),
    ],
)
def test_what_cannot_work_is_refused(kind: str, more: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        notifier(kind, **more)
