"""Logs: one JSON object a line, the role in each, and no text of a library that may quote a header."""

from __future__ import annotations

import json
import subprocess
import sys

SCRIPT = """
import threading
import structlog
from triage.telemetry import configure_logging

configure_logging("listen", level="{level}")
log = structlog.get_logger()
log.info("instance_stored", sop_instance_uid="1.2.3")
thread = threading.Thread(target=lambda: log.info("from_a_thread"))
thread.start()
thread.join()
try:
    raise RuntimeError("SECRET^NAME")
except RuntimeError as exc:
    log.error("job_failed", exc_info=exc)
import logging
logging.getLogger("pynetdicom").error("SECRET^NAME in a library")
"""


def logged(level: str = "info") -> list[dict]:
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(level=level)], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout == ""
    assert "SECRET" not in ran.stderr
    return [json.loads(line) for line in ran.stderr.splitlines()]


def test_every_line_names_event_role_level_and_time() -> None:
    events = logged()
    assert [e["event"] for e in events] == ["instance_stored", "from_a_thread", "job_failed"]
    for event in events:
        assert event["role"] == "listen"
        assert event["timestamp"].endswith("Z")
    assert events[0]["sop_instance_uid"] == "1.2.3"


def test_an_exception_is_told_by_type_and_place() -> None:
    failed = logged()[-1]
    assert failed["level"] == "error"
    assert failed["exception"] == "RuntimeError"
    assert failed["frames"]


def test_the_level_is_kept() -> None:
    assert [e["event"] for e in logged("error")] == ["job_failed"]
