"""The loop of workers and senders."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from triage.domain.errors import ProviderUnavailable, StoreUnavailable
from triage.entrypoints.steps import repeat


def steps(*answers: bool | Exception, stop: threading.Event) -> Callable[[], bool]:
    """A step that gives these answers in turn and then sets ``stop``."""
    left = list(answers)

    def step() -> bool:
        answer = left.pop(0)
        if not left:
            stop.set()
        if isinstance(answer, Exception):
            raise answer
        return answer

    return step


def test_it_goes_on_while_there_is_work_and_stops_when_told() -> None:
    stop = threading.Event()
    repeat(steps(True, True, False, True, stop=stop), stop)
    assert stop.is_set()


@pytest.mark.parametrize("trouble", [StoreUnavailable("SYNTHETIC"), AssertionError("SYNTHETIC")])
def test_whatever_a_step_runs_into_is_logged_and_the_next_one_follows(trouble: Exception) -> None:
    stop = threading.Event()
    with capture_logs() as said:
        repeat(steps(trouble, True, stop=stop), stop)
    assert stop.is_set()
    assert [(entry["event"], entry["log_level"]) for entry in said] == [("step_failed", "error")]


def test_it_takes_no_step_after_the_stop() -> None:
    stop = threading.Event()
    stop.set()
    repeat(lambda: 1 / 0 > 0, stop)


def test_a_lost_gpu_ends_the_process() -> None:
    """The next process of this role takes the CPU, where ``inference.device`` is auto."""
    stop = threading.Event()
    with pytest.raises(ProviderUnavailable):
        repeat(steps(ProviderUnavailable("SYNTHETIC: no GPU"), True, stop=stop), stop)
