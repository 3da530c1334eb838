"""What was costly to make, kept in memory up to a number of bytes; what was not asked for longest goes first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, TypeVar, cast

T = TypeVar("T")


class ByteCache:
    """Values by key, shared by the threads that answer requests.

    Two threads that miss the same key at once both make the value: that costs time once, and no thread ever waits
    for another one's picture.
    """

    def __init__(self, limit_bytes: int) -> None:
        if limit_bytes < 1:
            raise ValueError("a cache without room keeps nothing")
        self._limit = limit_bytes
        self._lock = Lock()
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._bytes = 0

    @property
    def size_bytes(self) -> int:
        """How much is kept at this moment; never more than the limit."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable, make: Callable[[], T], size_of: Callable[[T], int]) -> T:
        """The value of a key, made when it is not kept. One that is larger than the whole limit is not kept."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return cast("T", found[0])
        value = make()
        size = max(1, size_of(value))
        if size <= self._limit:
            with self._lock:
                before = self._kept.pop(key, None)
                self._bytes += size - (before[1] if before else 0)
                self._kept[key] = (value, size)
                while self._bytes > self._limit:
                    _, (_, dropped) = self._kept.popitem(last=False)
                    self._bytes -= dropped
        return value

    def drop(self, key: Hashable) -> None:
        """Forget the value of a key; it is made anew when it is asked for again."""
        with self._lock:
            _, size = self._kept.pop(key, (None, 0))
            self._bytes -= size
