"""The image: its Containerfile executed step by step in a plain Debian, and its container behind the proxy."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.deploy import DEPLOY, ROOT, clean_debian, not_allowed_here, program
from tests.services import free_port

CONTAINERFILE = DEPLOY / "container" / "Containerfile"
IMAGE = "localhost/ich-triage:latest"
START_SECONDS = 90.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Engine:
    """Buildah on a store of its own. It needs no daemon, and changes into a folder where others make a container."""

    folder: Path

    def command(self, *words: str | Path) -> list[str]:
        places = [
            "--root",
            str(self.folder / "store"),
            "--runroot",
            str(self.folder / "run"),
            "--storage-driver",
            "vfs",
        ]
        return [program("buildah", "buildah"), *places, *map(str, words)]

    def do(self, *words: str | Path, seconds: float = 600) -> str:
        ran = subprocess.run(self.command(*words), capture_output=True, text=True, timeout=seconds, check=False)
        if ran.returncode != 0:
            not_allowed_here(ran.stderr)
        assert ran.returncode == 0, f"{words}: {ran.stdout[-2000:]}{ran.stderr[-3000:]}"
        return ran.stdout.strip()


@dataclass(frozen=True)
class Container:
    """A container of the image, on this machine's network."""

    engine: Engine
    name: str
    environment: dict[str, str]

    def command(self, *words: str) -> list[str]:
        env = [f"--env={key}={value}" for key, value in self.environment.items()]
        return self.engine.command("run", "--isolation", "chroot", *env, self.name, "--", *words)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*words), capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    folder = Path(tempfile.mkdtemp(prefix="ich-image-", dir="/var/tmp"))
    engine = Engine(folder)
    try:
        bases = {line.split()[1] for line in CONTAINERFILE.read_text().splitlines() if line.startswith("FROM ")}
        (base,) = bases
        plain = engine.do("from", "scratch")
        engine.do("add", plain, clean_debian(), "/")
        engine.do("commit", "--rm", plain, base)
        build = ["build", "--isolation", "chroot", "--pull-never", "--format", "docker", "--no-cache", "--tag", IMAGE]
        engine.do(*build, "--file", CONTAINERFILE, ROOT)
        yield engine
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def web_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def site_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def container(engine: Engine, web_port: int, site_port: int) -> Container:
    """Settings of the image, but SQLite for PostgreSQL, and ports that nobody else has."""
    environment = {
        "TRIAGE_DATABASE__URL": "sqlite:////var/lib/ich-triage/triage.db",
        "TRIAGE_WEB__PORT": str(web_port),
        "TRIAGE_WEB__PUBLIC_URL": f"https://localhost:{site_port}",
        "TRIAGE_WEB__TRUSTED_PROXIES": '["127.0.0.1/32"]',
    }
    return Container(engine, engine.do("from", "--pull-never", IMAGE), environment)


@pytest.fixture(scope="module")
def config(engine: Engine) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(engine.do("inspect", "--type", "image", IMAGE))["Docker"]["config"]
    return found


@contextmanager
def running(command: list[str], log: Path, environment: dict[str, str] | None = None) -> Iterator[None]:
    """A program and everything that it started, until the end of the block."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **(environment or {})})
    try:
        yield
    finally:
        family = [process, *psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []
        for member in family[::-1]:
            member.terminate()
        process.wait(60)


def wait_for(answer, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not answer():
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.5)


def test_the_image_says_what_the_containerfile_says(config: dict[str, Any]) -> None:
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["triage"]
    assert config["Cmd"] == ["run"]
    assert set(config["ExposedPorts"]) == {"11112/tcp", "8080/tcp"}
    assert "/var/lib/ich-triage" in config["Volumes"]
    assert config["Healthcheck"]["Test"][:2] == ["CMD", "python"]
    assert "ORT_DISABLE_TELEMETRY=1" in config["Env"]


def test_it_runs_as_nobody_who_matters(container: Container) -> None:
    assert container.run("id", "-u").stdout.strip() == "10001"
    assert container.run("touch", "/opt/ich-triage/here").returncode != 0
    assert container.run("touch", "/var/lib/ich-triage/here").returncode == 0
    assert "is whole" in container.run("triage", "bundle", "verify").stdout


def test_a_command_in_a_container_reads_its_settings(container: Container) -> None:
    shown = json.loads(container.run("triage", "config").stdout)
    assert shown["listener"]["allowed_callers"] == ["PACS@192.0.2.10"]


def test_the_pages_are_served_behind_the_proxy(
    container: Container, config: dict[str, Any], web_port: int, site_port: int, tmp_path: Path
) -> None:
    health = [word.replace(":8080", f":{web_port}") for word in config["Healthcheck"]["Test"][1:]]
    assert container.run(*health).returncode != 0, "nothing is served yet"
    start = config["Entrypoint"]
    assert "0005" in container.run(*start, "db", "upgrade").stdout
    log = tmp_path / "log"
    subprocess.run([DEPLOY / "container" / "make-secrets", tmp_path, "localhost"], check=True, capture_output=True)
    site = f"https://localhost:{site_port}"
    proxy = [
        program("caddy", "caddy"),
        "run",
        "--adapter",
        "caddyfile",
        "--config",
        str(CONTAINERFILE.parent / "Caddyfile"),
    ]
    places = {
        "SITE": site,
        "PAGES": f"127.0.0.1:{web_port}",
        "TLS_CERTIFICATE": str(tmp_path / "tls_certificate"),
        "TLS_KEY": str(tmp_path / "tls_key"),
        "HOME": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path),
    }
    trusted = ssl.create_default_context(cafile=tmp_path / "tls_certificate")
    with (
        running(container.command(*start, "run", "--role", "web", "--alone"), log),
        running(proxy, log, places),
        httpx.Client(base_url=site, verify=trusted) as browser,
    ):
        wait_for(lambda: container.run(*health).returncode == 0, log)
        wait_for(lambda: _status(browser) == 200, log)
        page = browser.get("/login")
        assert page.status_code == 200
        assert "Strict-Transport-Security" in page.headers
        assert "Content-Security-Policy" in page.headers
        assert browser.get("/readyz").text == "ready\n"
        forged = {"Authorization": "Bearer not-a-token"}
        assert browser.get("/metrics", headers=forged).status_code == 401, "figures are for those who bring a token"


def _status(browser: httpx.Client) -> int:
    try:
        return browser.get("/healthz").status_code
    except httpx.TransportError:
        return 0
