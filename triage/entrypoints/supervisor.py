"""``triage run``: one process a role; a role that dies is started again, SIGTERM stops all of them cleanly."""

from __future__ import annotations

import os
import pkgutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from triage.domain.errors import ConfigurationError
from triage.entrypoints import app as wiring
from triage.settings import Settings
from triage.telemetry import configure_logging

log = structlog.get_logger()

ROLES = {
    "listen": "triage.entrypoints.listener:serve",
    "work": "triage.entrypoints.worker:work",
    "send": "triage.entrypoints.sender:deliver",
    "clock": "triage.entrypoints.clock:tick",
    "web": "triage.entrypoints.server:serve",
}
"""What each role runs, imported in its own process alone: `Callable[[App, threading.Event], None]`."""

EXIT_CONFIGURATION = 78
"""EX_CONFIG of sysexits.h: starting again cannot help."""

STOP_SECONDS = 30.0
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0
STEADY_SECONDS = 30.0
"""A role that ran this long before it died is started again at once."""


@dataclass
class _Child:
    role: str
    process: subprocess.Popen[bytes]
    started_at: float
    starts: int = 1
    deaths: int = 0
    start_again_at: float | None = None


def run_role(role: str, settings: Settings, supervisor: int | None = None) -> None:
    """Run one role in this process until SIGTERM or SIGINT, or until its supervisor (a process id) is gone."""
    configure_logging(role)
    stop = stop_on_signals()
    if supervisor is not None:
        threading.Thread(target=_stop_without_parent, args=(supervisor, stop), daemon=True).start()
    play = pkgutil.resolve_name(ROLES[role])
    app = wiring.build(settings)
    app.record_start(role)
    play(app, stop)
    app.record_stop(role)
    app.db.dispose()
    log.info("stopped")


def supervise(roles: Sequence[str], config: Path | None) -> None:
    """Start the roles and keep them running until SIGTERM or SIGINT.

    Raises
    ------
    ConfigurationError
        A role did not even start; its own sentence stands on standard error.
    """
    configure_logging("run")
    stop = stop_on_signals()
    children = [_start(role, config) for role in roles]
    try:
        while not stop.wait(0.1):
            for child in children:
                _tend(child, config)
    finally:
        _stop(children)
    log.info("stopped")


def cannot_work(code: int, starts: int, ran_seconds: float) -> bool:
    """Whether a role ended because its settings cannot work: it says so, and it never got going with them."""
    return code == EXIT_CONFIGURATION and starts == 1 and ran_seconds <= STEADY_SECONDS


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _command(role: str, config: Path | None) -> list[str]:
    chosen = ["--config", str(config)] if config else []
    return [sys.executable, "-m", "triage", *chosen, "run", "--role", role, "--supervisor", str(os.getpid())]


def _start(role: str, config: Path | None) -> _Child:
    return _Child(role, subprocess.Popen(_command(role, config)), time.monotonic())


def _tend(child: _Child, config: Path | None) -> None:
    """Start a dead role again, the more slowly the more often it dies at once."""
    now = time.monotonic()
    code = child.process.poll()
    if code is None:
        return
    if child.start_again_at is None:
        ran = now - child.started_at
        child.deaths = 0 if ran > STEADY_SECONDS else child.deaths + 1
        if cannot_work(code, child.starts, ran):
            raise ConfigurationError(f"The role {child.role} cannot run with these settings; its own message is above.")
        pause = 0.0 if child.deaths == 0 else min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (child.deaths - 1))
        child.start_again_at = now + pause
        log.error("role_died", child=child.role, code=code, ran_seconds=round(ran, 1), again_in_seconds=pause)
    if now >= child.start_again_at:
        child.process, child.started_at, child.start_again_at = _start(child.role, config).process, now, None
        child.starts += 1


def _stop(children: Sequence[_Child]) -> None:
    for child in children:
        if child.process.poll() is None:
            child.process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for child in children:
        try:
            child.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.error("role_killed", child=child.role)
            child.process.kill()
            child.process.wait()


def _stop_without_parent(parent: int, stop: threading.Event) -> None:
    """A role must not outlive a supervisor that was killed: the next one needs its port."""
    while not stop.wait(0.5):
        if os.getppid() != parent:
            log.error("supervisor_gone")
            stop.set()
