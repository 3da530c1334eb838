"""``triage demo``: the whole job on one machine, with a stand-in archive, made heads and the pages."""

from __future__ import annotations

import json
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Lock

from rich.console import Console
from rich.live import Live

from triage.domain.account import Role
from triage.domain.errors import ConfigurationError, TriageError, UnreadableInstance
from triage.domain.finding import WorklistStatus
from triage.domain.intended_use import INTENDED_USE
from triage.domain.worklist import WorklistRow
from triage.entrypoints import present
from triage.entrypoints.app import App, build, database_url, utc_now
from triage.entrypoints.look import reading_list
from triage.entrypoints.operate import dicom_files
from triage.net.scp import IncomingInstance, ListenerOptions, Peer, StorageScp
from triage.net.scu import OutgoingInstance, RemoteAe, echo, send
from triage.services import people
from triage.services.passwords import Passwords
from triage.settings import Settings, read_settings
from triage.store.db import upgrade

SEED = 5
"""Of made heads that the shipped bundle is right about with room to spare; its card says how often it is wrong.

The first has blood, in one slice enough to see an outline, and the second has none. Chosen anew with every new bundle
and with every change of how heads are made; tests and benchmarks that count on the bundle take the same heads.
"""

READY_SECONDS = 60.0
DONE_SECONDS = 300.0
ARCHIVE_AE_TITLE = "STANDIN"
VISITOR = "visitor"


@dataclass(frozen=True)
class Sent:
    """One study that was sent, and when its last instance was acknowledged."""

    study_instance_uid: str
    instances: int
    acknowledged_at: datetime


def run_demo(folder: Path, *, once: bool, study: Path | None) -> None:
    """Start daemon and archive in a new folder, send studies, print the worklist and where everything lies.

    Raises
    ------
    TriageError
        The daemon did not start, or the studies did not come to an end in time.
    """
    # A demo that is told to end takes its daemon with it, however it is told.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    out = present.console()
    place = (folder / time.strftime("%Y-%m-%dT%H-%M-%S")).resolve()
    place.mkdir(parents=True)
    config = _write_config(place)
    settings = read_settings(config)
    upgrade(database_url(settings))
    out.print(f"[bold]ich-triage demo[/bold] in {place}", INTENDED_USE, sep="\n")
    log = place / "daemon.log"
    with _stand_in_archive(settings, place / "archive") as archived, _daemon(config, log, once) as daemon:
        sources = [study] if study else _made_heads(place / "studies", out)
        me = RemoteAe(settings.listener.ae_title, settings.listener.host, settings.listener.port, "DEMOSENDER")
        _wait_ready(me, daemon, log)
        app = build(settings)
        sent = [told for source in sources for told in _send(source, me, out)]
        _wait_done(app, sent, daemon, out)
        _report(app, sent, archived, place, out)
        if not once:
            _stay(app, settings, out)
        app.db.dispose()


def _write_config(place: Path) -> Path:
    listen, web, archive = _free_ports(3)
    config = place / "triage.toml"
    config.write_text(
        f"""[listener]
port = {listen}
[web]
port = {web}
[database]
url = {json.dumps(f"sqlite:///{place / 'triage.db'}")}
[storage]
root = {json.dumps(str(place / "blobs"))}
min_free_gb = 0.5
[[destinations]]
name = "archive"
ae_title = "{ARCHIVE_AE_TITLE}"
host = "127.0.0.1"
port = {archive}
"""
    )
    return config


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@contextmanager
def _stand_in_archive(settings: Settings, folder: Path) -> Iterator[list[Path]]:
    """A Storage SCP that writes what it is sent into a folder."""
    folder.mkdir()
    kept: list[Path] = []
    lock = Lock()

    def keep(incoming: IncomingInstance) -> None:
        with lock:
            file = folder / f"{len(kept):04d}.dcm"
            file.write_bytes(incoming.content)
            kept.append(file)

    def ignore_end(association_id: str, peer: Peer, released: bool) -> None:
        pass

    def ignore_refusal(peer: Peer, why: str) -> None:
        pass

    port = settings.destinations[0].port or 0
    scp = StorageScp(ListenerOptions(ae_title=ARCHIVE_AE_TITLE, port=port), keep, ignore_end, ignore_refusal)
    scp.start()
    try:
        yield kept
    finally:
        scp.stop(1.0)


@contextmanager
def _daemon(config: Path, log: Path, once: bool) -> Iterator[subprocess.Popen[bytes]]:
    # Nobody looks at the pages of a demo that ends by itself.
    roles = [word for role in ("listen", "work", "send", "clock") for word in ("--role", role)] if once else []
    command = [sys.executable, "-m", "triage", "--config", str(config), "run", *roles]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stderr=stream)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _made_heads(folder: Path, out: Console) -> list[Path]:
    """One head with blood, one without, one with missing slices; made by the trainer, marked SYNTHETIC."""
    statuses = [WorklistStatus.SUSPECTED, WorklistStatus.NOT_SUSPECTED, WorklistStatus.NOT_ANALYSED]
    chosen = [word for status in statuses for word in ("--status", status.value)]
    out.print(
        "Three SYNTHETIC heads, chosen because the bundle is right about them. Its card says how often it is not."
    )
    with out.status("making three synthetic heads"):
        made = subprocess.run(
            [sys.executable, "-m", "trainer", "phantom", str(folder), "--studies", "3", "--seed", str(SEED), *chosen],
            capture_output=True,
            text=True,
            check=False,
        )
    if made.returncode != 0:
        raise TriageError(f"The synthetic heads could not be made: {made.stderr.strip()[-300:]}")
    truth = json.loads((folder / "truth.json").read_text())
    return [folder / entry["folder"] for entry in truth]


def _wait_ready(remote: RemoteAe, daemon: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if daemon.poll() is not None:
            raise ConfigurationError(f"The daemon stopped at once; {log} says why.")
        try:
            echo(remote)
        except TriageError:
            time.sleep(0.2)
        else:
            return
    raise TriageError(f"The daemon did not answer within {READY_SECONDS:.0f} s; {log} says why.")


def _send(source: Path, remote: RemoteAe, out: Console) -> list[Sent]:
    found, _ = dicom_files((source,))
    if not found:
        raise UnreadableInstance(f"There is no DICOM file below {source}.")
    studies: dict[str, list[OutgoingInstance]] = {}
    for item in found:
        studies.setdefault(item.study_instance_uid, []).append(item.outgoing)
    sent = []
    for study_instance_uid, instances in studies.items():
        outcomes = send(remote, instances)
        refused = [o for o in outcomes if o.error is not None]
        for outcome in refused:
            out.print(f"refused: {outcome.error}")
        sent.append(Sent(study_instance_uid, len(instances) - len(refused), utc_now()))
        out.print(f"sent {len(instances) - len(refused)} instances of study {study_instance_uid}")
    return sent


def _wait_done(app: App, sent: list[Sent], daemon: subprocess.Popen[bytes], out: Console) -> None:
    """Until every study is final and every object delivered."""
    deadline = time.monotonic() + DONE_SECONDS
    with out.status("waiting for the daemon"):
        while time.monotonic() < deadline:
            if daemon.poll() is not None:
                raise TriageError("The daemon stopped; daemon.log in the demo's folder says why.")
            rows = {row.study_instance_uid: row for row in reading_list(app)}
            if all(told.study_instance_uid in rows and _final(rows[told.study_instance_uid]) for told in sent):
                return
            time.sleep(0.1)
    raise TriageError(f"The studies did not come to an end within {DONE_SECONDS:.0f} s.")


def _final(row: WorklistRow) -> bool:
    if row.status is WorklistStatus.PENDING or row.provisional:
        return False
    return all(o.state in ("delivered", "committed", "failed") for o in row.objects)


def _report(app: App, sent: list[Sent], archived: list[Path], place: Path, out: Console) -> None:
    rows = reading_list(app)
    acknowledged = {told.study_instance_uid: told.acknowledged_at for told in sent}
    out.print(present.worklist_table(rows, utc_now()))
    for row in rows:
        if row.flagged_at is not None and row.study_instance_uid in acknowledged:
            seconds = (row.flagged_at - acknowledged[row.study_instance_uid]).total_seconds()
            out.print(f"last instance to flag: {seconds:.2f} s  (study {row.study_instance_uid})")
    out.print(
        f"result objects in the stand-in archive: {len(archived)} files in {place / 'archive'}",
        f"received instances and results: {place / 'blobs'}",
        f"database: {place / 'triage.db'}   daemon's log: {place / 'daemon.log'}",
        f"look further: triage --config {place / 'triage.toml'} show STUDY_UID",
        sep="\n",
        soft_wrap=True,
    )


def _stay(app: App, settings: Settings, out: Console) -> None:
    """Keep the pages up, and the list on the screen, until Ctrl-C."""
    listener, web = settings.listener, settings.web
    password = secrets.token_urlsafe(12)
    people.add_user(app.db, Passwords(), VISITOR, Role.ADMINISTRATOR, password, by="demo", now=utc_now())
    out.print(
        f"The pages: http://{web.host}:{web.port}/   name: {VISITOR}   password: {password}   (made for this run)",
        f"The daemon stays up: send your own studies to {listener.ae_title}@{listener.host}:{listener.port}. "
        "Ctrl-C ends it.",
        sep="\n",
        soft_wrap=True,
        highlight=False,
    )
    try:
        with Live(console=out, auto_refresh=False) as live:
            while True:
                live.update(present.worklist_table(reading_list(app), utc_now()), refresh=True)
                time.sleep(1.0)
    except KeyboardInterrupt:
        out.print("Stopping.")
