"""The real programs that tests run against: PostgreSQL, Orthanc, dcmtk and dicom3tools.

Each server is a child of the test process, keeps everything in a temporary folder of its own, takes free
ports or a Unix socket, and dies with its parent.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path

APT_PACKAGES = (
    "buildah",
    "caddy",
    "dcmtk",
    "debootstrap",
    "dicom3tools",
    "logrotate",
    "orthanc",
    "orthanc-dicomweb",
    "postgresql",
    "rsyslog",
    "rsyslog-gnutls",
    "systemd",
    "systemd-container",
)
"""What the tests need from Debian; the Makefile installs the same list."""

SEARCH_PATH = os.pathsep.join(
    ("/usr/lib/postgresql/15/bin", os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin")
)
ORTHANC_PLUGINS = Path("/usr/share/orthanc/plugins")
START_SECONDS = 30


class MissingProgramError(RuntimeError):
    """A program that the tests need is not installed; the message is the command that installs it."""


def find_program(name: str, package: str) -> str:
    """Path of an installed program."""
    found = shutil.which(name, path=SEARCH_PATH)
    if found is None:
        raise MissingProgramError(f"{name} is not installed. Run: sudo apt-get install -y {package}")
    return found


def free_port() -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(ready: Callable[[], bool], what: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Poll ``ready``; a process that ends or takes too long is reported with the end of its log."""
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        ended = process.poll() is not None
        if ended or time.monotonic() > deadline:
            tail = log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{what} {'ended' if ended else 'did not answer in time'}; its log ends:\n{tail}")
        time.sleep(0.05)


def start_child(
    arguments: list[str], log: Path, account: str | None = None, environment: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a server that gets SIGINT when this process dies, under another account when root asks for one."""
    prefix: list[str] = []
    setpriv = shutil.which("setpriv", path=SEARCH_PATH)
    if setpriv is not None:
        prefix = [setpriv, "--pdeathsig", "INT"]
        if account is not None:
            prefix += ["--reuid", account, "--regid", account, "--init-groups"]
    elif account is not None:
        raise MissingProgramError("setpriv is not installed. Run: sudo apt-get install -y util-linux")
    with log.open("ab") as output:
        return subprocess.Popen(
            [*prefix, *arguments],
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            cwd="/",
            env={**os.environ, **(environment or {})},
        )


def stop_child(process: subprocess.Popen[bytes]) -> None:
    """End a server politely, then for good."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Programs:
    """Command-line programs of one Debian package, found when asked for."""

    def __init__(self, package: str, *needed: str) -> None:
        self.package = package
        for name in needed:
            self.path(name)

    def path(self, name: str) -> str:
        """Where the program lies."""
        return find_program(name, self.package)

    def run(self, name: str, *arguments: str | Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run to the end; the caller looks at the exit status, stdout and stderr."""
        command = [self.path(name), *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=timeout, check=False, cwd="/"
        )

    def conformance_errors(self, file: Path) -> list[str]:
        """The lines in which ``dciodvfy -new`` (dicom3tools) finds an error in a DICOM file."""
        ran = self.run("dciodvfy", "-new", file)
        lines = [line for line in (ran.stdout + ran.stderr).splitlines() if line.startswith("Error")]
        if ran.returncode != 0 and not lines:
            lines = [f"dciodvfy ended with {ran.returncode}: {ran.stderr.strip()[-500:]}"]
        return lines


def _memory() -> Path | None:
    """A file system in memory with a gigabyte to spare, if there is one."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and shutil.disk_usage(memory).free > 1 << 30 else None


class PostgresCluster:
    """A PostgreSQL cluster on a Unix socket that only this account can reach. fsync is off: nobody pulls the plug.

    It lies in memory where there is room: a database for each test is megabytes of files made and removed.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="ich-pg-", dir=_memory()))
        self._log = self._folder / "log"
        self._account = "postgres" if os.geteuid() == 0 else None
        self._user = self._account or pwd.getpwuid(os.geteuid()).pw_name
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Make the cluster and start it."""
        if self._account is not None:
            shutil.chown(self._folder, self._account, self._account)
        data = self._folder / "data"
        options = ["-D", str(data), "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8", "-U", self._user]
        making = start_child([find_program("initdb", "postgresql"), *options], self._log, self._account)
        if making.wait(60) != 0:
            raise RuntimeError(f"initdb failed: {self._log.read_text(errors='replace')[-2000:]}")
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._folder),
            "fsync": "off",
            "full_page_writes": "off",
            "max_connections": "200",
            "shared_buffers": "64MB",
            "max_wal_size": "128MB",
            "autovacuum": "off",
        }
        flags = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        server = [find_program("postgres", "postgresql"), "-D", str(data), *flags]
        self._process = start_child(server, self._log, self._account)
        wait_until(self._answers, "PostgreSQL", self._process, self._log)

    def stop(self) -> None:
        """Stop the server and remove the cluster."""
        if self._process is not None:
            stop_child(self._process)
        shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, database: str) -> str:
        """SQLAlchemy URL of one database of the cluster."""
        return f"postgresql+psycopg://{self._user}@/{database}?host={self._folder}"

    def create(self, database: str, template: str = "template0") -> None:
        """CREATE DATABASE as a copy of ``template``, by files and not block by block."""
        self._execute(f'CREATE DATABASE "{database}" TEMPLATE "{template}" STRATEGY FILE_COPY')

    def seal(self, database: str) -> None:
        """End every session of a database and let nobody in, so that it can be copied at any time."""
        self._execute(f'ALTER DATABASE "{database}" WITH ALLOW_CONNECTIONS false')
        self._execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")

    def drop(self, database: str) -> None:
        """DROP DATABASE, open sessions or not."""
        self._execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')

    def _execute(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(host=str(self._folder), user=self._user, dbname="postgres", autocommit=True) as connection:
            connection.execute(statement)

    def _answers(self) -> bool:
        import psycopg

        try:
            self._execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


class OrthancServer:
    """A real archive with DICOMweb. Its ports stay the same over ``stop`` and ``start``.

    ``script`` is Lua that makes it behave otherwise; ``changed`` are keys of its configuration.
    """

    ae_title = "ORTHANC"
    host = "127.0.0.1"

    def __init__(self, *, sync_storage: bool = False, script: str = "", **changed: object) -> None:
        self._sync_storage = sync_storage
        self._script = script
        self._changed = changed
        self._program = find_program("Orthanc", "orthanc orthanc-dicomweb")
        if not (ORTHANC_PLUGINS / "libOrthancDicomWeb.so").exists():
            raise MissingProgramError(
                "Orthanc has no DICOMweb plugin. Run: sudo apt-get install -y orthanc orthanc-dicomweb"
            )
        self._folder = Path(tempfile.mkdtemp(prefix="ich-orthanc-"))
        self._log = self._folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self.dicom_port = free_port()
        self.http_port = free_port()

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        assert self._process is not None
        return self._process.pid

    @property
    def http_url(self) -> str:
        """Root of the REST interface, without a slash at the end."""
        return f"http://{self.host}:{self.http_port}"

    @property
    def dicomweb_url(self) -> str:
        """Root of the DICOMweb interface, without a slash at the end."""
        return f"{self.http_url}/dicom-web"

    def start(self) -> None:
        """Start with what the storage folder holds."""
        configuration = {
            "Name": "SYNTHETIC ARCHIVE",
            "StorageDirectory": str(self._folder / "storage"),
            "IndexDirectory": str(self._folder / "storage"),
            "HttpPort": self.http_port,
            "DicomPort": self.dicom_port,
            "DicomAet": self.ae_title,
            "DicomCheckCalledAet": False,
            "DicomAlwaysAllowStore": True,
            "DicomAlwaysAllowEcho": True,
            "UnknownSopClassAccepted": True,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "OverwriteInstances": False,
            "SyncStorageArea": self._sync_storage,
            "CheckRevisions": False,
            "Plugins": [str(ORTHANC_PLUGINS / "libOrthancDicomWeb.so")],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            **self._changed,
        }
        if self._script:
            script = self._folder / "behaviour.lua"
            script.write_text(self._script)
            configuration["LuaScripts"] = [str(script)]
        file = self._folder / "orthanc.json"
        file.write_text(json.dumps(configuration))
        self._process = start_child([self._program, str(file)], self._log)
        wait_until(self._answers, "Orthanc", self._process, self._log)

    def stop(self) -> None:
        """Stop the server; what it keeps stays for the next start."""
        if self._process is not None:
            stop_child(self._process)
            self._process = None

    def remove(self) -> None:
        """Stop the server and remove its storage."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def empty(self) -> None:
        """Remove everything that the archive holds, starting it first when a test left it stopped."""
        if self._process is None or self._process.poll() is not None:
            self.start()
        patients = self.get_json("/patients")
        if patients:
            body = json.dumps({"Resources": patients}).encode()
            self._request("/tools/bulk-delete", body=body)

    def sop_instance_uids(self, modality: str | None = None) -> list[str]:
        """SOP Instance UIDs of everything stored, or of one modality, sorted."""
        series = self.get_json("/series?expand")
        wanted = {s["ID"] for s in series if modality is None or s["MainDicomTags"].get("Modality") == modality}
        instances = self.get_json("/instances?expand")
        return sorted(i["MainDicomTags"]["SOPInstanceUID"] for i in instances if i["ParentSeries"] in wanted)

    def store(self, content: bytes) -> None:
        """Put one Part 10 file into the archive over REST."""
        self._request("/instances", body=content)

    def retrieve(self, study_instance_uid: str, series_instance_uid: str, sop_instance_uid: str) -> bytes:
        """One instance as a Part 10 file by WADO-RS, in the transfer syntax that the archive keeps it in."""
        path = f"/studies/{study_instance_uid}/series/{series_instance_uid}/instances/{sop_instance_uid}"
        accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
        content, headers = self._request(f"/dicom-web{path}", accept=accept)
        head = f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode()
        (part,) = BytesParser(policy=HTTP).parsebytes(head + content).iter_parts()
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        return payload

    def file(self, sop_instance_uid: str) -> bytes:
        """One instance as the file that lies in the archive's storage, found by its UID alone."""
        (found,) = [
            i for i in self.get_json("/instances?expand") if i["MainDicomTags"]["SOPInstanceUID"] == sop_instance_uid
        ]
        return self._request(f"/instances/{found['ID']}/file")[0]

    def know(self, ae_title: str, port: int) -> None:
        """Enter a modality on this machine: it may ask, fetch and request commitment, and is told on ``port``."""
        modality = {"AET": ae_title, "Host": self.host, "Port": port, "AllowStorageCommitment": True}
        self._request(f"/modalities/{ae_title}", body=json.dumps(modality).encode(), method="PUT")

    def get_json(self, path: str) -> list[dict] | dict:
        """Decode the JSON answer of a GET."""
        return json.loads(self._request(path)[0])

    def _answers(self) -> bool:
        try:
            self._request("/system")
        except (urllib.error.URLError, ConnectionError):
            return False
        return True

    def _request(
        self, path: str, body: bytes | None = None, accept: str = "*/*", method: str | None = None
    ) -> tuple[bytes, Message]:
        request = urllib.request.Request(f"{self.http_url}{path}", data=body, headers={"Accept": accept}, method=method)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return answer.read(), answer.headers
