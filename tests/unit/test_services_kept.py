"""A costly answer is found once for all who ask within its time."""

from __future__ import annotations

import threading

import pytest

from triage.services.kept import Kept


def test_an_answer_is_found_once_and_again_when_it_is_forgotten() -> None:
    found: list[int] = []
    kept = Kept[int](60.0)

    def find() -> int:
        found.append(1)
        return len(found)

    assert [kept.get(find), kept.get(find)] == [1, 1]
    kept.forget()
    assert kept.get(find) == 2


def test_an_answer_whose_time_is_over_is_found_anew() -> None:
    answers = iter(range(3))
    kept = Kept[int](0.0)
    assert [kept.get(lambda: next(answers)) for _ in range(3)] == [0, 1, 2]


def test_a_failure_is_not_kept() -> None:
    kept = Kept[float](60.0)
    with pytest.raises(ZeroDivisionError):
        kept.get(lambda: 1 / 0)
    assert kept.get(lambda: 1.0) == 1.0


def test_threads_that_ask_together_make_one_search() -> None:
    started, go, found = threading.Event(), threading.Event(), []
    kept = Kept[str](60.0)

    def find() -> str:
        found.append("x")
        started.set()
        assert go.wait(20)
        return "answer"

    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(kept.get(find))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert started.wait(20)
    go.set()
    for thread in threads:
        thread.join(20)
    assert answers == ["answer"] * 4
    assert found == ["x"]
