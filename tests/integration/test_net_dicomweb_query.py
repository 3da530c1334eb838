"""QIDO-RS, WADO-RS and DELETE at a real Orthanc, and at servers that refuse, break off, or answer nonsense."""

import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.builders import ct_series, part10, segmentation, structured_report
from tests.certificates import Authority
from tests.peers import EXPLICIT, outgoing
from tests.services import free_port
from triage.domain.errors import DeliveryRefused, DeliveryUnconfirmed, NotFound
from triage.net import stow
from triage.net.dicomweb import DicomWebTarget
from triage.net.part10 import dataset_offset
from triage.net.wado import delete_study, present, retrieve

IMPLICIT, RLE = "1.2.840.10008.1.2", "1.2.840.10008.1.2.5"
STUDY, SERIES, WANTED = "2.25.11", "2.25.12", "2.25.31"
SECRET = "s3cret-token"
FILE = bytes(128) + b"DICM and what follows"


@contextmanager
def server(answer, tls=None):
    """A web server whose ``answer(method, path, headers)`` returns (code, type, body), or None to close the socket."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((self.command, self.path, self.headers))
            reply = answer(self.command, self.path, self.headers)
            if reply is None:
                return
            code, content_type, content = reply
            self.send_response(code)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_DELETE = do_GET  # noqa: N815 - http.server looks for this name

        def log_message(self, *arguments):
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.handle_error = lambda *arguments: None
    if tls is not None:
        listener.socket = tls.server_context().wrap_socket(listener.socket, server_side=True)
    thread = threading.Thread(target=listener.serve_forever, args=(0.05,))
    thread.start()
    try:
        scheme = "https" if tls else "http"
        yield DicomWebTarget(f"{scheme}://127.0.0.1:{listener.server_address[1]}/dicom-web", timeout_seconds=5), seen
    finally:
        listener.shutdown()
        thread.join()
        listener.server_close()


ASKING = {
    "QIDO-RS": lambda target: present(target, STUDY, [WANTED]),
    "WADO-RS": lambda target: retrieve(target, STUDY, SERIES, WANTED),
    "the deletion of a study": lambda target: delete_study(target, STUDY),
}


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, RLE])
def test_orthanc_gives_back_what_it_was_sent(orthanc, syntax):
    datasets = ct_series(2, rows=16, columns=16, transfer_syntax=syntax)
    if syntax == EXPLICIT:
        datasets += [segmentation(), structured_report()]
    target = DicomWebTarget(orthanc.dicomweb_url)
    assert [o.error for o in stow.send(target, outgoing(datasets))] == [None] * len(datasets)

    for ds in datasets:
        ours, kept = part10(ds), retrieve(target, ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
        assert kept[dataset_offset(kept) :] == ours[dataset_offset(ours) :]
        assert ds.file_meta.TransferSyntaxUID.encode() in kept[: dataset_offset(kept)]
        assert present(target, ds.StudyInstanceUID, [ds.SOPInstanceUID, WANTED]) == {ds.SOPInstanceUID}


def test_orthanc_does_not_have_what_was_never_sent(orthanc):
    target = DicomWebTarget(orthanc.dicomweb_url)

    assert present(target, STUDY, [WANTED]) == set()
    with pytest.raises(NotFound, match="does not find the object"):
        retrieve(target, STUDY, SERIES, WANTED)


def test_many_objects_of_a_study(orthanc):
    series = ct_series(30, rows=8, columns=8)
    target = DicomWebTarget(orthanc.dicomweb_url)
    stow.send(target, outgoing(series[:20]))

    found = present(target, series[0].StudyInstanceUID, [ds.SOPInstanceUID for ds in series])

    assert found == {ds.SOPInstanceUID for ds in series[:20]}


def test_each_request_says_who_asks_and_what_for():
    def answer(method, path, headers):
        if method == "DELETE":
            return 204, "text/plain", b""
        return (200, "application/dicom", FILE) if WANTED in path.split("/") else (200, "application/json", b"[]")

    with server(answer) as (target, seen):
        for ask in ASKING.values():
            ask(replace(target, bearer_token=SECRET))

    assert [(method, path) for method, path, _ in seen] == [
        ("GET", f"/dicom-web/studies/{STUDY}/instances?SOPInstanceUID={WANTED}"),
        ("GET", f"/dicom-web/studies/{STUDY}/series/{SERIES}/instances/{WANTED}"),
        ("DELETE", f"/dicom-web/studies/{STUDY}"),
    ]
    assert {headers["Authorization"] for _, _, headers in seen} == {f"Bearer {SECRET}"}
    assert seen[0][2]["Accept"] == "application/dicom+json"
    assert seen[1][2]["Accept"] == 'multipart/related; type="application/dicom"; transfer-syntax=*'


@pytest.mark.parametrize("doing", ASKING)
@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        (301, DeliveryRefused, "the address that it redirects to"),
        (401, DeliveryRefused, "set token_file or the client certificate"),
        (403, DeliveryRefused, "give our bearer token or client certificate the right"),
        (405, DeliveryRefused, "does not offer this"),
        (429, DeliveryUnconfirmed, "it will be tried again"),
        (500, DeliveryUnconfirmed, "it will be tried again"),
    ],
)
def test_each_http_status_says_what_to_do(doing, code, error, words):
    with (
        server(lambda *request: (code, "text/html", b"<html>no</html>")) as (target, _),
        pytest.raises(error, match=words) as caught,
    ):
        ASKING[doing](replace(target, bearer_token=SECRET))

    assert f"answered {doing} with HTTP {code}" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("doing", "code", "error", "words"),
    [
        ("QIDO-RS", 404, DeliveryRefused, "must be the root of the DICOMweb service"),
        ("WADO-RS", 404, NotFound, "does not find the object"),
        ("WADO-RS", 410, NotFound, "does not find the object"),
        ("WADO-RS", 406, DeliveryRefused, "does not give objects back as application/dicom"),
        ("the deletion of a study", 404, DeliveryRefused, "does not offer to delete one"),
    ],
)
def test_what_a_status_means_depends_on_the_question(doing, code, error, words):
    with server(lambda *request: (code, "text/html", b"")) as (target, _), pytest.raises(error, match=words):
        ASKING[doing](target)


@pytest.mark.parametrize("doing", ASKING)
def test_a_server_that_hangs_up_hangs_or_is_not_there(doing):
    hold = threading.Event()
    with server(lambda *request: None) as (target, _), pytest.raises(DeliveryUnconfirmed, match="broke before"):
        ASKING[doing](target)
    with server(lambda *request: hold.wait(10) and None) as (target, _):
        with pytest.raises(DeliveryUnconfirmed, match="no answer in time"):
            ASKING[doing](replace(target, timeout_seconds=0.3))
        hold.set()
    with pytest.raises(DeliveryUnconfirmed, match="Cannot connect"):
        ASKING[doing](DicomWebTarget(f"http://127.0.0.1:{free_port()}"))


def related(*parts, boundary="b"):
    """A multipart body."""
    head = b"--%b\r\nContent-Type: application/dicom\r\n\r\n" % boundary.encode()
    return b"".join(head + part + b"\r\n" for part in parts) + b"--%b--\r\n" % boundary.encode()


@pytest.mark.parametrize(
    "content",
    [FILE + b"\r\n", FILE + b"\r\n--", b"".join([FILE, b"\r\n--a\r\n\r\n", bytes(range(256))]), FILE + b"\n\r\n\r"],
    ids=["line end", "dashes", "like a part", "mixed line ends"],
)
def test_the_bytes_between_the_boundaries(content):
    reply = (200, 'multipart/related; type="application/dicom"; boundary=b', related(content))
    with server(lambda *request: reply) as (target, _):
        assert retrieve(target, STUDY, SERIES, WANTED) == content


@pytest.mark.parametrize(
    ("content_type", "body", "words"),
    [
        ("application/dicom", b"", "no DICOM file"),
        ("application/dicom", b"<html>", "no DICOM file"),
        ("multipart/related; boundary=b", related(b"<html>"), "no DICOM file"),
        ("multipart/related; boundary=b", related(FILE)[:-9], "no multipart message"),
        ("multipart/related; boundary=other", related(FILE), "no multipart message"),
        ("multipart/related; boundary=\xe4", related(FILE), "no multipart message"),
        ("text/html", b"<html>", "no multipart message"),
    ],
)
def test_an_answer_that_is_no_object(content_type, body, words):
    with (
        server(lambda *request: (200, content_type, body)) as (target, _),
        pytest.raises(DeliveryUnconfirmed, match=words),
    ):
        retrieve(target, STUDY, SERIES, WANTED)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{}", b"5", b"\xff\xfe", b"[" * 100_000, b" " * (5 << 20)], ids=range(7)
)
def test_an_answer_that_is_no_list_of_objects_does_not_say_that_nothing_is_there(body):
    with (
        server(lambda *request: (200, "application/dicom+json", body)) as (target, _),
        pytest.raises(DeliveryUnconfirmed),
    ):
        present(target, STUDY, [WANTED])


def test_certificates_on_both_sides(tmp_path):
    site, stranger = Authority.make(tmp_path, "site"), Authority.make(tmp_path, "stranger")
    with server(lambda *request: (200, "application/dicom", FILE), tls=site.files("web.example")) as (target, _):
        trusted = replace(target, tls=site.files(expected_name="web.example"))
        assert retrieve(trusted, STUDY, SERIES, WANTED) == FILE
        with pytest.raises(DeliveryUnconfirmed, match="is not trusted"):
            retrieve(replace(target, tls=stranger.files(expected_name="web.example")), STUDY, SERIES, WANTED)
