"""An answer that is costly to find and may be some seconds old."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """Keeps an answer for a while, for all threads of a process; while one of them looks for it, the others wait."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._answer: tuple[float, T] | None = None
        self._lock = Lock()

    def get(self, find: Callable[[], T]) -> T:
        """The answer that is kept, or a new one; what ``find`` raises is not kept."""
        with self._lock:
            if self._answer is None or time.monotonic() >= self._answer[0]:
                found = find()
                self._answer = (time.monotonic() + self._seconds, found)
            return self._answer[1]

    def forget(self) -> None:
        """Have the next question looked into anew."""
        with self._lock:
            self._answer = None
