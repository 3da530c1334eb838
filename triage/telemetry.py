"""structlog to standard error, one JSON object a line. UIDs yes, patient names and ids never."""

from __future__ import annotations

import logging
import sys
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
            structlog.processors.format_exc_info,
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
