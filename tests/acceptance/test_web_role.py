"""The role ``web`` in the real daemon: it answers, speaks TLS, believes only its proxy, and stops with open streams."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.acceptance.daemon import running_daemon
from tests.certificates import Authority
from tests.web import PASSWORD
from triage.domain.audit import AuditAction
from triage.store import audit

pytestmark = pytest.mark.slow

ANSWER_SECONDS = 60.0


def add_user(config: Path, name: str, role: str) -> None:
    """Make an account as an administrator does."""
    command = [sys.executable, "-m", "triage", "--config", str(config), "user", "add", name, "--role", role]
    subprocess.run([*command, "--password-stdin"], input=PASSWORD, text=True, check=True, capture_output=True)


@contextmanager
def client(url: str, **how: Any) -> Iterator[httpx.Client]:
    """A browser without a window, once the pages answer."""
    deadline = time.monotonic() + ANSWER_SECONDS
    with httpx.Client(base_url=url, trust_env=False, timeout=30, **how) as opened:
        while True:
            try:
                opened.get("/healthz")
            except httpx.TransportError:
                assert time.monotonic() < deadline, "the pages never answered"
                time.sleep(0.1)
            else:
                break
        yield opened


def log_in(browser: httpx.Client, name: str, **how: Any) -> httpx.Response:
    """Fill in the form."""
    form = browser.get("/login", **how).text
    token = form.partition('name="csrf_token" value="')[2].partition('"')[0]
    data = {"name": name, "password": PASSWORD, "csrf_token": token, "next": "/password"}
    return browser.post("/login", data=data, **how)


def test_the_role_serves_and_stops_within_seconds_with_streams_open(sqlite_copies: list[str], tmp_path: Path) -> None:
    with running_daemon(tmp_path, sqlite_copies[0], roles=("listen", "web")) as daemon:
        add_user(daemon.config, "rad", "radiologist")
        with client(daemon.web_url) as browser:
            assert browser.get("/readyz").text == "ready\n"
            assert log_in(browser, "rad").headers["location"] == "/password"
            with browser.stream("GET", "/events") as stream:
                assert stream.status_code == 200
                assert stream.headers["content-type"].startswith("text/event-stream")
                web = daemon.role_processes()["web"]
                web.terminate()
                gone, _ = psutil.wait_procs([web], timeout=20)
                assert gone, "an open stream keeps the role from stopping"
            # The supervisor starts it again, and the session holds.
            with client(daemon.web_url, cookies=browser.cookies) as again:
                assert "Sign out" in again.get("/password").text
        log = daemon.log.read_text()
        assert PASSWORD not in log
        assert "csrf" not in log
        assert [event["port"] for event in daemon.events("serving")] == [daemon.web_port] * 2
        with daemon.app.db.read() as tx:
            logins = [r.event for r in audit.records(tx) if r.event.action is AuditAction.LOGIN]
        assert [(event.actor, event.detail["address"]) for event in logins] == [("rad", "127.0.0.1")]


def test_the_role_speaks_tls_only(sqlite_copies: list[str], tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    certificate, key = authority.issue("127.0.0.1")
    keys = {"TRIAGE_WEB__TLS_CERTIFICATE": str(certificate), "TRIAGE_WEB__TLS_KEY": str(key)}
    with running_daemon(tmp_path, sqlite_copies[0], roles=("listen", "web"), environment=keys) as daemon:
        add_user(daemon.config, "rad", "radiologist")
        trust = ssl.create_default_context(cafile=str(authority.ca_file))
        with client(f"https://127.0.0.1:{daemon.web_port}", verify=trust) as browser:
            answer = log_in(browser, "rad")
            assert answer.status_code == 303
            assert "__Host-triage" in browser.cookies
            assert "max-age" in answer.headers["strict-transport-security"]
            assert browser.get("/password").status_code == 200
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{daemon.web_url}/healthz", trust_env=False)


def test_a_renewed_certificate_needs_no_restart(sqlite_copies: list[str], tmp_path: Path) -> None:
    former, renewed = Authority.make(tmp_path, "former"), Authority.make(tmp_path, "renewed")
    certificate, key = former.issue("127.0.0.1")
    keys = {"TRIAGE_WEB__TLS_CERTIFICATE": str(certificate), "TRIAGE_WEB__TLS_KEY": str(key)}
    with running_daemon(tmp_path, sqlite_copies[0], roles=("listen", "web"), environment=keys) as daemon:
        url = f"https://127.0.0.1:{daemon.web_port}"
        with client(url, verify=ssl.create_default_context(cafile=str(former.ca_file))) as browser:
            assert browser.get("/healthz").status_code == 200
        web = daemon.role_processes()["web"].pid
        for made, place in zip(renewed.issue("127.0.0.1"), (certificate, key), strict=True):
            place.write_bytes(made.read_bytes())
        with client(url, verify=ssl.create_default_context(cafile=str(renewed.ca_file))) as browser:
            assert browser.get("/healthz").status_code == 200
        assert daemon.role_processes()["web"].pid == web
        assert len(daemon.events("certificate_renewed")) == 1


@pytest.mark.parametrize(("trusted", "written"), [("[]", "127.0.0.1"), ('["127.0.0.0/8"]', "203.0.113.9")])
def test_a_forwarded_address_is_believed_from_a_trusted_proxy_alone(
    sqlite_copies: list[str], tmp_path: Path, trusted: str, written: str
) -> None:
    environment = {"TRIAGE_WEB__TRUSTED_PROXIES": trusted}
    with running_daemon(tmp_path, sqlite_copies[0], roles=("listen", "web"), environment=environment) as daemon:
        add_user(daemon.config, "rad", "radiologist")
        with client(daemon.web_url) as browser:
            forwarded = {"X-Forwarded-For": "198.51.100.1, 203.0.113.9"}
            assert log_in(browser, "rad", headers=forwarded).status_code == 303
        with daemon.app.db.read() as tx:
            (login,) = [r.event for r in audit.records(tx) if r.event.action is AuditAction.LOGIN]
        assert login.detail["address"] == written


def test_a_port_that_is_taken_leaves_the_other_roles_alone(sqlite_copies: list[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        environment = {"TRIAGE_WEB__PORT": port}
        with running_daemon(tmp_path, sqlite_copies[0], environment=environment) as daemon:
            deadline = time.monotonic() + ANSWER_SECONDS
            while not [event for event in daemon.events("role_died") if event["child"] == "web"]:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert daemon.process.poll() is None
            assert {"listen", "work", "send", "clock"} <= set(daemon.role_processes())
        assert f"127.0.0.1:{port}" in daemon.log.read_text()


@pytest.mark.parametrize(
    ("web", "named"),
    [
        ('host = "0.0.0.0"', "web.tls_certificate"),
        ('host = "192.0.2.254"', "web.host"),
        ('tls_certificate = "nowhere.pem"\ntls_key = "nowhere.key"', "nowhere.pem"),
    ],
    ids=["plain-beyond-loopback", "no-such-address", "no-such-certificate"],
)
def test_what_cannot_be_served_is_one_sentence(sqlite_copies: list[str], tmp_path: Path, web: str, named: str) -> None:
    config = tmp_path / "triage.toml"
    text = f"[database]\nurl = {json.dumps(sqlite_copies[0])}\n[web]\n{web}\n"
    config.write_text(text if "192.0.2" not in web else f'{text}plain_http_beyond_loopback = "{IN_WORDS}"\n')
    command = [sys.executable, "-m", "triage", "--config", str(config), "run", "--role", "web"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path)
    assert ran.returncode == 78, ran.stderr
    assert named in ran.stderr
    assert "Traceback" not in ran.stderr


IN_WORDS = "passwords and findings may travel unencrypted"
