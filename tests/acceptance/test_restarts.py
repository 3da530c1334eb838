"""Acceptance 5, on the daemon as a whole: roles are killed while studies go through, and nothing is lost."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from tests.acceptance.daemon import Daemon, Destination, running_daemon, running_on
from tests.fakes import counting_archive
from tests.integration.killed import SLICES, archived_once, head_series
from tests.onnx_models import tiny_bundle
from tests.services import free_port
from triage.domain.errors import DeliveryUnconfirmed
from triage.domain.finding import WorklistStatus
from triage.entrypoints.operate import dicom_files
from triage.net.scu import OutgoingInstance, send
from triage.store import audit, instances, series

pytestmark = pytest.mark.slow

ROLES = ("listen", "work", "send", "clock", "web")


def send_until_acknowledged(daemon: Daemon, batch: list[OutgoingInstance], seconds: float = 60.0) -> None:
    """Send as a PACS does: again and again what has no answer yet."""
    missing = {instance.sop_instance_uid: instance for instance in batch}
    deadline = time.monotonic() + seconds
    while missing and time.monotonic() < deadline:
        try:
            outcomes = send(daemon.remote, list(missing.values()), timeout_seconds=10)
        except DeliveryUnconfirmed:
            time.sleep(0.2)
            continue
        for outcome in outcomes:
            if outcome.error is None:
                del missing[outcome.sop_instance_uid]
    assert not missing, f"{len(missing)} instances were never acknowledged"


def study_of(batch: list[OutgoingInstance], folder: Path) -> str:
    file = folder / f"{batch[0].sop_instance_uid}.dcm"
    file.write_bytes(batch[0].read())
    (found,), _ = dicom_files([file])
    return found.study_instance_uid


def test_roles_are_killed_while_studies_go_through(
    database_url: str, tmp_path: Path, kill_rounds: int, worker_seed: int
) -> None:
    chance = random.Random(worker_seed)
    with (
        counting_archive() as archive,
        running_daemon(
            tmp_path / "daemon",
            database_url,
            [Destination("ARCHIVE", archive.remote.port)],
            extra=running_on(tiny_bundle(tmp_path / "bundle")),
        ) as daemon,
    ):
        for number in range(kill_rounds):
            batch = head_series(number)
            study = study_of(batch, tmp_path)
            sender = threading.Thread(target=send_until_acknowledged, args=(daemon, batch))
            sender.start()
            time.sleep(chance.uniform(0.0, 3.0))
            role = chance.choice(ROLES)
            killed = daemon.role_processes().get(role)
            if killed is not None:
                killed.kill()
            sender.join()
            row = daemon.wait_until_final(study)
            assert row.status is WorklistStatus.SUSPECTED, f"round {number}, {role} killed"
            _check(daemon, study, batch)
            assert row.objects
            for uid in {o.sop_instance_uid for o in row.objects}:
                assert archived_once(archive, uid)
        with daemon.app.db.read() as tx:
            assert audit.verify(tx) > 0


def _check(daemon: Daemon, study: str, batch: list[OutgoingInstance]) -> None:
    with daemon.app.db.read() as tx:
        (record,) = series.of_study(tx, study)
        stored = {s.sop_instance_uid: s.blob_key for s in instances.of_series(tx, record.id)}
    assert len(stored) == SLICES
    for instance in batch:
        kept = daemon.app.blobs.read(stored[instance.sop_instance_uid])
        assert kept.endswith(instance.read()[-64 * 64 * 2 :])


@pytest.mark.parametrize("role", ROLES)
def test_a_killed_role_is_started_again(sqlite_copies: list[str], tmp_path: Path, role: str) -> None:
    with running_daemon(tmp_path / "daemon", sqlite_copies[0]) as daemon:
        before = daemon.role_processes()
        before[role].send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            now = daemon.role_processes()
            if role in now and now[role].pid != before[role].pid:
                break
            time.sleep(0.1)
        else:
            raise AssertionError(f"{role} was not started again")
        assert all(now[other].pid == before[other].pid for other in ROLES if other != role)
        assert [e["child"] for e in daemon.events("role_died")] == [role]


def still_running(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that have not ended by themselves after a while, in which a busy machine also starts and stops them.

    One whose parent was killed may stay as a zombie, for as long as nobody asks how it ended: it has ended.
    """
    deadline = time.monotonic() + 120
    while (left := [process for process in processes if _runs(process)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_roles_do_not_outlive_a_supervisor_that_is_killed(sqlite_copies: list[str], tmp_path: Path) -> None:
    with running_daemon(tmp_path, sqlite_copies[0], ends_with=-signal.SIGKILL) as daemon:
        roles = daemon.role_processes()
        assert set(roles) == set(ROLES)
        daemon.process.kill()
        assert still_running(list(roles.values())) == []


def test_roles_end_when_their_supervisor_dies_before_they_are_up(sqlite_copies: list[str], tmp_path: Path) -> None:
    config = tmp_path / "triage.toml"
    ports = f"[listener]\nport = {free_port()}\n[web]\nport = {free_port()}\n"
    config.write_text(f'[database]\nurl = "{sqlite_copies[0]}"\n{ports}')
    command = [sys.executable, "-m", "triage", "--config", str(config), "run"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=tmp_path)
    children: list[psutil.Process] = []
    while len(children) < len(ROLES):
        children = psutil.Process(process.pid).children()
    process.kill()
    process.wait(10)
    assert still_running(children) == []


def start(config: Path, role: str) -> subprocess.CompletedProcess[str]:
    """``triage run`` of one role that is expected to end by itself."""
    command = [sys.executable, "-m", "triage", "--config", str(config), "run", "--role", role]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=config.parent)


@pytest.mark.parametrize(
    ("changed", "role", "named"),
    [
        ('[inference]\nbundle = "nowhere"\n', "work", "nowhere"),
        ('[storage]\nmin_free_gb = "much"\n', "listen", "storage.min_free_gb"),
    ],
)
def test_what_cannot_work_ends_the_start_with_one_sentence(
    sqlite_copies: list[str], tmp_path: Path, changed: str, role: str, named: str
) -> None:
    config = tmp_path / "triage.toml"
    config.write_text(f'[database]\nurl = "{sqlite_copies[0]}"\n{changed}')
    ran = start(config, role)
    assert ran.returncode == 78
    assert named in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_database_without_schema_ends_the_start_with_the_command_that_helps(tmp_path: Path) -> None:
    config = tmp_path / "triage.toml"
    config.write_text(f'[database]\nurl = "sqlite:///{tmp_path}/new.db"\n')
    ran = start(config, "clock")
    assert ran.returncode == 78
    assert "triage db upgrade" in ran.stderr


def test_a_port_in_use_ends_the_start_with_one_sentence(sqlite_copies: list[str], tmp_path: Path) -> None:
    with running_daemon(tmp_path / "first", sqlite_copies[0]) as daemon:
        ran = start(daemon.config, "listen")
    assert ran.returncode == 78
    assert "listener.port" in ran.stderr


def test_a_study_sent_while_everything_is_down_is_analysed_after_the_start(
    sqlite_copies: list[str], tmp_path: Path
) -> None:
    """The series was received, then every process was killed; the next start finishes it by itself."""
    batch = head_series()
    study = study_of(batch, tmp_path)
    with running_daemon(tmp_path / "a", sqlite_copies[0], roles=["listen"], ends_with=-signal.SIGKILL) as daemon:
        send_until_acknowledged(daemon, batch)
        for process in (*daemon.role_processes().values(), psutil.Process(daemon.process.pid)):
            process.kill()
    blobs = tmp_path / "a" / "blobs"
    with running_daemon(
        tmp_path / "b",
        sqlite_copies[0],
        extra=running_on(tiny_bundle(tmp_path / "bundle")),
        environment={"TRIAGE_STORAGE__ROOT": str(blobs)},
    ) as daemon:
        row = daemon.wait_until_final(study)
    assert row.status is WorklistStatus.SUSPECTED
