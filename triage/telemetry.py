"""structlog to standard error, one JSON object a line. UIDs yes, patient names and ids never."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Any

import structlog
from structlog.typing import EventDict, Processor


def configure_logging(role: str, *, level: str = "info") -> None:
    """Send every event of this process to standard error as JSON, bound to its role."""
    threshold = getattr(logging, level.upper())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _named(role),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _where_it_broke,
            structlog.processors.JSONRenderer(sort_keys=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    # Libraries log text that may quote a header; what matters of theirs is told by our own events.
    logging.basicConfig(level=logging.CRITICAL)


def _named(role: str) -> Processor:
    """Name the role in every event: bound variables do not reach the threads of an association."""

    def add(_logger: Any, _method: str, event: EventDict) -> EventDict:
        return {"role": role, **event}

    return add


def _where_it_broke(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Replace an exception by its type and the places it passed: a library's message may quote a header."""
    told = event.pop("exc_info", None)
    raised = told if isinstance(told, BaseException) else sys.exc_info()[1] if told else None
    if raised is not None:
        frames = traceback.extract_tb(raised.__traceback__)
        event["exception"] = type(raised).__name__
        event["frames"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return event
