"""STOW-RS to a real Orthanc, and to servers that refuse, answer nonsense, or close the socket."""

import json
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.builders import ct_series, part10, segmentation, structured_report
from tests.certificates import Authority
from tests.peers import in_memory, outgoing
from tests.services import free_port
from triage.domain.errors import ConfigurationError, DeliveryRefused, DeliveryUnconfirmed, NotFound
from triage.net.dicomweb import DicomWebTarget
from triage.net.part10 import dataset_offset
from triage.net.stow import send
from triage.net.tls import TlsFiles

SECRET = "s3cret-token"


@pytest.fixture(scope="module")
def head():
    return outgoing(ct_series(3, rows=32, columns=32))


@contextmanager
def server(answer, tls=None):
    """A web server whose ``answer(path, headers, body)`` returns (code, body), or None to close the socket."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.path, self.headers, body))
            reply = answer(self.path, self.headers, body)
            if reply is None:
                self.close_connection = True
                return
            code, content = reply
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.handle_error = lambda *arguments: None
    if tls is not None:
        context = tls.server_context()
        listener.socket = context.wrap_socket(listener.socket, server_side=True)
    thread = threading.Thread(target=listener.serve_forever, args=(0.05,))
    thread.start()
    try:
        scheme = "https" if tls else "http"
        yield DicomWebTarget(f"{scheme}://127.0.0.1:{listener.server_address[1]}/dicom-web", timeout_seconds=5), seen
    finally:
        listener.shutdown()
        thread.join()
        listener.server_close()


def stored(*uids, failed=(), warning=None):
    """A STOW-RS answer in the DICOM JSON Model."""
    good = [{"00081155": {"vr": "UI", "Value": [uid]}} for uid in uids]
    for item in good:
        if warning is not None:
            item["00081196"] = {"vr": "US", "Value": [warning]}
    bad = [
        {"00081155": {"vr": "UI", "Value": [uid]}, "00081197": {"vr": "US", "Value": [reason]}}
        for uid, reason in failed
    ]
    return json.dumps({"00081199": {"vr": "SQ", "Value": good}, "00081198": {"vr": "SQ", "Value": bad}}).encode()


def test_orthanc_keeps_our_bytes(orthanc):
    datasets = [segmentation(), structured_report(), ct_series(1, rows=16, columns=16)[0]]
    items = outgoing(datasets)
    target = DicomWebTarget(orthanc.dicomweb_url)
    for _ in range(2):  # sending again is no error
        outcomes = send(target, items)
        assert [(o.sop_instance_uid, o.error) for o in outcomes] == [(i.sop_instance_uid, None) for i in items]

    for ds in datasets:
        kept = orthanc.retrieve(ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
        ours = part10(ds)
        assert kept[dataset_offset(kept) :] == ours[dataset_offset(ours) :]


def test_orthanc_refuses_what_is_no_dicom_and_takes_the_rest(orthanc, head):
    broken = in_memory(head[0].sop_class_uid, "2.25.5", head[0].transfer_syntax_uid, b"no DICOM at all")

    outcomes = send(DicomWebTarget(orthanc.dicomweb_url), [head[0], broken, head[1]])

    assert [o.error is None for o in outcomes] == [True, False, True]
    assert orthanc.sop_instance_uids() == sorted(i.sop_instance_uid for i in head[:2])


def test_the_request_says_what_it_carries(head):
    with server(lambda path, headers, body: (200, stored(head[0].sop_instance_uid))) as (target, seen):
        (outcome,) = send(replace(target, bearer_token=SECRET), head[:1])
        send(target, head[:1])

    assert (outcome.error, outcome.status) == (None, 0x0000)
    path, headers, body = seen[0]
    boundary = headers["Content-Type"].rpartition("boundary=")[2]
    assert path == "/dicom-web/studies"
    assert headers["Content-Type"].startswith('multipart/related; type="application/dicom"; ')
    assert headers["Accept"] == "application/dicom+json"
    assert headers["Authorization"] == f"Bearer {SECRET}"
    assert "Authorization" not in seen[1][1]
    start = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n"
    assert body == start.encode() + head[0].read() + f"\r\n--{boundary}--\r\n".encode()
    assert body == seen[1][2]


def test_each_object_has_its_own_outcome(head):
    uids = [item.sop_instance_uid for item in head]
    answers = iter(
        [(200, stored(uids[0], warning=0xB000)), (409, stored(failed=[(uids[1], 0xA900)])), (202, stored(uids[2]))]
    )
    told = []
    with server(lambda *request: next(answers)) as (target, _):
        outcomes = send(target, head, on_sent=told.append)

    assert told == outcomes
    assert [o.status for o in outcomes] == [0xB000, 0xA900, 0x0000]
    assert [type(o.error) for o in outcomes] == [type(None), DeliveryRefused, type(None)]
    assert "the data set does not match its SOP class (0xA900)" in str(outcomes[1].error)


def test_a_server_without_room_is_tried_again(head):
    failed = stored(failed=[(head[0].sop_instance_uid, 0xA700)])
    with server(lambda *request: (409, failed)) as (target, _):
        (outcome,) = send(target, head[:1])

    assert (type(outcome.error), outcome.status) == (DeliveryUnconfirmed, 0xA700)


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        (401, DeliveryRefused, "set token_file or the client certificate"),
        (403, DeliveryRefused, "give our bearer token or client certificate the right"),
        (404, DeliveryRefused, "must be the root of the DICOMweb service"),
        (413, DeliveryRefused, "whose limit must be raised"),
        (415, DeliveryRefused, "does not take application/dicom"),
        (301, DeliveryRefused, "the address that it redirects to"),
        (400, DeliveryRefused, "sending it again cannot help"),
        (429, DeliveryUnconfirmed, "it will be tried again"),
        (503, DeliveryUnconfirmed, "Service Unavailable; it will be tried again"),
        (599, DeliveryUnconfirmed, "HTTP 599"),
    ],
)
def test_each_http_status_says_what_to_do(head, code, error, words):
    with server(lambda *request: (code, b"<html>no</html>")) as (target, seen):
        outcomes = send(replace(target, bearer_token=SECRET), head[:2])

    assert [type(o.error) for o in outcomes] == [error, error]
    assert words in str(outcomes[0].error)
    assert SECRET not in str(outcomes[0].error) + repr(target)
    assert len(seen) == 2


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>Welcome</html>", b"[]", b"[1]", b'"text"', b'{"00081199": 5}', b"\xff\xfe", stored("2.25.1"),
     b'{"00081199": {"Value": [null, {"00081155": {"Value": []}}]}}', b"[" * 100_000],
    ids=["empty", "page", "list", "number", "text", "wrong", "binary", "other", "holes", "deep"],
)  # fmt: skip
def test_an_answer_that_says_nothing_of_the_object_confirms_nothing(head, body):
    with server(lambda *request: (200, body)) as (target, _):
        (outcome,) = send(target, head[:1])

    assert isinstance(outcome.error, DeliveryUnconfirmed)
    assert "without a word on this object" in str(outcome.error)


def test_an_endless_answer_is_cut_off(head):
    with server(lambda *request: (200, b" " * (5 << 20))) as (target, _):
        (outcome,) = send(target, head[:1])

    assert "more than" in str(outcome.error)


def test_a_socket_closed_in_the_middle_leaves_the_rest_untried(head):
    answers = iter([(200, stored(head[0].sop_instance_uid)), None])
    with server(lambda *request: next(answers)) as (target, seen):
        outcomes = send(target, head)

    assert [type(o.error) for o in outcomes] == [type(None), DeliveryUnconfirmed, DeliveryUnconfirmed]
    assert "broke before there was an answer" in str(outcomes[1].error)
    assert "Not sent, because" in str(outcomes[2].error)
    assert len(seen) == 2


def test_a_server_that_hangs_costs_one_timeout(head):
    hold = threading.Event()
    with server(lambda *request: hold.wait(10) and None) as (target, seen):
        outcomes = send(replace(target, timeout_seconds=0.3), head)
        hold.set()

    assert "gave no answer in time" in str(outcomes[0].error)
    assert [type(o.error) for o in outcomes] == [DeliveryUnconfirmed] * 3
    assert len(seen) == 1


def test_nobody_listens(head):
    (outcome,) = send(DicomWebTarget(f"http://127.0.0.1:{free_port()}"), head[:1])

    assert isinstance(outcome.error, DeliveryUnconfirmed)
    assert "Cannot connect" in str(outcome.error)


def test_an_object_that_is_gone_is_its_own_error(head):
    def read():
        raise NotFound("The file is gone.")

    with server(lambda *request: (200, stored(head[1].sop_instance_uid))) as (target, _):
        outcomes = send(target, [replace(head[0], read=read), head[1]])

    assert isinstance(outcomes[0].error, NotFound)
    assert outcomes[1].error is None


def test_certificates_on_both_sides(head, tmp_path):
    site, stranger = Authority.make(tmp_path, "site"), Authority.make(tmp_path, "stranger")
    answer = (200, stored(head[0].sop_instance_uid))
    with server(lambda *request: answer, tls=site.files("web.example")) as (target, _):

        def said(tls):
            return send(replace(target, tls=tls), head[:1])[0].error

        assert said(site.files(expected_name="web.example")) is None
        assert "is for another name" in str(said(site.files()))
        assert "is not trusted" in str(said(TlsFiles(ca_file=stranger.ca_file, expected_name="web.example")))
        refused = said(TlsFiles(ca_file=site.ca_file, expected_name="web.example"))
        assert isinstance(refused, DeliveryUnconfirmed)


def test_targets_that_cannot_work():
    for url in ("", "pacs", "ftp://pacs/x", "https://", "https://u:p@pacs/", "https://pacs/?a=1", "http://[::1"):
        with pytest.raises(ConfigurationError) as caught:
            DicomWebTarget(url)
        assert "u:p" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="in the clear: use https"):
        DicomWebTarget("http://pacs.example/dicom-web", bearer_token=SECRET)
    with pytest.raises(ConfigurationError, match="holds characters"):
        DicomWebTarget("https://pacs.example/dicom-web", bearer_token="two\r\nlines")
    with pytest.raises(ConfigurationError, match="write https"):
        DicomWebTarget("http://pacs.example", tls=TlsFiles())
    assert SECRET not in repr(DicomWebTarget("https://pacs.example/dicom-web", bearer_token=SECRET))
