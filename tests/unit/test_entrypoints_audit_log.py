"""``triage audit`` and the parts of the roles that keep the log: key, checkpoints, verification, forwarding."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tests.conftest import copy_sqlite
from tests.rsyslog import Certificates
from tests.stores import append_later, logged
from tests.unit.test_net_syslog import frames, peer
from triage.domain.audit import AuditAction
from triage.domain.errors import AuditBroken, ConfigurationError, NotFound
from triage.entrypoints import audit_parts, clock, sender
from triage.entrypoints.app import App, build
from triage.entrypoints.cli import triage
from triage.services.checkpoint import sign_when_due
from triage.settings import read_settings
from triage.store import audit_forward
from triage.store.audit import UNREADABLE

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = """
[database]
url = "sqlite:///{folder}/triage.db"
[storage]
root = "{folder}/blobs"
[audit]
checkpoint_key = "{folder}/keys/audit.key"
checkpoint_minutes = 0.001
source_id = "here"
"""


@pytest.fixture
def folder(tmp_path: Path, sqlite_template: Path) -> Path:
    copy_sqlite(sqlite_template, tmp_path / "triage.db")
    (tmp_path / "triage.toml").write_text(SETTINGS.format(folder=tmp_path))
    return tmp_path


def run(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(triage, ["--config", str(folder / "triage.toml"), "audit", *words])


def opened(folder: Path) -> App:
    return build(read_settings(folder / "triage.toml"))


def until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not met():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def test_the_log_is_read_and_the_reading_recorded(folder: Path) -> None:
    assert run(folder, "--json").exit_code == 0
    (row,) = json.loads(run(folder, "--json").stdout)
    assert (row["action"], row["detail"]["how"]) == ("audit_read", "read")
    assert json.loads(run(folder, "--json", "--since", "2099-01-01").stdout) == []


def test_rows_that_cannot_be_read_are_named_among_the_others(folder: Path) -> None:
    run(folder, "key")
    app = opened(folder)
    app.record_start("clock")
    append_later(app.db, "study_deleted")
    append_later(app.db, "login", outcome="major_failure")
    *_, later, unreadable = json.loads(run(folder, "--json").stdout)
    assert later["action"] == "study_deleted"
    assert unreadable == {"sequence": 4, "problem": UNREADABLE}
    told = run(folder).stdout
    assert "study_deleted" in told
    assert "cannot be read" in told
    assert "whole" in run(folder, "verify").stdout


def test_the_log_verifies_with_the_earlier_key_beside_the_new_one(folder: Path) -> None:
    public = run(folder, "key").stdout
    app = opened(folder)
    app.record_start("clock")
    sign_when_due(app.db, audit_parts.signer(app.settings), timedelta(seconds=1), app.clock())
    (folder / "keys" / "audit.key").unlink()
    run(folder, "key")
    app.record_start("clock")
    sign_when_due(app.db, audit_parts.signer(app.settings), timedelta(), app.clock())
    assert isinstance(run(folder, "verify").exception, AuditBroken)
    (folder / "keys" / "audit.key.1.pub").write_text(public)
    assert "2 signed checkpoints agree" in run(folder, "verify").stdout


def test_a_key_is_made_once_and_its_public_half_printed(folder: Path) -> None:
    made, again = run(folder, "key"), run(folder, "key")
    assert made.stdout == again.stdout
    load_pem_public_key(made.stdout.encode())
    assert "Made the key" in made.stderr
    assert "Read the key" in again.stderr
    assert (folder / "keys" / "audit.key").stat().st_mode & 0o777 == 0o600


def test_a_key_needs_its_place(folder: Path) -> None:
    (folder / "triage.toml").write_text("")
    assert isinstance(run(folder, "key").exception, ConfigurationError)


def test_the_clock_signs_and_the_log_is_verified_with_either_key(folder: Path) -> None:
    (folder / "audit.pub").write_text(run(folder, "key").stdout)
    app, stop = opened(folder), threading.Event()
    app.record_start("clock")
    thread = threading.Thread(target=clock.tick, args=(app, stop))
    thread.start()
    until(lambda: bool(logged(app.db, AuditAction.CHECKPOINT_SIGNED)))
    stop.set()
    thread.join(30)
    for words in ((), ("--public-key", str(folder / "audit.pub"))):
        told = run(folder, "verify", *words)
        assert told.exit_code == 0, told.exception
        assert "signed checkpoints agree" in told.stdout
    # An auditor without the private key, on a copy of the database.
    (folder / "keys" / "audit.key").unlink()
    assert isinstance(run(folder, "verify").exception, ConfigurationError)
    told = run(folder, "verify", "--public-key", str(folder / "audit.pub"))
    assert "signed checkpoints agree" in told.stdout
    assert "Without what this machine remembers" in told.stderr


def test_a_broken_log_ends_with_its_row_and_a_row_about_it(folder: Path) -> None:
    run(folder, "key")
    app = opened(folder)
    app.record_start("clock")
    with app.db.transaction() as tx:
        from sqlalchemy import text

        tx.connection.execute(text("UPDATE audit SET actor = 'x' WHERE sequence = 2"))
    failed = run(folder, "verify")
    assert isinstance(failed.exception, AuditBroken)
    assert "row 2" in str(failed.exception)
    assert "row 2" in str(logged(app.db, AuditAction.AUDIT_READ)[-1].event.detail["why"])


def test_without_a_key_verify_says_what_it_cannot_find(folder: Path) -> None:
    (folder / "triage.toml").write_text(f'[database]\nurl = "sqlite:///{folder}/triage.db"\n')
    assert "cannot be found" in run(folder, "verify").stdout


def test_the_sender_forwards_the_log_and_can_be_asked_to_again(folder: Path) -> None:
    run(folder, "key")
    certificates = Certificates(folder)
    with peer(certificates) as here:
        with (folder / "triage.toml").open("a") as settings:
            settings.write(
                f'syslog_host = "127.0.0.1"\nsyslog_port = {here.port}\n'
                f'syslog_tls_ca = "{certificates.ca}"\nsyslog_tls_name = "syslog.test"\n'
            )
        app, stop = opened(folder), threading.Event()
        app.record_start("send")
        assert isinstance(run(folder, "resend", "--after", "0").exception, NotFound)
        thread = threading.Thread(target=sender.deliver, args=(app, stop))
        thread.start()
        until(lambda: b"110120" in here.received)
        stop.set()
        thread.join(30)
        assert here.ended.wait(15)
    heard = frames(bytes(here.received))
    assert len(heard) == 2  # the settings, and the start
    assert b'AuditSourceID="here"' in heard[0]
    with app.db.read() as tx:
        (state,) = audit_forward.states(tx)
    assert (state.receiver, state.sequence) == (f"tls:127.0.0.1:{here.port}", 2)
    assert "again" in run(folder, "resend", "--after", "1").stdout
    with app.db.read() as tx:
        assert audit_forward.states(tx)[0].sequence == 1


def test_without_a_repository_nothing_is_forwarded_or_resent(folder: Path) -> None:
    app = opened(folder)
    assert audit_parts.forwarder(app.settings, app.db, app.clock, "a") is None
    assert isinstance(run(folder, "resend", "--after", "0").exception, ConfigurationError)


@pytest.mark.parametrize(("transport", "expected"), [("", "tls:r:6514"), ('syslog_transport = "udp"', "udp:r:514")])
def test_the_usual_ports_are_taken(folder: Path, transport: str, expected: str) -> None:
    file = folder / "mine.toml"
    file.write_text(f'[audit]\nsyslog_host = "r"\n{transport}\n')
    assert audit_parts.receiver_name(read_settings(file)) == expected


def test_files_that_cannot_be_read_are_said_at_start(folder: Path) -> None:
    app = opened(folder)
    with pytest.raises(ConfigurationError, match="triage audit key"):
        audit_parts.signer(app.settings)
    file = folder / "mine.toml"
    file.write_text('[audit]\nsyslog_host = "r"\nsyslog_tls_ca = "/nowhere.pem"\n')
    with pytest.raises(ConfigurationError, match=r"nowhere\.pem"):
        audit_parts.forwarder(read_settings(file), app.db, app.clock, "a")
    file.write_text('[audit]\nsyslog_tls_key = "/k"\n')
    with pytest.raises(ConfigurationError, match="go together"):
        read_settings(file)


def test_by_the_guide_the_public_half_lies_where_the_account_may_read_it(folder: Path) -> None:
    """``sudo triage`` is not root: it may read no file in the home of whoever types this, or below a hard umask."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "operator.md").read_text(), re.DOTALL)
    (script,) = (block for block in blocks if "triage audit key" in block)
    assert set(re.findall(r"\S+\.pub", script)) == {"/etc/ich-triage/audit.pub"}
    programs = {
        "sudo": 'exec "$@"',
        "systemctl": "",
        "triage": f'exec {sys.executable} -m triage --config {folder}/triage.toml "$@"',
    }
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    ran = subprocess.run(
        ["sh", "-ec", script.replace("/etc/ich-triage", str(folder))],
        env={"PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        cwd=folder,
        umask=0o077,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "whole" in ran.stdout
    assert oct((folder / "audit.pub").stat().st_mode & 0o777) == "0o644"
