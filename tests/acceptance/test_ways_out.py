"""Acceptance 3 and 4: one suspected study through the real daemon, to every kind of archive and reading list."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from tests.acceptance.daemon import Daemon, is_final, running_daemon
from tests.mail import Mailbox, taking_mail
from tests.ris import Ris, listening_ris
from tests.services import OrthancServer
from triage.domain.finding import WorklistStatus
from triage.domain.worklist import WorklistRow
from triage.entrypoints.demo import SEED
from triage.entrypoints.operate import dicom_files
from triage.net.scu import send
from triage.services.commit import FOUND
from triage.store import deliveries

pytestmark = pytest.mark.slow

UPS_PUSH, UPS_PULL, IAN = "1.2.840.10008.5.1.4.34.6.1", "1.2.840.10008.5.1.4.34.6.3", "1.2.840.10008.5.1.4.33"
EXPECTED = {
    "pacs": {"SEG", "SR", "KOS", "SC", "GSPS"},
    "web": {"SEG_FRACTIONAL", "SR_COMPREHENSIVE"},
    "share": {"SR_TEXT"},
    "ris": {"ORU"},
    "chat": {"WEBHOOK"},
    "manager": {"UPS"},
    "availability": {"IAN"},
    "duty": {"EMAIL"},
}
SECRET = "a secret of the test, long enough"


@dataclass
class Lists:
    """What reading lists were told."""

    ris: Ris = field(default_factory=Ris)
    duty: Mailbox = field(default_factory=Mailbox)
    posts: list[dict[str, object]] = field(default_factory=list)
    created: list[tuple[str, Dataset]] = field(default_factory=list)


@pytest.fixture(scope="module")
def suspected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of one SYNTHETIC study with blood, the first of the demo."""
    folder = tmp_path_factory.mktemp("heads")
    command = [sys.executable, "-m", "trainer", "phantom", str(folder), "--studies", "1", "--seed", str(SEED)]
    subprocess.run([*command, "--status", "suspected"], check=True, capture_output=True)
    (entry,) = json.loads((folder / "truth.json").read_text())
    return folder / str(entry["folder"])


@contextmanager
def posted_to(lists: Lists) -> Iterator[int]:
    """A web server that remembers the JSON it is sent."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            lists.posts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def created_at(lists: Lists) -> Iterator[int]:
    """A UPS and IAN manager made of pynetdicom."""
    entity = AE("MANAGER")
    for sop_class in (UPS_PUSH, IAN):
        entity.add_supported_context(sop_class)

    def on_create(event: evt.Event) -> tuple[int, Dataset]:
        lists.created.append((str(event.request.AffectedSOPClassUID), event.attribute_list))
        return 0x0000, Dataset()

    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_CREATE, on_create)])
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


def settings(
    folder: Path, orthanc: OrthancServer, *, hl7_port: int, web_port: int, manager_port: int, mail_port: int
) -> str:
    (folder / "secret").write_text(SECRET)
    (folder / "share").mkdir()
    here = 'host = "127.0.0.1"'
    return f"""
[[destinations]]
name = "pacs"
ae_title = "{orthanc.ae_title}"
{here}
port = {orthanc.dicom_port}
objects = ["SEG", "SR", "KOS", "SC", "GSPS"]
commitment = true
commitment_wait_seconds = 5.0
[[destinations]]
name = "web"
kind = "stow"
url = "{orthanc.dicomweb_url}"
objects = ["SEG_FRACTIONAL", "SR_COMPREHENSIVE"]
commitment = true
[[destinations]]
name = "share"
kind = "folder"
folder = {json.dumps(str(folder / "share"))}
objects = ["SR_TEXT"]
[[notify]]
name = "ris"
kind = "hl7"
{here}
port = {hl7_port}
[[notify]]
name = "chat"
kind = "webhook"
url = "http://127.0.0.1:{web_port}/hook"
secret_file = {json.dumps(str(folder / "secret"))}
[[notify]]
name = "manager"
kind = "ups"
ae_title = "MANAGER"
{here}
port = {manager_port}
retrieve_ae_title = "{orthanc.ae_title}"
[[notify]]
name = "availability"
kind = "ian"
ae_title = "MANAGER"
{here}
port = {manager_port}
after = "pacs"
[[notify]]
name = "duty"
kind = "email"
{here}
port = {mail_port}
mail_tls = "plain"
sender = "triage@hospital.example"
recipients = ["duty@hospital.example"]
[[notify]]
name = "workstations"
kind = "pull"
retrieve_ae_title = "{orthanc.ae_title}"
"""


def all_there(row: WorklistRow) -> bool:
    wanted = {"pacs": "committed", "web": "committed"}
    return is_final(row) and all(o.state == wanted.get(o.destination, "delivered") for o in row.objects)


@contextmanager
def analysing(
    folder: Path, url: str, orthanc: OrthancServer, lists: Lists, source: Path
) -> Iterator[tuple[Daemon, str]]:
    orthanc.empty()
    folder.mkdir(exist_ok=True)
    with (
        listening_ris(lists.ris) as hl7,
        posted_to(lists) as web_port,
        created_at(lists) as manager_port,
        taking_mail(lists.duty) as mail_port,
    ):
        ports = {"web_port": web_port, "manager_port": manager_port, "mail_port": mail_port}
        extra = settings(folder, orthanc, hl7_port=hl7.port, **ports)
        with running_daemon(folder, url, extra=extra) as daemon:
            orthanc.know("ICHTRIAGE", daemon.remote.port)
            found, _ = dicom_files((source,))
            outcomes = send(daemon.remote, [f.outgoing for f in found])
            assert [o.error for o in outcomes if o.error] == []
            yield daemon, found[0].study_instance_uid


def pulled(daemon: Daemon) -> list[Dataset]:
    """What a workstation finds that asks our listener for steps of high priority."""
    entity = AE("WORKSTATION")
    entity.add_requested_context(UPS_PULL)
    assoc = entity.associate("127.0.0.1", daemon.remote.port, ae_title="ICHTRIAGE")
    assert assoc.is_established
    question = Dataset()
    question.ScheduledProcedureStepPriority = "HIGH"
    question.StudyInstanceUID = question.ProcedureStepState = question.ProcedureStepLabel = ""
    answers = [ds for status, ds in assoc.send_c_find(question, UPS_PULL) if status.Status == 0xFF00]
    assoc.release()
    return answers


def test_one_suspected_study_reaches_every_archive_and_every_list(
    tmp_path: Path, sqlite_copies: list[str], orthanc: OrthancServer, suspected: Path
) -> None:
    lists = Lists(ris=Ris("AE", "close"), duty=Mailbox(faults=["451 try later"]))
    with analysing(tmp_path / "site", sqlite_copies[0], orthanc, lists, suspected) as (daemon, study):
        row = daemon.wait_for(study, all_there)
        assert row.status is WorklistStatus.SUSPECTED
        sent = {name: {o.kind.value for o in row.objects if o.destination == name} for name in EXPECTED}
        assert sent == EXPECTED
        archived = {o.sop_instance_uid for o in row.objects if o.destination in ("pacs", "web")}
        assert archived <= set(orthanc.sop_instance_uids())
        with daemon.app.db.read() as tx:
            asked = [d for d in deliveries.of_study(tx, study) if d.destination in ("pacs", "web")]
        known = {(d.destination, d.error) for d in asked}
        assert known == {("pacs", None), ("web", FOUND)}, "one reported to our listener, the other was asked"
        steps = pulled(daemon)
    assert [step.ScheduledProcedureStepPriority for step in steps] == ["HIGH"]
    assert len(lists.ris.arrived) == 3, "a NAK and a closed socket, then the message"
    (message,) = lists.ris.taken.values()
    assert study in message
    (post,) = lists.posts
    assert post["status"] == "suspected"
    assert sorted(sop_class for sop_class, _ in lists.created) == [IAN, UPS_PUSH]
    (mail,) = lists.duty.messages
    assert mail["Subject"].startswith("DEMONSTRATION: Head CT: intracranial haemorrhage suspected")
    assert study in mail.get_content()
    (text,) = (tmp_path / "site" / "share").iterdir()
    assert text.suffix == ".dcm"
