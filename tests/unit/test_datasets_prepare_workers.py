"""Tasks over processes: all are answered, few wait at a time, and a worker that dies is said to have died."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from trainer.datasets.workers import in_processes


def squared(number: int) -> int:
    return number * number


def refused(number: int) -> int:
    raise ValueError(f"{number} is not wanted")


def deadly(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def interrupted(number: int) -> int:
    os.kill(os.getpid(), signal.SIGINT)
    return number


@pytest.mark.parametrize("workers", [0, 2])
def test_every_task_is_answered(workers: int) -> None:
    assert sorted(in_processes(squared, iter(range(20)), workers)) == [n * n for n in range(20)]


def test_tasks_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []

    def tasks() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    answers = in_processes(squared, tasks(), 1)
    for _ in range(5):
        next(answers)
    assert len(taken) <= 12
    answers.close()  # type: ignore[attr-defined]


def test_an_error_of_a_task_is_that_of_the_caller() -> None:
    with pytest.raises(ValueError, match="3 is not wanted"):
        list(in_processes(refused, iter([3]), 1))


def test_a_worker_that_dies_is_told_with_what_to_do() -> None:
    with pytest.raises(RuntimeError, match=r"ended without an answer.* with --workers 1 it needs less"):
        list(in_processes(deadly, iter(range(3)), 1))


def test_an_interrupt_is_left_to_the_owner() -> None:
    assert list(in_processes(interrupted, iter([1]), 1)) == [1]
