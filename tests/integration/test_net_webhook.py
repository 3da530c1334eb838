"""The webhook, posted to a real HTTP server that checks its signature as the documentation says."""

import hashlib
import hmac
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.certificates import Authority
from tests.notices import IDENTIFIER, PATIENT, SEG, SERIES, SR, STUDY, message, negative, not_analysed, notice, pages
from tests.services import free_port
from triage.domain.encoded import ObjectKind
from triage.domain.errors import ConfigurationError, DeliveryRefused, DeliveryUnconfirmed, NotFound
from triage.net.outgoing import OutgoingInstance
from triage.net.tls import TlsFiles
from triage.net.webhook import Webhook, encode_webhook, send

SECRET = b"a secret of the site"
BODY = encode_webhook(notice(), IDENTIFIER).content


class Receiver:
    """Remembers what was posted and answers with the statuses given, the last one for ever; None breaks off."""

    def __init__(self, *statuses):
        self.statuses = list(statuses) or [204]
        self.posted = []
        self.go_on = threading.Event()

    def answer(self):
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]


@contextmanager
def receiving(receiver, tls=None):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.posted.append((self.path, dict(self.headers), body))
            status = receiver.answer()
            if status == "slow":
                receiver.go_on.wait(10)
            if not isinstance(status, int):
                self.close_connection = True
                return
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda request, client_address: None
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}/hook/token"
    finally:
        receiver.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()


def posted_by(receiver, **arguments):
    with receiving(receiver) as url:
        return send(Webhook(url, SECRET), [message(BODY)], **arguments)


def test_the_body_arrives_as_it_is_and_its_signature_holds():
    receiver = Receiver()
    before = time.time()
    (outcome,) = posted_by(receiver)
    ((path, headers, body),) = receiver.posted

    assert (outcome.sop_instance_uid, outcome.error, outcome.status) == (IDENTIFIER, None, 204)
    assert (path, body) == ("/hook/token", BODY)
    assert headers["Content-Type"] == "application/json"
    assert headers["Idempotency-Key"] == IDENTIFIER == json.loads(body)["message_id"]
    parts = dict(part.split("=", 1) for part in headers["X-Triage-Signature"].split(","))
    expected = hmac.new(SECRET, parts["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(expected, parts["v1"])
    assert int(before) <= int(parts["t"]) <= time.time()


def test_sending_again_sends_the_same_body_with_a_new_signature():
    receiver = Receiver(503, 200)
    with receiving(receiver) as url:
        webhook = Webhook(url, SECRET)
        first = send(webhook, [message(BODY)], clock=lambda: 1000.0)
        second = send(webhook, [message(BODY)], clock=lambda: 2000.9)

    assert [type(o.error) for o in first + second] == [DeliveryUnconfirmed, type(None)]
    assert [body for _, _, body in receiver.posted] == [BODY, BODY]
    assert [h["X-Triage-Signature"].split(",")[0] for _, h, _ in receiver.posted] == ["t=1000", "t=2000"]
    assert len({h["Idempotency-Key"] for _, h, _ in receiver.posted}) == 1


def test_each_message_has_its_own_outcome():
    receiver = Receiver(200, 422, 200)
    other = encode_webhook(negative(), "2.25.43").content
    with receiving(receiver) as url:
        outcomes = send(Webhook(url, SECRET), [message(BODY), message(other, "2.25.43"), message(BODY)])

    assert [o.status for o in outcomes] == [200, 422, 200]
    assert [type(o.error) for o in outcomes] == [type(None), DeliveryRefused, type(None)]


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (200, None, ""),
        (202, None, ""),
        (302, DeliveryRefused, "final url"),
        (400, DeliveryRefused, "cannot help"),
        (401, DeliveryRefused, "url and secret"),
        (404, DeliveryRefused, "url and secret"),
        (408, DeliveryUnconfirmed, "again"),
        (425, DeliveryUnconfirmed, "again"),
        (429, DeliveryUnconfirmed, "again"),
        (500, DeliveryUnconfirmed, "again"),
        (503, DeliveryUnconfirmed, "again"),
    ],
)
def test_each_status(status, error, words):
    (outcome,) = posted_by(Receiver(status))

    assert outcome.status == status
    assert (type(outcome.error) if outcome.error else None) is error
    if error is not None:
        assert outcome.error.status == status
        assert words in str(outcome.error)
        assert "127.0.0.1" in str(outcome.error)


def test_a_redirection_is_not_followed():
    receiver = Receiver(302, 200)
    posted_by(receiver)

    assert [path for path, *_ in receiver.posted] == ["/hook/token"]


@pytest.mark.parametrize(("fault", "words"), [("broken", "broke off"), ("slow", "in time")])
def test_without_an_answer_it_is_unconfirmed(fault, words):
    (outcome,) = posted_by(Receiver(fault), timeout_seconds=0.5)

    assert (type(outcome.error), outcome.status) == (DeliveryUnconfirmed, None)
    assert words in str(outcome.error)


def test_nobody_listens():
    (outcome,) = send(Webhook(f"http://127.0.0.1:{free_port()}/", SECRET), [message(BODY)])

    assert isinstance(outcome.error, DeliveryUnconfirmed)
    assert "Cannot reach the webhook at 127.0.0.1" in str(outcome.error)


def test_a_message_whose_file_is_gone_is_that_message_s_own_error():
    def read():
        raise NotFound("The file is gone.")

    with receiving(Receiver()) as url:
        outcomes = send(Webhook(url, SECRET), [OutgoingInstance("", "2.25.44", "", read), message(BODY)])

    assert isinstance(outcomes[0].error, NotFound)
    assert outcomes[1].error is None


def test_a_proxy_of_the_environment_is_not_used(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{free_port()}")

    assert posted_by(Receiver())[0].error is None


def test_https_with_a_certificate_of_the_site(tmp_path):
    site = Authority.make(tmp_path).files("127.0.0.1")
    receiver = Receiver()
    with receiving(receiver, tls=site.server_context()) as url:
        trusted = send(Webhook(url, SECRET, site.client_context()), [message(BODY)])
        (unknown,) = send(Webhook(url, SECRET), [message(BODY)])

    assert trusted[0].error is None
    assert len(receiver.posted) == 1
    assert isinstance(unknown.error, DeliveryUnconfirmed)
    assert "The certificate of the webhook at 127.0.0.1 is not trusted" in str(unknown.error)


def test_the_body_has_the_names_of_the_worklist():
    body = json.loads(BODY)

    assert (body["study_instance_uid"], body["series_instance_uid"]) == (STUDY, SERIES)
    assert (body["status"], body["urgency"], body["score"]) == ("suspected", "emergent", 0.97)
    assert body["subtypes"]["IPH"] == {"probability": 0.9, "volume_ml": 7.5}
    assert body["total_volume_ml"] == 15.0
    assert body["key_slice"] == {"sop_instance_uid": "2.25.1005", "frame_number": 1, "index": 3}
    assert (body["bundle"], body["demonstration"]) == ("demo-heads 1.2", True)
    assert body["content_at"] == "2024-01-02T03:04:05.678Z"
    assert {"kind": "SR", "sop_instance_uid": SR} in body["objects"]
    assert body["statements"] == list(notice().statements)


def test_every_object_of_a_kind_is_named():
    named = json.loads(encode_webhook(notice(objects=pages()), IDENTIFIER).content)["objects"]

    assert [(one["kind"], one["sop_instance_uid"]) for one in named] == [
        ("SC", "2.25.1010"),
        ("SC", "2.25.1009"),
        ("SEG", SEG),
        ("SR", SR),
    ]


def test_a_study_that_was_not_analysed_says_why():
    body = json.loads(encode_webhook(not_analysed(), IDENTIFIER).content)

    assert (body["status"], body["reason"], body["score"], body["subtypes"]) == ("not_analysed", "gap", None, {})


def test_nothing_of_the_patient_unless_it_is_switched_on():
    encoded = encode_webhook(notice(), IDENTIFIER, include_patient=True)
    named = json.loads(encoded.content)

    assert "patient" not in json.loads(BODY)
    assert "accession_number" not in json.loads(BODY)
    assert not [value for value in (b"Hara", b"SYN|1", b"1950", b"ACC") if value in BODY]
    assert named["accession_number"] == PATIENT.accession_number
    assert named["patient"] == {
        "id": "SYN|1^2",
        "issuer": "HOSPITAL&A",
        "name": "Dr Größe~ M O^Hara III",
        "birth_date": "19500102",
        "sex": "F",
    }
    assert (encoded.kind, encoded.sop_instance_uid, encoded.sop_class_uid) == (ObjectKind.WEBHOOK, IDENTIFIER, "")
    assert encoded.content.isascii()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://ris.example/hook", "https"),
        ("ris.example/hook", "https"),
        ("ftp://ris.example/", "https"),
        ("https://user:word@ris.example/", "signature"),
        ("https://ris.example:port/", "cannot be read"),
    ],
)
def test_a_url_that_cannot_be_used(url, words):
    with pytest.raises(ConfigurationError, match=words):
        Webhook(url, SECRET)


def test_a_short_secret_is_none():
    with pytest.raises(ConfigurationError, match="at least 16"):
        Webhook("https://ris.example/", b"short")


def test_the_secret_and_the_path_are_not_shown():
    webhook = Webhook("https://ris.example/hook/token", SECRET)

    assert SECRET.decode() not in repr(webhook)
    assert "token" not in str(webhook) + repr(webhook)


def test_an_authority_that_the_machine_trusts_is_trusted(tmp_path, monkeypatch):
    """The site adds its own to the system's; ``SSL_CERT_FILE`` is where OpenSSL looks for those."""
    authority = Authority.make(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    receiver = Receiver()
    with receiving(receiver, tls=TlsFiles(None, *authority.issue("127.0.0.1")).server_context()) as url:
        assert send(Webhook(url, SECRET), [message(BODY)])[0].error is None
        monkeypatch.setenv("SSL_CERT_FILE", str(Authority.make(tmp_path, "stranger").ca_file))
        (refused,) = send(Webhook(url, SECRET), [message(BODY)])
    assert "is not trusted" in str(refused.error)
    assert len(receiver.posted) == 1
